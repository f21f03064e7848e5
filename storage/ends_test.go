package storage_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/restore"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/surplus"
)

func backupOf(t *testing.T, s *storage.Store) []byte {
	t.Helper()
	b := new(bytes.Buffer)
	must.Get(s.Snapshot(t.Context(), b))(t)
	return b.Bytes()
}

func restoreTo(t *testing.T, backup []byte, dir string, opts storage.Options) restore.Result {
	t.Helper()
	r := must.Get(storage.Restore(t.Context(), bytes.NewReader(backup), dir, opts))(t)
	return r
}

// Tokens and users that have ended stay ended even if the first restored backup
// does not have them and the next one does.
func TestRestoreOfTheWrongBackup(t *testing.T) {
	dir, opts := t.TempDir(), storage.Options{}
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	first := backupOf(t, s)
	id, revoked := create(t, s, alice)
	leaked, old := create(t, s, alice)
	dropped, gone := create(t, s, alice)
	bob, carol := addUser(t, s, "bob@example.com"), addUser(t, s, "carol@example.com")
	_, bobs := create(t, s, bob)
	_, carols := create(t, s, carol)
	second := backupOf(t, s)
	must.Get(s.RevokeTokens(admin, id, dropped))(t)
	must.Do(t, s.DropRecords(surplus.Token{ID: dropped}))
	must.Do(t, errors.Join(s.RemoveUser(admin, bob.UID), s.DisableUser(admin, carol.UID)))
	_, secret := must.Get2(s.RotateToken(admin, leaked, 0, storage.ByUser))(t)
	s.Close()
	restoreTo(t, first, dir, opts)
	s = open(t, dir)
	must.Do(t, s.Checkpoint(t.Context()))
	must.Get(s.Journal().Prune(time.UnixMilli(math.MaxInt64), 0, math.MaxUint64))(t)
	s.Close()
	restoreTo(t, second, dir, opts)
	s = open(t, dir)
	for _, secret := range []string{revoked, old, gone, bobs, carols} {
		wantDead(t, s, secret)
	}
	wantLive(t, s, secret.Reveal())
	if u, err := s.UserByID(bob.ID); err != nil || u.State != storage.UserRemoved {
		t.Errorf("bob: got %v, %v, want him removed", u.State, err)
	}
	must.Do(t, s.EnableUser(admin, carol.UID))
	wantLive(t, s, carols)
	s.Close()
	restoreTo(t, second, dir, opts) // in this backup she was never disabled
	s = open(t, dir)
	wantLive(t, s, carols)
	for _, secret := range []string{revoked, old, gone, bobs} {
		wantDead(t, s, secret)
	}
}

// endsModel is what a store must say about all tokens and users that ever existed.
type endsModel struct {
	tokens map[storage.ID]bool // the tokens that it has
	users  map[storage.UserID]bool
	ended  map[storage.ID]bool         // revoked, as far as it knows
	turned map[storage.ID]byte         // how often rotated, as far as it knows
	states map[storage.UserID]lastTurn // the latest states that it knows
}

type lastTurn struct {
	state storage.UserState
	step  int
}

func (m endsModel) clone() endsModel {
	return endsModel{maps.Clone(m.tokens), maps.Clone(m.users), maps.Clone(m.ended), maps.Clone(m.turned), maps.Clone(m.states)}
}

// restored returns the store after a backup was restored over it.
func (m endsModel) restored(b endsModel) endsModel {
	b = b.clone()
	maps.Copy(b.ended, m.ended)
	for id, n := range m.turned {
		b.turned[id] = max(n, b.turned[id])
	}
	for id, last := range m.states {
		if own := b.states[id]; own.state != storage.UserRemoved && (last.state == storage.UserRemoved || last.step > own.step) {
			b.states[id] = last
		}
	}
	return b
}

type madeToken struct {
	id    storage.ID
	owner storage.UserID
}

// endsTest does random things to a store and to its model.
type endsTest struct {
	*testing.T
	rand    *rand.Rand
	clock   *storagetest.Clock
	opts    storage.Options
	dir     string
	s       *storage.Store
	model   endsModel
	tokens  []madeToken // all that ever existed
	uids    map[storage.UserID]string
	backups [][]byte
	models  []endsModel
	step    int
	trace   []string
}

func anyOf[T any](r *rand.Rand, list []T) (v T, ok bool) {
	if len(list) == 0 {
		return v, false
	}
	return list[r.IntN(len(list))], true
}

func (t *endsTest) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v, after %q", err, t.trace)
	}
}

func (t *endsTest) note(what string, args ...any) {
	t.trace = append(t.trace, fmt.Sprintf(what, args...))
}

