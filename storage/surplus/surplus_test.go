package surplus_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/surplus"
)

const alice, bob = record.UserID(7), record.UserID(8)

// records are the revoked tokens of users, in the order of their creation, which differs
// from that of their revocations.
type records map[record.UserID][]surplus.Token

func (r records) add(owner record.UserID, n int) {
	for _, at := range rand.Perm(n) {
		r[owner] = append(r[owner], surplus.Token{At: int64(1000 + at), ID: keys.NewID(1)})
	}
}

// page returns up to 30 tokens after a place.
func (r records) page(owner record.UserID, after string) (list []surplus.Token, next string, err error) {
	from := 0
	if after != "" {
		fmt.Sscan(after, &from)
	}
	all := r[owner][from:]
	if len(all) > 30 {
		all, next = all[:30], fmt.Sprint(from+30)
	}
	return slices.Clone(all), next, nil
}

// However many records a user has, those of the tokens that were revoked last stay.
func TestDropOf(t *testing.T) {
	for _, n := range []int{0, 1, surplus.Keep, surplus.Keep + 1, 5 * surplus.Keep} {
		r := records{}
		r.add(alice, n)
		dropped := map[keys.ID]bool{}
		f := surplus.New(surplus.Options{Revoked: r.page, Drop: func(list []surplus.Token) error {
			for _, v := range list {
				dropped[v.ID] = true
			}
			return nil
		}})
		if err := f.DropOf(alice); err != nil || len(dropped) != max(0, n-surplus.Keep) {
			t.Errorf("%d records: got %d dropped, %v", n, len(dropped), err)
		}
		for _, v := range r[alice] {
			if old := v.At < int64(1000+n-surplus.Keep); dropped[v.ID] != old {
				t.Errorf("%d records: the one of %d is dropped: %t, want %t", n, v.At, dropped[v.ID], old)
			}
		}
	}
}

// An error ends the work on that user, and is returned.
func TestDropOfFails(t *testing.T) {
	r := records{}
	r.add(alice, 2*surplus.Keep)
	refused := errors.New("refused")
	f := surplus.New(surplus.Options{Revoked: r.page, Drop: func([]surplus.Token) error { return refused }})
	if err := f.DropOf(alice); !errors.Is(err, refused) {
		t.Errorf("got %v from Drop", err)
	}
	f = surplus.New(surplus.Options{
		Revoked: func(record.UserID, string) ([]surplus.Token, string, error) { return nil, "", refused },
		Drop:    func([]surplus.Token) error { t.Error("something is dropped"); return nil },
	})
	if err := f.DropOf(alice); !errors.Is(err, refused) {
		t.Errorf("got %v from Revoked", err)
	}
}

// Run drops the records of each user with enough revocations, whether Note was told of
// them or a walk has found them. It goes on after an error, and ends when the store
// closes.
func TestRun(t *testing.T) {
	r := records{}
	r.add(alice, 2*surplus.Keep)
	r.add(bob, 2*surplus.Keep)
	closing, dropped, ended, refused := make(chan struct{}), make(chan int), make(chan struct{}), make(chan struct{})
	first := true
	f := surplus.New(surplus.Options{
		Closing: closing, Failed: func(error) {},
		Revoked: func(owner record.UserID, after string) ([]surplus.Token, string, error) {
			if owner == bob && first {
				first = false
				close(refused)
				return nil, "", disk.ErrNoSpace
			}
			return r.page(owner, after)
		},
		Drop: func(list []surplus.Token) error { dropped <- len(list); return nil },
	})
	go func() { f.Run(); close(ended) }()
	count := func(want int) {
		t.Helper()
		for n := 0; n < want; n += <-dropped {
		}
	}
	f.Note(alice, surplus.Keep-1)
	f.Note(alice, 1)
	count(surplus.Keep)
	f.Note(bob, surplus.Keep)
	<-refused
	var w surplus.Walk
	for n, v := range r[bob] {
		key := record.Token{ID: v.ID, Owner: bob, Created: int64(n), Revoked: v.At}.OwnedKey()
		w.Take(key, f)
	}
	count(surplus.Keep)
	close(closing)
	<-ended
}

// A walk finds a user with twice as many revoked tokens as are kept, and nobody else.
func TestWalk(t *testing.T) {
	for name, c := range map[string]struct {
		revoked, live int
		found         bool
	}{
		"too many":     {2 * surplus.Keep, 0, true},
		"not too many": {2*surplus.Keep - 1, 0, false},
		"live ones":    {2*surplus.Keep - 1, 5, false},
	} {
		var found []record.UserID
		f := surplus.New(surplus.Options{Revoked: func(owner record.UserID, _ string) ([]surplus.Token, string, error) {
			found = append(found, owner)
			if owner == 9 {
				return nil, "", disk.ErrClosed // ends Run
			}
			return nil, "", nil
		}})
		var w surplus.Walk
		for _, owner := range []record.UserID{alice, bob} { // the walk must not add the two up
			for range c.live {
				w.Take(record.Token{ID: keys.NewID(1), Owner: owner}.OwnedKey(), f)
			}
			for range c.revoked {
				w.Take(record.Token{ID: keys.NewID(1), Owner: owner, Revoked: 2}.OwnedKey(), f)
			}
		}
		f.Note(9, surplus.Keep)
		f.Run()
		want := []record.UserID{9}
		if c.found {
			want = []record.UserID{alice, bob, 9}
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s: got %d, want %d", name, found, want)
		}
	}
}
