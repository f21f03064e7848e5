package storage_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/surplus"
)

// spent is a token that was created, used and revoked.
type spent struct {
	id     storage.ID
	secret string
}

// spend makes, uses and revokes tokens of a user, one after the other.
func spend(t *testing.T, s *storage.Store, c *storagetest.Clock, u storage.User, n int) (list []spent) {
	t.Helper()
	for range n {
		id, secret := create(t, s, u)
		wantLive(t, s, secret)
		c.Move(time.Millisecond)
		must.Get(s.RevokeTokens(admin, id))(t)
		list = append(list, spent{id, secret})
	}
	return list
}

// keysOf returns the kinds of records that the index has for a token.
func keysOf(t *testing.T, s *storage.Store, v storage.Token) (kinds string) {
	t.Helper()
	view(t, s, func(rd *read.Reader) {
		for _, k := range [][]byte{record.TokenKey(v.ID), record.UsageKey(v.ID), v.OwnedKey(), record.TokenEndKey(v.ID)} {
			if _, ok := must.Get2(rd.Stored(k))(t); ok {
				kinds += string(k[:1])
			}
		}
	})
	return kinds
}

// TestRevokedAreDropped: when no listing shows a revoked token any more, only its end
// stays. This also holds when its uses were not yet written, and through restarts and
// the restore of a backup in which the token is live.
func TestRevokedAreDropped(t *testing.T) {
	storagetest.Slow(t)
	dir, c := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, c))
	u := addUser(t, s, "alice@example.com")
	old, oldSecret := create(t, s, u)
	early, earlySecret := create(t, s, u)
	backup := backupOf(t, s)
	kept, keptSecret := create(t, s, u)
	must.Get(s.RevokeTokens(admin, early))(t)
	wantLive(t, s, oldSecret)
	list := spend(t, s, c, u, storage.KeepRevoked-1)
	must.Get(s.RevokeTokens(admin, old))(t) // created before all others, and revoked after them
	gone := spent{early, earlySecret}
	first := must.Get(s.Token(early))(t)
	must.Do(t, s.Surplus().DropOf(u.ID))
	want := []storage.ID{kept}
	want = append(want, old)
	for _, v := range list {
		want = append(want, v.id)
	}
	check := func(when string) {
		t.Helper()
		got, err := allTokensOf(s, u.ID)
		if err != nil || !slices.Equal(idsOf(got), want) {
			t.Errorf("%s: got %d tokens, %v, want the one that lives and the %d revoked last", when, len(got), err, storage.KeepRevoked)
		}
		wantDead(t, s, gone.secret)
		wantDead(t, s, oldSecret)
		wantLive(t, s, keptSecret)
		if _, err := s.Token(gone.id); !errors.Is(err, storage.ErrNoToken) {
			t.Errorf("%s: got %v, want no such token", when, err)
		}
		if _, err := s.FindToken(gone.id.String()); !errors.Is(err, storage.ErrNoToken) {
			t.Errorf("%s: got %v, want no such token", when, err)
		}
		if yes, err := s.WasRevoked(gone.id); !yes || err != nil {
			t.Errorf("%s: it is not known to be revoked: %v", when, err)
		}
		if _, err := s.RevokeTokens(admin, gone.id); !errors.Is(err, storage.ErrNoToken) {
			t.Errorf("%s: revoked again: got %v", when, err)
		}
		if got := keysOf(t, s, first); got != "e" {
			t.Errorf("%s: the index has records %q of it, want its end alone", when, got)
		}
		if err := s.Index().Compare(); err != nil {
			t.Error(when, err)
		}
	}
	check("at once")
	must.Do(t, s.Flush(t.Context()))
	check("when the uses are written")
	must.Do(t, s.Close())
	s = openWith(t, dir, timed(t, c))
	check("after a restart")
	must.Do(t, s.Close())
	must.Do(t, os.RemoveAll(filepath.Join(dir, "store", "index")))
	s = openWith(t, dir, timed(t, c))
	check("from the journal")
	must.Do(t, s.Close())
	restoreTo(t, backup, dir, storage.Options{})
	s = openWith(t, dir, timed(t, c))
	for _, secret := range []string{gone.secret, oldSecret, list[0].secret} {
		wantDead(t, s, secret)
	}
}

// TestUsesOfDropped: uses that were not yet written when the record was dropped
// bring nothing back.
func TestUsesOfDropped(t *testing.T) {
	c := newClock()
	s := openWith(t, t.TempDir(), timed(t, c))
	u := addUser(t, s, "alice@example.com")
	gone := spend(t, s, c, u, 1)[0]
	v := must.Get(s.Token(gone.id))(t)
	must.Do(t, s.DropRecords(surplus.Token{At: v.Revoked, ID: v.ID}))
	s.Table().Touch(v.ID, 0, c.Milli(), home)
	must.Do(t, s.Flush(t.Context()))
	if got := keysOf(t, s, v); got != "e" {
		t.Errorf("the index has records %q of it, want its end alone", got)
	}
}

