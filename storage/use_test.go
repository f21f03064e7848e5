package storage_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// newClock returns a clock that shows a time in 2027.
func newClock() *storagetest.Clock {
	return storagetest.NewClock(time.UnixMilli(1_800_000_000_000))
}

// timed returns the options of a store that uses a given clock.
func timed(t testing.TB, c *storagetest.Clock) storage.Options {
	return storage.Options{Now: c.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// openWith opens a store that is closed when the test ends. Unless the options say
// otherwise, new segments of its journal are small.
func openWith(t testing.TB, dir string, opts storage.Options) *storage.Store {
	t.Helper()
	opts.Segment = cmp.Or(opts.Segment, storagetest.Segment)
	s := must.Get(storage.Open(dir, opts))(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func wantUsed(t testing.TB, s *storage.Store, id storage.ID, want int64) {
	t.Helper()
	tok, err := s.Token(id)
	if err != nil || tok.LastUsed != want {
		t.Errorf("last use: got %d, %v, want %d (created %d)", tok.LastUsed, err, want, tok.Created)
	}
	list, err := allTokensOf(s, tok.Owner)
	if err != nil {
		t.Error(err)
	}
	for _, tok := range list {
		if tok.ID == id && tok.LastUsed != want {
			t.Errorf("last use in a listing: got %d, want %d", tok.LastUsed, want)
		}
	}
}

func TestLastUsed(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, c))
	u := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, u)
	unused, _ := create(t, s, u)
	created := c.Milli()
	wantUsed(t, s, id, created)

	wantLive(t, s, secret) // used in the millisecond of the creation: it still counts
	wantUsed(t, s, id, created+1)
	c.Move(5 * time.Millisecond)
	wantLive(t, s, secret)
	wantUsed(t, s, id, created+5)
	c.Move(-time.Second) // as a time server may do
	wantLive(t, s, secret)
	wantUsed(t, s, id, created+5)
	c.Move(2 * time.Hour)
	wantLive(t, s, secret)
	last := c.Milli()
	wantUsed(t, s, id, last)
	wantUsed(t, s, unused, created)

	must.Do(t, s.Close())
	s = openWith(t, dir, timed(t, c))
	wantUsed(t, s, id, last)
	wantUsed(t, s, unused, created)

	must.Get(s.RevokeTokens(admin, id))(t)
	wantUsed(t, s, id, last)
	tok, err := s.Token(id)
	if err != nil || tok.From != home.Address.String() {
		t.Errorf("the revoked token was last used from %q, %v, want %v", tok.From, err, home)
	}
}

// A use that is not flushed yet is not lost when its token leaves the table.
func TestRevokedTokenKeepsItsLastUse(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, c))
	id, secret := create(t, s, addUser(t, s, "alice@example.com"))
	c.Move(time.Second)
	wantLive(t, s, secret)
	want := c.Milli()
	must.Get(s.RevokeTokens(admin, id))(t)
	c.Move(time.Second)
	wantDead(t, s, secret)
	wantUsed(t, s, id, want)
	s.Close()
	wantUsed(t, openWith(t, dir, timed(t, c)), id, want)
}

// Flushed uses survive a kill. Only uses that were not flushed may be lost.
func TestLastUsedOverAKill(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, c))
	id, secret := create(t, s, addUser(t, s, "alice@example.com"))
	c.Move(time.Second)
	wantLive(t, s, secret)
	flushed := c.Milli()
	must.Do(t, s.Flush(context.Background()))
	c.Move(time.Second)
	wantLive(t, s, secret)
	again := openWith(t, copyDir(t, dir), timed(t, c))
	tok, err := again.Token(id)
	if err != nil || tok.LastUsed < flushed || tok.LastUsed > c.Milli() {
		t.Errorf("got %d, %v, want between %d and %d", tok.LastUsed, err, flushed, c.Milli())
	}
}

