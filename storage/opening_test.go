package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// left returns a directory after a clean stop, with a live token, a revoked
// one, and one with its last use only in the log of uses.
func left(t *testing.T) (dir string, opts storage.Options, live, gone string) {
	t.Helper()
	clock := newClock()
	dir, opts = t.TempDir(), timed(t, clock)
	s := openWith(t, dir, opts)
	u := addUser(t, s, "alice@example.com")
	_, live = create(t, s, u)
	id, gone := create(t, s, u)
	must.Get(s.RevokeTokens(admin, id))(t)
	must.Get(s.Authenticate(live, home))(t)
	<-s.Loaded() // otherwise a stop writes no table
	must.Do(t, s.Close())
	opts.Early = true
	clock.Move(time.Hour)
	return dir, opts, live, gone
}

// wantCleanStop fails unless the next start has nothing to catch up with.
func wantCleanStop(t *testing.T, dir string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "store", "index", "*.mem"))
	if err != nil || len(logs) > 0 {
		t.Errorf("the index was not closed: %v, %v", logs, err)
	}
	s := openWith(t, copyDir(t, dir), storage.Options{Early: true})
	must.Do(t, s.Opened(t.Context()))
	if o := s.Opening(); !o.Early || !o.Exact {
		t.Errorf("the table's file lacks something, or there is none: early %t, exact %t", o.Early, o.Exact)
	}
}

// held opens a store early. Its index opens only when let is called.
func held(t *testing.T, dir string, opts storage.Options) (s *storage.Store, let func()) {
	t.Helper()
	s, let = must.Get2(storage.Hold(t.Context(), dir, opts))(t)
	t.Cleanup(func() { s.Close() })
	return s, let
}

// Tokens are verified, and their uses counted, while the index is not open;
// changes and listings wait for it.
func TestEarly(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, dir string)
		uses int64 // earlier uses are only in the index
	}{
		"whole":   {func(*testing.T, string) {}, 2},
		"damaged": {flipInTable, 1},
		"gone":    {func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "store", "index")) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, opts, live, gone := left(t)
			c.harm(t, dir)
			s, let := held(t, dir, opts)
			b, err := s.Authenticate(live, home)
			if err != nil || b.UID != "alice@example.com" {
				t.Fatalf("before the index is open: got %+v, %v", b, err)
			}
			if _, err := s.Authenticate(gone, home); !errors.Is(err, storage.ErrRefused) {
				t.Errorf("a revoked token: got %v", err)
			}
			revoked := make(chan error, 1)
			go func() {
				_, err := s.RevokeTokens(admin, b.ID)
				revoked <- err
			}()
			select {
			case err := <-revoked:
				t.Errorf("a change did not wait for the index: %v", err)
			case <-time.After(50 * time.Millisecond): // any time is right: it can't come
			}
			go let()
			must.Do(t, s.Opened(context.Background()))
			must.Do(t, <-revoked)
			if _, err := s.Authenticate(live, home); !errors.Is(err, storage.ErrRefused) {
				t.Errorf("after the revocation: got %v", err)
			}
			tok, err := s.Token(b.ID)
			if err != nil || tok.Usage.Uses != c.uses {
				t.Errorf("got %d uses, %v, want %d", tok.Usage.Uses, err, c.uses)
			}
			must.Do(t, s.Index().Compare())
		})
	}
}

// flipInTable damages the index's largest table.
func flipInTable(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "store", "index", "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, file := range files {
		b := must.Get(os.ReadFile(file))(t)
		b[len(b)/3] ^= 1
		must.Do(t, os.WriteFile(file, b, 0o600))
	}
}

