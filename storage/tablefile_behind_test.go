package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

// known is what a table says about a token, except its last use.
type known struct {
	generation, flags byte
	owner             storage.UserID
	state             storage.UserState
}

func tableOf(s *storage.Store) map[storage.ID]known {
	all := map[storage.ID]known{}
	s.Table().Each(func(e table.Entry) {
		o := s.Table().Owners.At(e.Owner)
		all[e.ID] = known{e.Generation, e.Flags, o.ID, o.State}
	})
	return all
}

func usesOf(s *storage.Store) map[storage.ID]record.LastUse {
	all := map[storage.ID]record.LastUse{}
	s.Table().Each(func(e table.Entry) { all[e.ID] = e.Used })
	return all
}

// wantTable compares the table of a start after a kill, early and when it is
// complete, with the records.
func wantTable(t *testing.T, dir string, opts storage.Options) {
	t.Helper()
	slow := openWith(t, copyDir(t, dir), opts)
	<-slow.Counted()
	opts.Early = true
	s, let := held(t, dir, opts)
	if s.Opening().Exact {
		t.Fatal("it did not start from a table that is behind")
	}
	want := tableOf(slow)
	sameTable(t, "early", tableOf(s), want)
	go let()
	must.Do(t, s.Opened(context.Background()))
	<-s.Counted()
	sameTable(t, "in the end", tableOf(s), want)
	got := usesOf(s)
	for id, want := range usesOf(slow) {
		if got[id] < want { // it may be later: the log of uses may lack the latest use
			t.Errorf("token %s: got %d as its last use, want %d", id, got[id], want)
		}
	}
	if err := s.Index().Compare(); err != nil {
		t.Error(err)
	}
}

func sameTable(t *testing.T, when string, got, want map[storage.ID]known) {
	t.Helper()
	for id, v := range want {
		if g, ok := got[id]; !ok || g != v {
			t.Errorf("%s: token %s: got %+v, %t, want %+v", when, id, g, ok, v)
		}
	}
	for id, v := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("%s: token %s: got %+v, want none", when, id, v)
		}
	}
}

// After a kill, the changes since the last stop are in effect from the first
// answer on.
func TestBehind(t *testing.T) {
	clock := newClock()
	dir, opts := t.TempDir(), timed(t, clock)
	s := openWith(t, dir, opts)
	alice, bob, carol := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com"), addUser(t, s, "carol@example.com")
	used, live := create(t, s, alice)
	gone, dead := create(t, s, alice)
	turned, before := create(t, s, alice)
	_, sleeping := create(t, s, bob)
	_, orphan := create(t, s, carol)
	<-s.Loaded()
	must.Do(t, s.Close())
	s = openWith(t, dir, opts)
	dave := addUser(t, s, "dave@example.com")
	_, young := create(t, s, dave)
	_, late := create(t, s, carol)
	narrow, secret := must.Get2(s.CreateToken(admin, alice.ID, storage.TokenSpec{Scopes: []string{"read"}}))(t)
	_, after, err := s.RotateToken(admin, turned, 0, storage.ByUser)
	if err == nil {
		_, err = s.RevokeTokens(admin, gone)
	}
	must.Do(t, errors.Join(err, s.DisableUser(admin, bob.UID), s.RemoveUser(admin, carol.UID)))
	clock.Move(time.Hour)
	wantLive(t, s, live)
	must.Do(t, s.Uses().SaveAll())
	at, lastUsed := copyDir(t, dir), clock.Milli()
	wantTable(t, copyDir(t, at), opts)

	opts.Early = true
	s, let := held(t, at, opts)
	for _, text := range []string{live, young, after.Reveal()} {
		if _, err := s.Authenticate(text, home); err != nil {
			t.Errorf("token %s: got %v before the index is open", text[:28], err)
		}
	}
	for _, text := range []string{dead, before, sleeping, orphan, late} {
		wantDead(t, s, text)
	}
	if e, ok, _ := s.Table().Get(narrow.ID); !ok || e.Flags != record.FlagLimited {
		t.Errorf("a token with a scope: got %+v, %t", e, ok)
	}
	go let()
	b, err := s.Authenticate(secret.Reveal(), home) // needs the token's record, and waits
	if err != nil || b.Token.Allows("write") || !b.Token.Allows("read") {
		t.Errorf("a token with a scope: got %+v, %v", b, err)
	}
	<-s.Counted()
	wantUsed(t, s, used, lastUsed)
	if n := s.TokenCount(); n != 5 {
		t.Errorf("%d tokens, want 5", n)
	}
}

// Once the index is open, no last use is older than before the kill: a sweep of
// idle tokens, or a listing, does not wait for anything else.
func TestBehindUses(t *testing.T) {
	clock := newClock()
	dir, opts := t.TempDir(), timed(t, clock)
	s := openWith(t, dir, opts)
	id, live := create(t, s, addUser(t, s, "alice@example.com"))
	<-s.Loaded()
	must.Do(t, s.Close())
	s = openWith(t, dir, opts)
	s.Uses().RLock() // the use stays in its log
	defer s.Uses().RUnlock()
	clock.Move(time.Hour)
	must.Get(s.Authenticate(live, home))(t)
	must.Do(t, s.Uses().SaveAll())
	at, lastUsed := copyDir(t, dir), clock.Milli()
	clock.Move(time.Hour)
	opts.Early = true
	s, let := held(t, at, opts)
	go let()
	wantUsed(t, s, id, lastUsed)
	idle := storage.TokenFilter{IdleSince: lastUsed - 1}
	if n, err := s.RevokeMatching(admin, idle, []storage.ID{id}, nil); n != 0 || err != nil {
		t.Errorf("%d tokens were idle, %v, want none", n, err)
	}
	wantLive(t, s, live)
}