// TestSurplusIsFound: the store drops the records by itself. The next checkpoint
// finds those from before the start.
func TestSurplusIsFound(t *testing.T) {
	storagetest.Slow(t)
	c := newClock()
	dir := t.TempDir()
	s := openWith(t, dir, timed(t, c))
	alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	few := func(u storage.User) {
		t.Helper()
		for {
			list := must.Get(allTokensOf(s, u.ID))(t)
			if len(list) < 2*storage.KeepRevoked {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for range 2 {
		spend(t, s, c, alice, storage.KeepRevoked-1)
		must.Do(t, s.Close())
		s = openWith(t, dir, timed(t, c))
	}
	spend(t, s, c, alice, 5)
	list, err := allTokensOf(s, alice.ID)
	if err != nil || len(list) != 2*storage.KeepRevoked+3 {
		t.Fatalf("got %d tokens, %v, want %d", len(list), err, 2*storage.KeepRevoked+3)
	}
	spend(t, s, c, bob, 2*storage.KeepRevoked)
	few(bob)
	must.Get(s.Snapshot(t.Context(), io.Discard))(t)
	few(alice)
}

// BenchmarkCycles makes, uses and revokes b.N tokens, and then compares the data
// directory with that of a store that was restored from a backup: that store has the
// same content, and nothing else. The journal is kept to a bound, as [audit] max_size
// does.
//
//	go test ./storage -run '^$' -bench Cycles -benchtime 1000000x -timeout 2h
func BenchmarkCycles(b *testing.B) {
	const users, clients = 50, 128
	dir := b.TempDir()
	s := openWith(b, dir, storage.Options{MostEvents: 64 << 20, Segment: 4 << 20})
	var owners []storage.UserID
	for n := range users {
		owners = append(owners, addUser(b, s, "user"+strconv.Itoa(n)+"@example.com").ID)
	}
	for n := range 10_000 { // the live tokens
		if n%100 == 0 {
			var list []storage.Imported
			now := time.Now().UnixMilli()
			for range 100 {
				list = append(list, storage.Imported{Owner: owners[n/100%users], Name: "lives", Created: now, LastUsed: now})
			}
			must.Get(s.ImportTokens(admin, list))(b)
		}
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				v, secret, err := s.CreateToken(admin, owners[n%users], storage.TokenSpec{Name: "nightly"})
				if err == nil {
					_, err = s.Authenticate(secret.Reveal(), home)
				}
				if err == nil {
					_, err = s.RevokeTokens(admin, v.ID)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	must.Do(b, s.Close())
	s = openWith(b, dir, storage.Options{MostEvents: 64 << 20, Segment: 4 << 20})
	file := filepath.Join(b.TempDir(), "backup")
	f := must.Get(os.Create(file))(b)
	defer f.Close()
	must.Get(s.Snapshot(b.Context(), f))(b)
	must.Do(b, s.Close())
	key := must.Get(os.ReadFile(filepath.Join(dir, "key")))(b)
	fresh := b.TempDir()
	must.Do(b, os.WriteFile(filepath.Join(fresh, "key"), key, 0o600))
	must.Get(f.Seek(0, io.SeekStart))(b)
	must.Get(storage.Restore(b.Context(), f, fresh, storage.Options{}))(b)
	r := openWith(b, fresh, storage.Options{})
	must.Do(b, r.Opened(b.Context()))
	<-r.Loaded()
	must.Do(b, r.Close())
	had, has := diskUse(b, fresh), diskUse(b, dir)
	for _, part := range []string{"index", "table", "uses", "journal", "checkpoint"} {
		b.ReportMetric(float64(has[part])/1e6, part+"-MB")
	}
	// Leave out the audit log, and the checkpoint, which is a copy of
	// everything.
	takes, lives := has["index"]+has["table"]+has["uses"], had["index"]+had["table"]+had["uses"]
	b.ReportMetric(float64(lives)/1e6, "lives-MB")
	b.ReportMetric(float64(takes)/float64(lives), "times-what-lives")
}

// diskUse returns how many bytes each part of a store takes on the disk.
func diskUse(b *testing.B, dir string) map[string]int64 {
	use := map[string]int64{}
	store := filepath.Join(dir, "store")
	must.Do(b, filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		part, err := filepath.Rel(store, path)
		if err != nil {
			return err
		}
		for up := filepath.Dir(part); up != "."; up = filepath.Dir(part) {
			part = up
		}
		use[part] += info.Size()
		return nil
	}))
	return use
}
