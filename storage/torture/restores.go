package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/storage"
)

// known is what a store has, and what it knows to have ended, including tokens and
// users that it does not have.
type known struct {
	tokens  map[storage.ID]bool
	revoked map[storage.ID]bool
	rotated map[storage.ID]int // how often
	states  map[storage.UserID]stateAt
}

// stateAt is a state of a user, and the step of the run that set it.
type stateAt struct {
	state storage.UserState
	step  int
}

func (k known) clone() known {
	return known{maps.Clone(k.tokens), maps.Clone(k.revoked), maps.Clone(k.rotated), maps.Clone(k.states)}
}

// restored returns the store after a backup was restored over it.
func (k known) restored(backup known) known {
	b := backup.clone()
	maps.Copy(b.revoked, k.revoked)
	for id, n := range k.rotated {
		b.rotated[id] = max(n, b.rotated[id])
	}
	for id, last := range k.states {
		if own := b.states[id]; own.state != storage.UserRemoved && (last.state == storage.UserRemoved || last.step > own.step) {
			b.states[id] = last
		}
	}
	return b
}

func (k known) live(id storage.ID, owner storage.UserID) bool {
	return k.tokens[id] && !k.revoked[id] && k.states[owner].state == storage.UserActive
}

// issued is a token that was created at some time, with all its secrets.
type issued struct {
	id      storage.ID
	owner   storage.UserID
	secrets []string
}

type saved struct {
	file string
	known
}

// restoring does random things to a store, and restores random backups over it.
type restoring struct {
	*torture
	dir     string
	s       *storage.Store
	known   known
	users   map[storage.UserID]string
	tokens  []*issued
	backups []saved
	made    int // backups made, including those that are gone
	step    int
	clock   atomic.Int64 // step, for the store
	acked   int
	trace   []string
}

// mostBackups is how many backups are kept.
const mostBackups = 10

// restores is one run of the command; each round is a restore.
func (t *torture) restores() error {
	if t.rounds == 0 {
		t.rounds = 200
	}
	r := &restoring{torture: t, dir: t.path("store"), users: map[storage.UserID]string{}, known: known{
		map[storage.ID]bool{}, map[storage.ID]bool{}, map[storage.ID]int{}, map[storage.UserID]stateAt{}}}
	began, line := time.Now(), row{what: "restores", rounds: t.rounds}
	if err := r.open(); err != nil {
		return err
	}
	dead := 0
	for n := range t.rounds {
		err := r.work(1 + t.rand.IntN(30))
		for err == nil && len(r.backups) < min(mostBackups, 2+n) {
			err = r.backup()
		}
		if err == nil {
			err = r.restore()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("after %q: %w", r.trace, err), r.s.Close())
		}
		wrong, asked := r.compare()
		line.wrong, dead = line.wrong+len(wrong), dead+asked
		if len(wrong) > 0 {
			t.log("%s, after %q", some(wrong), r.trace)
		}
		if (n+1)%20 == 0 {
			t.log("%d restores, %d tokens, %d revoked, %d wrong, %s", n+1, len(r.tokens), len(r.known.revoked), line.wrong, time.Since(began).Round(time.Second))
		}
	}
	line.acked, line.took = r.acked, time.Since(began)
	line.note = fmt.Sprintf("%d tokens, %d revoked, %d rotated, %d users; asked for a dead secret %d times", len(r.tokens), len(r.known.revoked), len(r.known.rotated), len(r.users), dead)
	t.table = append(t.table, line)
	return r.s.Close()
}

func (r *restoring) open() (err error) {
	r.s, err = storage.Open(r.dir, r.options())
	return err
}

// options returns options with a clock that moves with the steps, so that the order
// of a user's changes is known.
func (r *restoring) options() storage.Options {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return storage.Options{Segment: 64 << 10, Now: func() time.Time { return begin.Add(time.Duration(r.clock.Load()) * time.Second) }}
}

func (r *restoring) work(steps int) error {
	for range steps {
		r.step++
		r.clock.Store(int64(r.step))
		if err := r.act(); err != nil {
			return err
		}
		r.acked++
	}
	return nil
}

