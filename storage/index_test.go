package storage_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/backup"
	"gatehouse/storage/index"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// openAgain opens a copy of a store, as after a kill.
func openAgain(t *testing.T, dir string) *storage.Store {
	t.Helper()
	at := copyDir(t, dir)
	return open(t, at)
}

// TestIndexThatForgot: Badger has silently lost its last writes, or returned to
// older values.
func TestIndexThatForgot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	u := addUser(t, s, "alice@example.com")
	revoked, dead := create(t, s, u)
	lost, live := create(t, s, u)
	before := map[string][]byte{}
	keep := func(k []byte) {
		view(t, s, func(rd *read.Reader) { before[string(k)], _, _ = rd.Stored(k) })
	}
	keep(record.TokenKey(revoked))
	must.Get(s.RevokeTokens(admin, revoked))(t)
	must.Do(t, s.Index().Write(1, func(u *index.Update) error {
		return errors.Join(
			u.Hint(record.TokenKey(revoked), before[string(record.TokenKey(revoked))], 0),
			u.Delete(record.TokenKey(lost)))
	}))
	again := openAgain(t, dir)
	wantDead(t, again, dead)
	wantLive(t, again, live)
	if list, err := tokensOf(again, u.ID); len(list) != 1 || err != nil {
		t.Errorf("got %d tokens, %v, want 1", len(list), err)
	}
	if _, err := s.Snapshot(context.Background(), new(bytes.Buffer)); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("a snapshot of it: got %v, want ErrDamaged", err)
	}
}

// TestReplayTurnsNoUseBack: the last uses of an import are in the journal,
// later uses are not. A replay must not overwrite those.
func TestReplayTurnsNoUseBack(t *testing.T) {
	s := open(t, t.TempDir())
	u := addUser(t, s, "alice@example.com")
	list := must.Get(s.ImportTokens(admin, []storage.Imported{{Owner: u.ID, Created: 1000, LastUsed: 2000}}))(t)
	wantLive(t, s, s.Reveal(list[0]).Reveal())
	must.Do(t, s.Flush(context.Background()))
	lost, _ := create(t, s, u)
	must.Do(t, s.Index().Write(1, func(u *index.Update) error { return u.Delete(record.TokenKey(lost)) }))
	must.Do(t, s.Index().CatchUp(record.Journal{Journal: s.Journal()})) // from where Badger was settled: the beginning
	must.Get(s.Token(lost))(t)
	view(t, s, func(rd *read.Reader) {
		b, _, err := rd.Get(record.UsageKey(list[0].ID))
		if used := record.ParseLastUse(b); err != nil || used <= record.UsedAt(2000) {
			t.Errorf("got %d, %v, want the use after the import", used, err)
		}
	})
}

// TestFilesOfTheIndex flips a bit in each of Badger's files: after a clean stop
// and after a kill every answer is right, at once.
func TestFilesOfTheIndex(t *testing.T) {
	storagetest.Slow(t)
	dir := t.TempDir()
	s := open(t, dir)
	u := addUser(t, s, "alice@example.com")
	_, live := create(t, s, u)
	id, dead := create(t, s, u)
	must.Do(t, s.Close())
	s = open(t, dir)
	must.Get(s.RevokeTokens(admin, id))(t)
	killed := copyDir(t, dir)
	must.Do(t, s.Close())
	random := rand.New(rand.NewPCG(1, 1))
	for how, from := range map[string]string{"killed": killed, "closed": dir} {
		files, err := filepath.Glob(filepath.Join(from, "store", "index", "*"))
		if err != nil || len(files) < 4 {
			t.Fatalf("got %v, %v", files, err)
		}
		for _, file := range append(files, filepath.Join(from, "store", "table")) {
			t.Run(how+", "+filepath.Base(file), func(t *testing.T) {
				at := copyDir(t, from)
				rel, _ := filepath.Rel(from, file)
				b, err := os.ReadFile(filepath.Join(at, rel))
				if err != nil || len(b) == 0 {
					t.Skip("there is nothing to flip")
				}
				if used := bytes.TrimRight(b, "\x00"); len(used) > 0 {
					b[random.IntN(len(used))] ^= 1 << random.IntN(8)
				}
				must.Do(t, os.WriteFile(filepath.Join(at, rel), b, 0o600))
				s := open(t, at)
				wantLive(t, s, live)
				wantDead(t, s, dead)
			})
		}
	}
}

// TestBirthAgain: a crash happens while a store is being created.
func TestBirthAgain(t *testing.T) {
	dir := t.TempDir()
	index := filepath.Join(dir, "store", "index")
	must.Do(t, os.MkdirAll(index, 0o700))
	for _, name := range []string{"../new", "MANIFEST", "KEYREGISTRY", "000001.vlog"} {
		must.Do(t, os.WriteFile(filepath.Join(index, name), []byte("half"), 0o600))
	}
	s := open(t, dir)
	_, secret := create(t, s, addUser(t, s, "alice@example.com"))
	must.Do(t, s.Close())
	must.Do(t, os.Remove(filepath.Join(dir, "store", "format")))
	wantLive(t, open(t, dir), secret) // even without that file it does not count as a new store
}

// TestCheckpointOfTheDayBefore: a store that is restarted every hour gets its
// checkpoint.
func TestCheckpointOfTheDayBefore(t *testing.T) {
	storagetest.Slow(t)
	t.Parallel()
	dir := t.TempDir()
	at := time.Now()
	var before backup.Manifest
	for n := range 3 {
		s := must.Get(storage.Open(dir, storage.Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return at.Add(time.Duration(n) * 13 * time.Hour) }}))(t)
		wait := patience
		if n == 1 {
			wait = 3 * time.Second
		}
		made := false
		for deadline := time.Now().Add(wait); !made && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			made = s.CheckpointFile().Last() != before
		}
		if made != (n != 1) {
			t.Errorf("opening %d: a checkpoint was made: %t", n, made)
		}
		must.Do(t, s.Close())
		before = s.CheckpointFile().Last()
	}
}