// act does one random thing.
func (t *endsTest) act() {
	t.step++
	t.clock.Move(time.Second)
	m := &t.model
	var here []madeToken // tokens that are not dead
	for _, v := range t.tokens {
		if m.tokens[v.id] && !m.ended[v.id] && m.states[v.owner].state == storage.UserActive {
			here = append(here, v)
		}
	}
	var users []storage.UserID
	for id := range t.uids {
		if m.users[id] && m.states[id].state != storage.UserRemoved {
			users = append(users, id)
		}
	}
	v, any := anyOf(t.rand, here)
	u, some := anyOf(t.rand, users)
	switch n := t.rand.IntN(20); {
	case n < 2 || !some:
		name := fmt.Sprintf("user%d@example.com", t.step)
		u := addUser(t, t.s, name)
		t.uids[u.ID], m.users[u.ID] = name, true
		t.note("add %s", name)
	case n < 7:
		if m.states[u].state != storage.UserActive {
			return
		}
		v, _, err := t.s.CreateToken(admin, u, storage.TokenSpec{})
		t.must(err)
		t.tokens, m.tokens[v.ID] = append(t.tokens, madeToken{v.ID, u}), true
	case n < 10 && any:
		_, err := t.s.RevokeTokens(admin, v.id)
		t.must(err)
		m.ended[v.id] = true
	case n < 12 && any:
		_, _, err := t.s.RotateToken(admin, v.id, 0, storage.ByUser)
		t.must(err)
		m.turned[v.id]++
	case n == 12:
		t.must(t.s.RemoveUser(admin, t.uids[u]))
		m.states[u] = lastTurn{storage.UserRemoved, t.step}
	case n < 16:
		state, turn := storage.UserDisabled, t.s.DisableUser
		if m.states[u].state == storage.UserDisabled {
			state, turn = storage.UserActive, t.s.EnableUser
		}
		t.must(turn(admin, t.uids[u]))
		m.states[u] = lastTurn{state, t.step}
	case n == 16:
		t.must(t.s.Checkpoint(t.Context()))
		_, err := t.s.Journal().Prune(time.UnixMilli(math.MaxInt64), 0, t.s.CheckpointFile().Last().Sequence)
		t.must(err)
	default:
		if len(t.backups) < 10 {
			t.backups, t.models = append(t.backups, backupOf(t.T, t.s)), append(t.models, m.clone())
		}
	}
}

// restore restores one of the backups over the store, after a stop or a kill.
func (t *endsTest) restore(which int) {
	t.clock.Move(time.Second)
	how := "stopped"
	if t.rand.IntN(2) == 0 {
		how = "killed"
		t.dir = copyDir(t, t.dir)
	}
	t.must(t.s.Close())
	t.note("%s, restore %d", how, which)
	restoreTo(t.T, t.backups[which], t.dir, t.opts)
	t.s = openWith(t, t.dir, t.opts)
	t.model = t.model.restored(t.models[which])
	t.compare()
}

func (t *endsTest) compare() {
	t.Helper()
	for _, v := range t.tokens {
		m := &t.model
		live := m.tokens[v.id] && !m.ended[v.id] && m.states[v.owner].state == storage.UserActive
		for generation := range m.turned[v.id] + 2 {
			secret := t.s.Opening().Tokens.Secret(v.id, generation)
			want := live && generation == m.turned[v.id]
			_, err := t.s.Inspect(secret.Reveal(), home.Address)
			if err != nil && !errors.Is(err, storage.ErrRefused) {
				t.Fatal(err)
			}
			if want != (err == nil) {
				t.Errorf("generation %d of token %s of %s, which is %v: got %v, want it live: %t, after %q",
					generation, v.id, t.uids[v.owner], m.states[v.owner].state, err, want, t.trace)
			}
		}
	}
	for id := range t.uids {
		u, err := t.s.UserByID(id)
		if t.model.users[id] && (err != nil || u.State != t.model.states[id].state) ||
			!t.model.users[id] && !errors.Is(err, storage.ErrNoUser) {
			t.Errorf("%s: got state %d, %v, want %+v, after %q", t.uids[id], u.State, err, t.model.states[id], t.trace)
		}
	}
}

var restores = flag.Uint64("restores", 1, "how many series of restores TestEndsSurviveRestores tries")

// Backups are restored over each other's stores in any order. What one of the
// stores knew to have ended stays ended.
func TestEndsSurviveRestores(t *testing.T) {
	storagetest.Slow(t)
	for seed := range *restores {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			clock := newClock()
			opts := timed(t, clock)
			opts.Segment = 64 << 10
			e := &endsTest{T: t, rand: rand.New(rand.NewPCG(seed, 12)), clock: clock, opts: opts, dir: filepath.Join(t.TempDir(), "data"),
				uids: map[storage.UserID]string{}, model: endsModel{map[storage.ID]bool{}, map[storage.UserID]bool{}, map[storage.ID]bool{}, map[storage.ID]byte{}, map[storage.UserID]lastTurn{}}}
			e.s = openWith(t, e.dir, opts)
			for len(e.backups) < 10 {
				e.act()
			}
			for _, which := range e.rand.Perm(10) {
				e.restore(which)
				for range e.rand.IntN(10) {
					e.act()
				}
			}
			for range 3 {
				e.restore(e.rand.IntN(10))
			}
		})
	}
}