// Tables that checkpoints write during many changes are as good as the table of
// a stop.
func TestBehindMeanwhile(t *testing.T) {
	storagetest.Slow(t)
	dir := t.TempDir()
	opts := timed(t, newClock())
	s := openWith(t, dir, opts)
	<-s.Opening().Compared()
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() { changeAtRandom(t, s, w, stop) })
	}
	for range 5 {
		time.Sleep(20 * time.Millisecond) // at least: more changes happen
		must.Do(t, s.Checkpoint(t.Context()))
		wantTable(t, copyDir(t, dir), opts)
	}
	close(stop)
	workers.Wait()
}

// changeAtRandom creates users and tokens, and applies every kind of change to
// them.
func changeAtRandom(t *testing.T, s *storage.Store, worker int, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(uint64(worker), 7))
	type held struct {
		id     storage.ID
		secret string
	}
	var user storage.User
	var tokens []held
	for n := 0; !disk.IsClosed(stop); n++ {
		var err error
		what := r.IntN(12)
		switch {
		case n == 0 || what == 0:
			if what == 0 && r.IntN(4) == 0 && n > 0 {
				err = s.RemoveUser(admin, user.UID)
			}
			if err == nil {
				user, err = s.AddUser(admin, fmt.Sprintf("u%d-%d@example.com", worker, n), "", "")
				tokens = nil
			}
		case what == 1:
			err = errors.Join(s.DisableUser(admin, user.UID), s.EnableUser(admin, user.UID))
		case what < 6 || len(tokens) == 0:
			spec := storage.TokenSpec{Name: "test"}
			if what == 2 {
				spec.Scopes = []string{"read"}
			}
			var v storage.Token
			var secret storage.Secret
			if v, secret, err = s.CreateToken(admin, user.ID, spec); err == nil {
				tokens = append(tokens, held{v.ID, secret.Reveal()})
			}
		case what < 8:
			i := r.IntN(len(tokens))
			_, err = s.RevokeTokens(admin, tokens[i].id)
			tokens = append(tokens[:i], tokens[i+1:]...)
		case what == 8:
			i := r.IntN(len(tokens))
			var secret storage.Secret
			if _, secret, err = s.RotateToken(admin, tokens[i].id, time.Duration(r.IntN(2))*time.Hour, storage.ByUser); err == nil {
				tokens[i].secret = secret.Reveal()
			}
		default:
			_, err = s.Authenticate(tokens[r.IntN(len(tokens))].secret, home)
		}
		if err != nil {
			t.Errorf("worker %d, change %d: %v", worker, n, err)
			return
		}
	}
}

// A start after a kill ignores a table that it can't use, and takes longer. But
// a table that has more than the journal proves that the journal has lost
// records.
func TestBehindNot(t *testing.T) {
	clock := newClock()
	dir, opts := t.TempDir(), timed(t, clock)
	s := openWith(t, dir, opts)
	alice := addUser(t, s, "alice@example.com")
	_, live := create(t, s, alice)
	<-s.Loaded()
	must.Do(t, s.Close())
	s = openWith(t, dir, opts)
	older := copyDir(t, dir)
	gone, dead := create(t, s, alice)
	must.Get(s.RevokeTokens(admin, gone))(t)
	must.Do(t, s.Checkpoint(t.Context()))
	newer := copyDir(t, dir)
	opts.Early = true
	for name, harm := range map[string]func(file string) error{
		"gone":      os.Remove,
		"cut off":   func(file string) error { return os.Truncate(file, int64(table.HeadSize)-1) },
		"no owners": func(file string) error { return os.Truncate(file, int64(table.HeadSize)+1) },
	} {
		t.Run(name, func(t *testing.T) {
			at := copyDir(t, newer)
			must.Do(t, harm(filepath.Join(at, "store", "table")))
			s := openWith(t, at, opts)
			if s.Opening().Early {
				t.Error("it was opened early")
			}
			wantLive(t, s, live)
			wantDead(t, s, dead)
		})
	}
	t.Run("no shards", func(t *testing.T) {
		at := copyDir(t, newer)
		file := filepath.Join(at, "store", "table")
		info := must.Get(os.Stat(file))(t)
		must.Do(t, os.Truncate(file, info.Size()-table.Shards*keys.SealSize))
		s := openWith(t, at, opts)
		wantLive(t, s, live)
		wantDead(t, s, dead)
		<-s.Loaded()
		wantLive(t, s, live)
		wantDead(t, s, dead)
	})
	t.Run("of a later moment", func(t *testing.T) {
		table := must.Get(os.ReadFile(filepath.Join(newer, "store", "table")))(t)
		must.Do(t, os.WriteFile(filepath.Join(older, "store", "table"), table, 0o600))
		if s, err := storage.Open(older, opts); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("got %v, want %v", err, storage.ErrDamaged)
			s.Close()
		}
	})
}