func TestTokensPerUser(t *testing.T) {
	c := newClock()
	opts := timed(t, c)
	opts.MaxPerUser = 3
	s := openWith(t, t.TempDir(), opts)
	alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	first, _ := create(t, s, alice)
	create(t, s, alice)
	must.Get2(s.CreateToken(admin, alice.ID, storage.TokenSpec{Lifetime: 10}))(t)
	want := func(err error) {
		t.Helper()
		if _, _, got := s.CreateToken(admin, alice.ID, storage.TokenSpec{}); !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	want(storage.ErrTooMany)
	create(t, s, bob)
	c.Move(10 * time.Millisecond) // one expires
	want(nil)
	want(storage.ErrTooMany)
	must.Get(s.RevokeTokens(admin, first))(t)
	want(nil)
	want(storage.ErrTooMany)
}

// A user who creates very short-lived tokens for years leaves only a limited
// number of them behind, and never holds more than allowed.
func TestShortLived(t *testing.T) {
	c := newClock()
	opts := timed(t, c)
	opts.MaxPerUser = 10
	s := openWith(t, t.TempDir(), opts)
	alice := addUser(t, s, "alice@example.com")
	_, kept := create(t, s, alice)
	for range 500 {
		must.Get2(s.CreateToken(admin, alice.ID, storage.TokenSpec{Lifetime: 2}))(t)
		c.Move(time.Millisecond)
	}
	list, err := tokensOf(s, alice.ID)
	if err != nil || len(list) > 3*opts.MaxPerUser {
		t.Errorf("got %d tokens, %v, want at most %d", len(list), err, 3*opts.MaxPerUser)
	}
	wantLive(t, s, kept)

	c.Move(time.Second)
	var made atomic.Int64
	var all sync.WaitGroup
	for range 3 * opts.MaxPerUser {
		all.Go(func() {
			switch _, _, err := s.CreateToken(admin, alice.ID, storage.TokenSpec{Lifetime: 1000}); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, storage.ErrTooMany):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, want := made.Load(), int64(opts.MaxPerUser-1); got != want {
		t.Errorf("got %d tokens made at once, want %d", got, want)
	}
}

func TestAttempts(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, c))
	want := func(s *storage.Store, name string, v storage.Attempts) {
		t.Helper()
		if known, err := s.Expiring().Known(); err != nil || (v != storage.Attempts{}) && (!known(name) || known(name+"x") || !known(name)) {
			t.Errorf("%s is not known, or another name is; %v", name, err)
		}
		if got, err := s.Expiring().Attempts(name); got != v || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, v)
		}
	}
	if known, err := s.Expiring().Known(); known != nil || err != nil {
		t.Errorf("something is known already; %v", err)
	}
	want(s, "alice", storage.Attempts{})
	s.Expiring().SetAttempts("alice", storage.Attempts{Failures: 3, Until: 42})
	want(s, "alice", storage.Attempts{Failures: 3, Until: 42})
	must.Do(t, s.Flush(context.Background()))
	want(s, "alice", storage.Attempts{Failures: 3, Until: 42})
	s.Expiring().SetAttempts("alice", storage.Attempts{Failures: 4, Until: 43})
	got, err := openWith(t, copyDir(t, dir), timed(t, c)).Expiring().Attempts("alice")
	if got != (storage.Attempts{Failures: 3, Until: 42}) && got != (storage.Attempts{Failures: 4, Until: 43}) || err != nil { // a flush may have happened in between
		t.Errorf("after a kill: got %+v, %v", got, err)
	}
	s.Close()
	s = openWith(t, dir, timed(t, c))
	want(s, "alice", storage.Attempts{Failures: 4, Until: 43})
}

func put(t *testing.T, file string, b []byte, mode os.FileMode) {
	t.Helper()
	err := os.RemoveAll(file)
	if b != nil {
		err = errors.Join(os.WriteFile(file, b, 0o600), os.Chmod(file, mode))
	}
	if err != nil {
		t.Fatal(err)
	}
}
