package storage_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest/must"
)

// oneBatch makes the writer take the calls together, in this order.
func oneBatch(t *testing.T, s *storage.Store, calls ...func()) {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		s.Do(admin, journal.Essential, func(*storage.Tx) error {
			close(held)
			<-release
			return nil
		})
	})
	<-held
	defer close(release)
	for n, call := range calls {
		wg.Go(call)
		must.Happen(t, "a change that waits", func() bool { return s.Writer().Waiting() == n+1 })
	}
}

// A change sees what earlier changes in the same commit did to its user,
// although nobody outside sees that yet.
func TestUserChangedInTheSameCommit(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	_, before := create(t, s, alice)
	made := func(want error) func() {
		return func() {
			if _, _, err := s.CreateToken(admin, alice.ID, storage.TokenSpec{}); !errors.Is(err, want) {
				t.Errorf("create: got %v, want %v", err, want)
			}
		}
	}
	turn := func(fn func(storage.Actor, string) error) func() {
		return func() {
			if err := fn(admin, alice.UID); err != nil {
				t.Error(err)
			}
		}
	}
	oneBatch(t, s, made(nil), turn(s.DisableUser), made(storage.ErrNoUser))
	wantDead(t, s, before)
	oneBatch(t, s, made(storage.ErrNoUser), turn(s.EnableUser), made(nil))
	wantLive(t, s, before)
	oneBatch(t, s, made(nil), turn(s.RemoveUser), made(storage.ErrNoUser))
	if list, err := allTokensOf(s, alice.ID); err != nil || len(list) != 4 {
		t.Errorf("got %d tokens, %v, want 4", len(list), err)
	}
	must.Do(t, s.Index().Compare())
}

// A change that fails after it has saved a user leaves no trace, not even in
// memory.
func TestFailedChangeLeavesTheUser(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	failed := errors.New("failed")
	oneBatch(t, s, func() {
		err := s.Do(admin, journal.Ordinary, func(tx *storage.Tx) error {
			return errors.Join(tx.Edit(alice.UID, func(u *storage.User) error {
				u.State = storage.UserDisabled
				return nil
			}), failed)
		})
		if !errors.Is(err, failed) {
			t.Errorf("got %v, want the change's own error", err)
		}
	}, func() {
		if _, _, err := s.CreateToken(admin, alice.ID, storage.TokenSpec{}); err != nil {
			t.Errorf("create after a disabling that came to nothing: %v", err)
		}
	})
}

// No user can create tokens that are too large to be revoked together, even
// while the index is behind. A change that is too large for the journal does
// not affect others.
func TestRevokeTheLargestTokens(t *testing.T) {
	s := open(t, t.TempDir())
	full := shortOf(s)
	alice := addUser(t, s, "alice@example.com")
	spec := storage.TokenSpec{Name: strings.Repeat("<", 200)} // JSON writes it as \u003c
	for n := range 32 {
		spec.Scopes = append(spec.Scopes, fmt.Sprintf("%064d", n))
	}
	for n := range 64 {
		spec.Addresses = append(spec.Addresses, netip.MustParsePrefix(fmt.Sprintf("2001:db8:1111:2222:3333:4444:5555:66%02x/128", n)))
	}
	const count = 4 * storage.MostRevoked
	var ids []storage.ID
	for range count {
		made, _ := must.Get2(s.CreateToken(admin, alice.ID, spec))(t)
		ids = append(ids, made.ID)
	}
	if n, err := s.RevokeMatching(admin, storage.TokenFilter{Owner: alice.ID, NeverUsed: true}, ids[:count/2], nil); n != count/2 || err != nil {
		t.Errorf("revoke what matches: got %d, %v, want %d", n, err, count/2)
	}
	full.Store(true)
	must.Happen(t, "a short disk", func() bool { return s.Disk().Short() != nil })
	before := slices.Clone(ids)
	if n, err := s.RevokeTokens(admin, ids...); n != count/2 || err != nil || !slices.Equal(ids, before) {
		t.Errorf("revoke by id: got %d, %v, want %d; the ids are as before: %v", n, err, count/2, slices.Equal(ids, before))
	}
	full.Store(false)
	must.Happen(t, "an index that has caught up", func() bool { return s.Index().Behind() == nil })
	must.Do(t, s.Index().Compare())
	err := s.Record(admin, storage.Event{Action: storage.ActionImport, Detail: strings.Repeat("x", 2<<20)})
	if !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("a record of 2 MiB: got %v, want ErrTooLarge", err)
	}
	create(t, s, alice)
}
