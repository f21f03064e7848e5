package storage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/read"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

var (
	admin = storage.Actor{Name: "root"}
	home  = storage.Origin{Address: netip.MustParseAddr("192.0.2.7"), Agent: "curl/8"}
)

// patience is how long a test waits for something that must happen. If it has
// not happened by then it never will, even on a busy machine.
const patience = 10 * time.Minute

// open opens a store that is closed when the test ends.
func open(t testing.TB, dir string) *storage.Store {
	t.Helper()
	return openWith(t, dir, storage.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

func addUser(t testing.TB, s *storage.Store, uid string) storage.User {
	t.Helper()
	u := must.Get(s.AddUser(admin, uid, "", "hash of "+storage.PasswordHash(uid)))(t)
	return u
}

func create(t testing.TB, s *storage.Store, u storage.User) (storage.ID, string) {
	t.Helper()
	tok, secret := must.Get2(s.CreateToken(admin, u.ID, storage.TokenSpec{Name: "test"}))(t)
	return tok.ID, secret.Reveal()
}

func wantLive(t testing.TB, s *storage.Store, secret string) {
	t.Helper()
	if _, err := s.Authenticate(secret, home); err != nil {
		t.Errorf("token %s: got %v, want it live", secret[:28], err)
	}
}

func wantDead(t testing.TB, s *storage.Store, secret string) {
	t.Helper()
	if _, err := s.Authenticate(secret, home); !errors.Is(err, storage.ErrRefused) {
		t.Errorf("token %s: got %v, want it refused", secret[:28], err)
	}
}

// path returns the path of one of the store's files.
func path(s *storage.Store, name string) string { return filepath.Join(s.Dir(), "store", name) }

// view runs fn on the records of the index.
func view(t testing.TB, s *storage.Store, fn func(rd *read.Reader)) {
	t.Helper()
	v, end := must.Get2(s.Index().Begin())(t)
	defer end()
	fn(s.Reads().At(v))
}

// copyDir copies a store as a kill of its process would leave it.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	must.Do(t, storagetest.CopyStore(dir, to))
	return to
}

// files lists a directory, and all beneath it.
func files(t testing.TB, dir string) []string {
	t.Helper()
	names := must.Get(storagetest.Files(dir))(t)
	return names
}

func TestLifeOfAToken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice := addUser(t, s, "Alice@Example.com")
	id, secret := create(t, s, alice)
	_, other := create(t, s, alice)
	wantLive(t, s, secret)
	got, err := s.Token(id)
	if err != nil || got.LastUsed <= got.Created || got.From != home.Address.String() {
		t.Errorf("got %+v, %v, want a use from %v", got, err, home)
	}
	if n, err := s.RevokeTokens(admin, id, id); n != 1 || err != nil {
		t.Errorf("revoke: got %d, %v, want 1", n, err)
	}
	if n, err := s.RevokeTokens(admin, id); n != 0 || err != nil {
		t.Errorf("revoke again: got %d, %v, want 0", n, err)
	}
	wantDead(t, s, secret)
	wantLive(t, s, other)

	for _, how := range []string{"closed", "killed", "index gone", "index and checkpoint", "killed, index damaged"} {
		t.Run(how, func(t *testing.T) {
			if how == "closed" {
				must.Do(t, s.Close())
			}
			at := copyDir(t, dir)
			switch how {
			case "index gone":
				must.Do(t, os.RemoveAll(filepath.Join(at, "store", "index")))
			case "killed, index damaged":
				must.Do(t, os.WriteFile(filepath.Join(at, "store", "index", "MANIFEST"), []byte("rot"), 0o600))
			case "index and checkpoint":
				again := open(t, at)
				must.Do(t, again.Checkpoint(t.Context()))
				again.Close()
				os.RemoveAll(filepath.Join(at, "store", "index"))
			}
			s := open(t, at)
			wantDead(t, s, secret)
			wantLive(t, s, other)
			u, err := s.User("ALICE@example.COM")
			if err != nil || u.UID != "Alice@Example.com" {
				t.Errorf("got %v, %v", u.UID, err)
			}
			if list, err := tokensOf(s, u.ID); len(list) != 1 || err != nil {
				t.Errorf("got %d tokens, %v, want 1", len(list), err)
			}
		})
	}
}

// TestRestoreOfADamagedBackup: it restores nothing, and leaves nothing behind. What a whole
// one restores is in TestEndsSurviveRestores, and in the story of the backup.
func TestRestoreOfADamagedBackup(t *testing.T) {
	s := open(t, t.TempDir())
	create(t, s, addUser(t, s, "alice@example.com"))
	b, places := backupOf(t, s), 500
	s.Close()
	if testing.Short() {
		places = 8 // package backup tries more
	}
	at := make(chan int)
	var tries sync.WaitGroup
	for range 16 { // a restore waits for the disk most of the time
		to := t.TempDir()
		tries.Go(func() {
			for n := range at {
				bad := bytes.Clone(b)
				bad[n] ^= 0x10
				for what, bad := range map[string][]byte{"flipped": bad, "and what follows cut off": b[:n]} {
					if _, err := storage.Restore(t.Context(), bytes.NewReader(bad), to, storage.Options{}); err == nil {
						t.Errorf("byte %d %s: restored", n, what)
					}
					if has, err := storage.HasData(to); has || err != nil {
						t.Errorf("byte %d %s: something was left behind, %v", n, what, err)
					}
				}
			}
		})
	}
	for n := 0; n < len(b); n += 1 + len(b)/places {
		at <- n
	}
	close(at)
	tries.Wait()
}

func TestEvents(t *testing.T) {
	s := open(t, t.TempDir())
	u := addUser(t, s, "alice@example.com")
	id, _ := create(t, s, u)
	must.Do(t, s.RenameToken(admin, id, "ci"))
	must.Get2(s.RotateToken(admin, id, 0, storage.ByUser))(t)
	must.Get(s.RevokeTokens(storage.Actor{Name: "alice@example.com", Address: "192.0.2.1"}, id))(t)
	want := []storage.Event{
		{Actor: "root", Action: storage.ActionUserAdd, UID: "alice@example.com"},
		{Actor: "root", Action: storage.ActionTokenCreate, UID: "alice@example.com", Token: id.String()},
		{Actor: "root", Action: storage.ActionTokenRename, UID: "alice@example.com", Token: id.String(), Detail: "ci"},
		{Actor: "root", Action: storage.ActionTokenRotate, UID: "alice@example.com", Token: id.String()},
		{Actor: "alice@example.com", Address: "192.0.2.1", Action: storage.ActionTokenRevoke, UID: "alice@example.com", Token: id.String()},
	}
	var got []storage.Event
	for e := range must.All(s.Audit().Events(context.Background(), 0))(t) {
		if time.Since(time.UnixMilli(e.Time)).Abs() > time.Hour || e.Sequence == 0 {
			t.Errorf("%+v has no time or sequence", e)
		}
		e.Time, e.Sequence = 0, 0
		got = append(got, e)
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}
