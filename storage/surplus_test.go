package storage

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

	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/surplus"
)

// spent is a token that was created, used and revoked.
type spent struct {
	id     ID
	secret string
}

// spend makes, uses and revokes tokens of a user, one after the other.
func spend(t *testing.T, s *Store, c *storagetest.Clock, u User, n int) (list []spent) {
	t.Helper()
	for range n {
		id, secret := create(t, s, u)
		wantLive(t, s, secret)
		c.Move(time.Millisecond)
		if _, err := s.RevokeTokens(admin, id); err != nil {
			t.Fatal(err)
		}
		list = append(list, spent{id, secret})
	}
	return list
}

// keysOf returns the kinds of records that the index has for a token.
func keysOf(t *testing.T, s *Store, v Token) (kinds string) {
	t.Helper()
	err := s.view(func(rd *read.Reader) error {
		for _, k := range [][]byte{record.TokenKey(v.ID), record.UsageKey(v.ID), v.OwnedKey(), record.TokenEndKey(v.ID)} {
			if _, ok, err := rd.Stored(k); err != nil {
				return err
			} else if ok {
				kinds += string(k[:1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// TestRevokedAreDropped: when no listing shows a revoked token any more, only its end
// stays. This also holds when its uses were not yet written, and through restarts and
// the restore of a backup in which the token is live.
func TestRevokedAreDropped(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	dir, c := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, c))
	u := addUser(t, s, "alice@example.com")
	old, oldSecret := create(t, s, u)
	early, earlySecret := create(t, s, u)
	backup := backupOf(t, s)
	kept, keptSecret := create(t, s, u)
	if _, err := s.RevokeTokens(admin, early); err != nil {
		t.Fatal(err)
	}
	wantLive(t, s, oldSecret)
	list := spend(t, s, c, u, KeepRevoked-1)
	if _, err := s.RevokeTokens(admin, old); err != nil { // created before all others, and revoked after them
		t.Fatal(err)
	}
	gone := spent{early, earlySecret}
	first, err := s.Token(early)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.surplus.DropOf(u.ID); err != nil {
		t.Fatal(err)
	}
	want := []ID{kept}
	want = append(want, old)
	for _, v := range list {
		want = append(want, v.id)
	}
	check := func(when string) {
		t.Helper()
		got, err := allTokensOf(s, u.ID)
		if err != nil || !slices.Equal(idsOf(got), want) {
			t.Errorf("%s: got %d tokens, %v, want the one that lives and the %d revoked last", when, len(got), err, KeepRevoked)
		}
		wantDead(t, s, gone.secret)
		wantDead(t, s, oldSecret)
		wantLive(t, s, keptSecret)
		if _, err := s.Token(gone.id); !errors.Is(err, ErrNoToken) {
			t.Errorf("%s: got %v, want no such token", when, err)
		}
		if _, err := s.FindToken(gone.id.String()); !errors.Is(err, ErrNoToken) {
			t.Errorf("%s: got %v, want no such token", when, err)
		}
		if yes, err := s.WasRevoked(gone.id); !yes || err != nil {
			t.Errorf("%s: it is not known to be revoked: %v", when, err)
		}
		if _, err := s.RevokeTokens(admin, gone.id); !errors.Is(err, ErrNoToken) {
			t.Errorf("%s: revoked again: got %v", when, err)
		}
		if got := keysOf(t, s, first); got != "e" {
			t.Errorf("%s: the index has records %q of it, want its end alone", when, got)
		}
		if err := s.index.Compare(); err != nil {
			t.Error(when, err)
		}
	}
	check("at once")
	if err := s.upkeep.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("when the uses are written")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, dir, timed(t, c))
	check("after a restart")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "store", "index")); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, dir, timed(t, c))
	check("from the journal")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	restoreTo(t, backup, dir, Options{})
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
	v, err := s.Token(gone.id)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.dropRecords([]surplus.Token{{At: v.Revoked, ID: v.ID}}); err != nil {
		t.Fatal(err)
	}
	s.table.Touch(v.ID, 0, c.Milli(), home)
	if err := s.upkeep.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, s, v); got != "e" {
		t.Errorf("the index has records %q of it, want its end alone", got)
	}
}

// TestSurplusIsFound: the store drops the records by itself. The next checkpoint
// finds those from before the start.
func TestSurplusIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	c := newClock()
	dir := t.TempDir()
	s := openWith(t, dir, timed(t, c))
	alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	few := func(u User) {
		t.Helper()
		for {
			list, err := allTokensOf(s, u.ID)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) < 2*KeepRevoked {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for range 2 {
		spend(t, s, c, alice, KeepRevoked-1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openWith(t, dir, timed(t, c))
	}
	spend(t, s, c, alice, 5)
	list, err := allTokensOf(s, alice.ID)
	if err != nil || len(list) != 2*KeepRevoked+3 {
		t.Fatalf("got %d tokens, %v, want %d", len(list), err, 2*KeepRevoked+3)
	}
	spend(t, s, c, bob, 2*KeepRevoked)
	few(bob)
	if _, err := s.Snapshot(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
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
	s := openWith(b, dir, Options{MostEvents: 64 << 20, Segment: 4 << 20})
	var owners []UserID
	for n := range users {
		owners = append(owners, addUser(b, s, "user"+strconv.Itoa(n)+"@example.com").ID)
	}
	for n := range 10_000 { // the live tokens
		if n%100 == 0 {
			var list []Imported
			for range 100 {
				list = append(list, Imported{Owner: owners[n/100%users], Name: "lives", Created: s.clock.Now(), LastUsed: s.clock.Now()})
			}
			if _, err := s.ImportTokens(admin, list); err != nil {
				b.Fatal(err)
			}
		}
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				v, secret, err := s.CreateToken(admin, owners[n%users], TokenSpec{Name: "nightly"})
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
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	s = openWith(b, dir, Options{MostEvents: 64 << 20, Segment: 4 << 20})
	file := filepath.Join(b.TempDir(), "backup")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := s.Snapshot(b.Context(), f); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		b.Fatal(err)
	}
	fresh := b.TempDir()
	if err := os.WriteFile(filepath.Join(fresh, "key"), key, 0o600); err != nil {
		b.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	if _, err := Restore(b.Context(), f, fresh, Options{}); err != nil {
		b.Fatal(err)
	}
	r := openWith(b, fresh, Options{})
	if err := r.Opened(b.Context()); err != nil {
		b.Fatal(err)
	}
	<-r.Loaded()
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
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
	err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
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
	})
	if err != nil {
		b.Fatal(err)
	}
	return use
}
