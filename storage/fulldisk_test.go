package storage_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// shortOf makes the disk of a store look full while the returned flag is set.
func shortOf(s *storage.Store) *atomic.Bool {
	full := new(atomic.Bool)
	s.Disk().MeasureBy(func(dir string) (uint64, error) {
		if full.Load() {
			return 0, nil
		}
		return disk.Free(dir)
	})
	return full
}

// The use of a secret that a rotation has ended is an event. If the disk has no
// room for the event, it is logged.
func TestNoteOnFullDisk(t *testing.T) {
	log := new(storagetest.Log)
	s := openWith(t, t.TempDir(), storage.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	full := shortOf(s)
	alice := addUser(t, s, "alice@example.com")
	id, old := create(t, s, alice)
	other, _ := create(t, s, alice)
	must.Get2(s.RotateToken(admin, id, 0, storage.ByUser))(t)
	full.Store(true)
	must.Happen(t, "a short disk", func() bool { return s.Disk().Short() != nil })
	if _, err := s.Authenticate(old, storage.Origin{Address: netip.MustParseAddr("192.0.2.1")}); !errors.Is(err, storage.ErrRefused) {
		t.Fatalf("got %v, want ErrRefused", err)
	}
	must.Get(s.RevokeTokens(admin, other))(t) // this change comes after the note
	full.Store(false)                         // or it can't be closed
	for _, want := range []string{storage.ActionTokenStale, "alice@example.com", id.String(), "192.0.2.1"} {
		if got := log.String(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
}

// behind is the result of the changes in TestIndexBehind. At first the index
// has none of them.
type behind struct {
	alice                                storage.User
	dead, kept                           storage.ID // alice's
	deadSecret, keptSecret, bobs, carols string
	cookie                               storage.Secret // bob's
}

func (b behind) check(t *testing.T, s *storage.Store) {
	t.Helper()
	b.checkTokens(t, s)
	b.checkUsers(t, s)
}

func (b behind) checkTokens(t *testing.T, s *storage.Store) {
	t.Helper()
	wantDead(t, s, b.deadSecret)
	wantLive(t, s, b.keptSecret)
	wantDead(t, s, b.bobs)
	wantDead(t, s, b.carols)
	if n, err := s.RevokeTokens(admin, b.dead); n != 0 || err != nil {
		t.Errorf("revoke again: got %d, %v, want 0", n, err)
	}
	if tok, err := s.Token(b.dead); tok.Revoked == 0 || err != nil {
		t.Errorf("the revoked token: got %+v, %v", tok, err)
	}
	if list, err := tokensOf(s, b.alice.ID); len(list) != 1 || list[0].ID != b.kept || err != nil {
		t.Errorf("got %d live tokens, %v, want 1", len(list), err)
	}
	if list, err := allTokensOf(s, b.alice.ID); len(list) != 2 || err != nil {
		t.Errorf("got %d tokens, %v, want 2", len(list), err)
	}
	if info, err := s.UserInfo("alice@example.com", 0); info.Tokens != 1 || err != nil {
		t.Errorf("alice: got %+v, %v", info, err)
	}
	revoked := 0
	for tok := range must.All(s.Tokens(storage.TokenFilter{Revoked: true}))(t) {
		if tok.Revoked != 0 {
			revoked++
		}
	}
	if revoked != 1 {
		t.Errorf("%d tokens are listed as revoked, want 1", revoked)
	}
}

func (b behind) checkUsers(t *testing.T, s *storage.Store) {
	t.Helper()
	if u, err := s.User("bob@example.com"); u.State != storage.UserDisabled || err != nil {
		t.Errorf("bob: got %+v, %v", u, err)
	}
	if _, err := s.Session(b.cookie.Reveal()); !errors.Is(err, storage.ErrNoSession) {
		t.Errorf("bob's session: got %v, want ErrNoSession", err)
	}
	if _, err := s.User("carol@example.com"); !errors.Is(err, storage.ErrNoUser) {
		t.Errorf("carol: got %v, want ErrNoUser", err)
	}
	var uids []string
	for info := range must.All(s.Users(storage.UserFilter{Order: storage.ByName}))(t) {
		uids = append(uids, info.UID)
	}
	if !slices.Equal(uids, []string{"alice@example.com", "bob@example.com"}) {
		t.Errorf("got users %v", uids)
	}
}

// wantRefusals: changes that add something are refused while the index is
// behind.
func (b behind) wantRefusals(t *testing.T, s *storage.Store) {
	t.Helper()
	if err := s.Writable(); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("writable: got %v, want ErrNoSpace", err)
	}
	for what, err := range map[string]error{
		"add a user": func() error { _, err := s.AddUser(admin, "dave@example.com", "", "x"); return err }(),
		"create":     func() error { _, _, err := s.CreateToken(admin, b.alice.ID, storage.TokenSpec{}); return err }(),
		"rename":     s.RenameToken(admin, b.kept, "new"),
		"enable":     s.EnableUser(admin, "bob@example.com"),
		"log in":     func() error { _, err := s.CreateSession(admin, b.alice.ID, storage.SourceLocal, ""); return err }(),
	} {
		if !errors.Is(err, storage.ErrNoSpace) {
			t.Errorf("%s: got %v, want ErrNoSpace", what, err)
		}
	}
}

// While the index is behind the journal, all reads are right. They stay the
// same when it has caught up.
func TestIndexBehind(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	full := shortOf(s)
	alice, bob, carol := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com"), addUser(t, s, "carol@example.com")
	dead, deadSecret := create(t, s, alice)
	kept, keptSecret := create(t, s, alice)
	_, bobs := create(t, s, bob)
	_, carols := create(t, s, carol)
	cookie := must.Get(s.CreateSession(admin, bob.ID, storage.SourceLocal, ""))(t)
	before, endBefore := must.Get2(s.Index().Begin())(t) // a view that began before the disk was full

	full.Store(true)
	must.Happen(t, "a short disk", func() bool { return s.Disk().Short() != nil })
	if n, err := s.RevokeTokens(admin, dead); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	must.Do(t, errors.Join(s.DisableUser(admin, "bob@example.com"), s.RemoveUser(admin, "carol@example.com")))
	during, endDuring := must.Get2(s.Index().Begin())(t) // a view that began while the index is behind
	b := behind{alice, dead, kept, deadSecret, keptSecret, bobs, carols, cookie}
	b.check(t, s)
	b.wantRefusals(t, s)
	t.Run("killed", func(t *testing.T) { b.check(t, open(t, copyDir(t, dir))) })

	full.Store(false)
	must.Happen(t, "catching up", func() bool { return s.Writable() == nil })
	b.check(t, s)
	must.Do(t, s.RenameToken(admin, dead, "dead"))
	if tok, err := s.Reads().At(during).Token(dead); tok.Revoked == 0 || err != nil {
		t.Errorf("a reader who had seen the revocation sees %+v, %v", tok, err)
	}
	endDuring()
	must.Get(s.Reads().At(before).Token(dead))(t)
	endBefore()
	create(t, s, alice)
	s.Close()
	wantCleanStop(t, dir)
	os.RemoveAll(filepath.Join(dir, "store", "index"))
	s = open(t, dir)
	wantDead(t, s, deadSecret)
	wantLive(t, s, keptSecret)
}

// A removal and other changes run in one batch while the index is behind: each
// sees the previous one.
func TestBatchWhileBehind(t *testing.T) {
	s := open(t, t.TempDir())
	full := shortOf(s)
	u := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, u)
	full.Store(true)
	must.Happen(t, "a short disk", func() bool { return s.Disk().Short() != nil })
	must.Do(t, s.DisableUser(admin, u.UID))
	var batch []func()
	ask := func(fn func(t *storage.Tx) error) {
		batch = append(batch, func() {
			if err := s.Do(admin, journal.Essential, fn); err != nil {
				t.Error(err)
			}
		})
	}
	revoked := 0
	for range 3 {
		ask(func(t *storage.Tx) error {
			ok, err := t.Revoke(id)
			if ok {
				revoked++
			}
			return err
		})
	}
	end := func(state storage.UserState) func(*storage.Tx) error {
		return func(t *storage.Tx) error {
			return t.Edit(u.UID, func(u *storage.User) error { u.State = state; u.Epoch++; return nil })
		}
	}
	ask(end(storage.UserDisabled))
	ask(end(storage.UserSuspended))
	oneBatch(t, s, batch...)
	if revoked != 1 {
		t.Errorf("revoked %d times, want once", revoked)
	}
	if got, err := s.User(u.UID); got.Epoch != 3 || got.State != storage.UserSuspended || err != nil {
		t.Errorf("got %+v, %v, want epoch 3", got, err)
	}
	wantDead(t, s, secret)
	full.Store(false)
	must.Happen(t, "catching up", func() bool { return s.Writable() == nil })
	wantDead(t, s, secret)
}