// An index that is ahead of the journal, for example because somebody has
// restored an older copy of some files, must not be built again: the journal
// lacks records that were acknowledged. All waiting callers get the error, and
// no file changes.
func TestEarlyButNotAtAll(t *testing.T) {
	dir, opts, live, _ := left(t)
	older := copyDir(t, filepath.Join(dir, "store"))
	s := openWith(t, dir, opts)
	addUser(t, s, "bob@example.com")
	must.Do(t, s.Close())
	for _, name := range []string{"journal", "table", "uses"} {
		to := filepath.Join(dir, "store", name)
		must.Do(t, errors.Join(os.RemoveAll(to), os.Rename(filepath.Join(older, name), to)))
	}
	s = openWith(t, dir, opts)
	if err := s.Opened(context.Background()); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("opened: got %v, want %v", err, storage.ErrDamaged)
	}
	if _, err := s.AddUser(admin, "carol@example.com", "", ""); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("a change: got %v, want %v", err, storage.ErrDamaged)
	}
	if err := s.Writable(); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("writable: got %v, want %v", err, storage.ErrDamaged)
	}
	if _, err := s.Authenticate(live, home); err != nil {
		t.Errorf("a token: %v", err)
	}
	if err := s.Close(); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("close: got %v, want %v", err, storage.ErrDamaged)
	}
	if tables, err := filepath.Glob(filepath.Join(dir, "store", "index", "*.sst")); err != nil || len(tables) == 0 {
		t.Errorf("the index is gone: %v", err)
	}
}

// A stop that comes while the index is being opened loses nothing.
func TestEarlyStop(t *testing.T) {
	dir, opts, live, _ := left(t)
	s, let := held(t, dir, opts)
	b := must.Get(s.Authenticate(live, home))(t)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.Opening().Closing
	if _, err := s.Token(b.ID); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("while it closes: got %v, want %v", err, storage.ErrClosed)
	}
	let() // opens the index, and notices that the store is closing
	must.Do(t, <-closed)
	s = openWith(t, dir, opts)
	<-s.Counted() // the uses in the log are in the index
	tok, err := s.Token(b.ID)
	if err != nil || tok.Usage.Uses != 2 {
		t.Errorf("got %d uses, %v, want 2", tok.Usage.Uses, err)
	}
	// The sweep of idle tokens relies on the table, which must not be an older
	// one.
	if e, ok, _ := s.Table().Get(b.ID); !ok || e.Used.Ms() != tok.LastUsed {
		t.Errorf("the table has %d, %v, want %d", e.Used.Ms(), ok, tok.LastUsed)
	}
}

// Uses while the index is being opened are in the log of uses, as always.
func TestEarlyKill(t *testing.T) {
	dir, opts, live, _ := left(t)
	s, let := held(t, dir, opts)
	b := must.Get(s.Authenticate(live, home))(t)
	for logSize(t, s) == 0 {
		time.Sleep(time.Millisecond)
	}
	at := copyDir(t, dir)
	let()
	k := openWith(t, at, opts)
	<-k.Counted()
	tok, err := k.Token(b.ID)
	if err != nil || tok.Usage.Uses != 2 {
		t.Errorf("after a kill: got %d uses, %v, want 2", tok.Usage.Uses, err)
	}
}

// An event that is noted while the index is being opened waits for it.
func TestEarlyNote(t *testing.T) {
	dir, opts, live, _ := left(t)
	s := openWith(t, dir, opts)
	b := must.Get(s.Authenticate(live, home))(t)
	_, secret, err := s.RotateToken(admin, b.ID, 0, storage.ByUser)
	if err == nil {
		_, err = s.Authenticate(secret.Reveal(), home)
	}
	<-s.Loaded()
	must.Do(t, errors.Join(err, s.Close()))
	s, let := held(t, dir, opts)
	last := s.Audit().Last()
	if _, err := s.Authenticate(live, home); !errors.Is(err, storage.ErrRefused) {
		t.Fatalf("the old secret: got %v", err)
	}
	go let()
	must.Do(t, s.Opened(context.Background()))
	for e, err := range s.Audit().Follow(t.Context(), last) {
		if err != nil || e.Action != storage.ActionTokenStale {
			t.Errorf("got %+v, %v", e, err)
		}
		break
	}
}

// A store without users can be opened early, too.
func TestEarlyWithoutUsers(t *testing.T) {
	dir, opts := t.TempDir(), timed(t, newClock())
	s := openWith(t, dir, opts)
	<-s.Loaded()
	must.Do(t, s.Close())
	opts.Early = true
	s = openWith(t, dir, opts)
	addUser(t, s, "alice@example.com")
}