// act does one random thing.
func (r *restoring) act() error {
	var live []*issued
	for _, t := range r.tokens {
		if r.known.live(t.id, t.owner) {
			live = append(live, t)
		}
	}
	var active, all []storage.UserID
	for id, last := range r.known.states {
		if _, err := r.s.UserByID(id); err == nil && last.state != storage.UserRemoved {
			all = append(all, id)
			if last.state == storage.UserActive {
				active = append(active, id)
			}
		}
	}
	switch k := r.rand.IntN(100); {
	case k < 45 && len(active) > 0:
		return r.create(active[r.rand.IntN(len(active))])
	case k < 65 && len(live) > 0:
		t := live[r.rand.IntN(len(live))]
		r.known.revoked[t.id] = true
		_, err := r.s.RevokeTokens(by, t.id)
		return err
	case k < 75 && len(live) > 0:
		t := live[r.rand.IntN(len(live))]
		if len(t.secrets) > 200 {
			return nil
		}
		_, secret, err := r.s.RotateToken(by, t.id, 0, storage.ByUser)
		r.known.rotated[t.id]++
		if n := r.known.rotated[t.id]; n == len(t.secrets) {
			t.secrets = append(t.secrets, secret.Reveal())
		}
		return err
	case k < 90 && len(all) > 0:
		return r.changeState(all[r.rand.IntN(len(all))], k < 80)
	}
	name := fmt.Sprintf("u%d@example.com", r.step)
	u, err := r.s.AddUser(by, name, "", "no hash")
	r.users[u.ID], r.known.states[u.ID] = name, stateAt{storage.UserActive, r.step}
	return err
}

func (r *restoring) create(owner storage.UserID) error {
	t, secret, err := r.s.CreateToken(by, owner, storage.TokenSpec{})
	r.tokens = append(r.tokens, &issued{t.ID, owner, []string{secret.Reveal()}})
	r.known.tokens[t.ID] = true
	return err
}

// changeState removes, disables or enables a user.
func (r *restoring) changeState(id storage.UserID, remove bool) error {
	uid, to, do := r.users[id], storage.UserDisabled, r.s.DisableUser
	switch {
	case remove:
		to, do = storage.UserRemoved, r.s.RemoveUser
	case r.known.states[id].state == storage.UserDisabled:
		to, do = storage.UserActive, r.s.EnableUser
	}
	r.known.states[id] = stateAt{to, r.step}
	return do(by, uid)
}

func (r *restoring) backup() error {
	r.made++
	file := r.path(fmt.Sprint("backup", r.made))
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r.backups = append(r.backups, saved{file, r.known.clone()})
	_, err = r.s.Snapshot(context.Background(), f)
	return err
}

// restore restores a backup over the store, after a stop or a simulated kill.
// Sometimes it then drops that backup, so that a new one is made later.
func (r *restoring) restore() error {
	n := r.rand.IntN(len(r.backups))
	r.trace = append(r.trace, fmt.Sprint(n))
	if r.rand.IntN(2) == 0 {
		if err := copyStore(r.dir, r.path("killed")); err != nil {
			return err
		}
		r.dir, r.trace[len(r.trace)-1] = r.path("killed"), fmt.Sprint(n, " over a killed one")
	}
	if err := r.s.Close(); err != nil {
		return err
	}
	b, err := os.ReadFile(r.backups[n].file)
	if err != nil {
		return err
	}
	if _, err := storage.Restore(context.Background(), bytes.NewReader(b), r.dir, r.options()); err != nil {
		return err
	}
	r.known = r.known.restored(r.backups[n].known)
	if r.dir == r.path("killed") {
		err = errors.Join(os.RemoveAll(r.path("store")), os.Rename(r.dir, r.path("store")))
		r.dir = r.path("store")
	}
	if err = errors.Join(err, r.clean()); err != nil {
		return err
	}
	if len(r.backups) == mostBackups && r.rand.IntN(4) == 0 {
		err = os.Remove(r.backups[n].file)
		r.backups = slices.Delete(r.backups, n, n+1)
	}
	if err != nil {
		return err
	}
	return r.open()
}

// clean removes the stores that restores set aside.
func (r *restoring) clean() error {
	entries, err := os.ReadDir(r.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "before-restore") {
			err = errors.Join(err, os.RemoveAll(r.path("store", e.Name())))
		}
	}
	return err
}

// compare verifies every secret that ever existed. It returns how many were dead.
func (r *restoring) compare() (wrong []string, dead int) {
	for _, t := range r.tokens {
		for n, secret := range t.secrets {
			want := r.known.live(t.id, t.owner) && n == r.known.rotated[t.id]
			_, err := r.s.Authenticate(secret, home)
			if !want {
				dead++
			}
			if err != nil && !errors.Is(err, storage.ErrRefused) || want != (err == nil) {
				wrong = append(wrong, fmt.Sprintf("secret %d of token %s of %s: got %v, want it live: %t", n, t.id, r.users[t.owner], err, want))
			}
		}
	}
	return wrong, dead
}
