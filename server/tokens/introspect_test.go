package tokens

import (
	"maps"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
)

// TestMostLookups: an hour has only so many events about one user's lookups, and one that
// says that there were more.
func TestMostLookups(t *testing.T) {
	c := storagetest.NewClock(time.Unix(1e9, 0))
	l := &lookups{now: c.Now, began: c.Now()}
	counts := func(by storage.UserID) map[lookup]int {
		got := map[lookup]int{}
		for n := range 3 * mostLookups {
			got[l.note(by, looked{storage.ID{byte(n), byte(n >> 8)}, n%2 == 0})]++
		}
		return got
	}
	want := map[lookup]int{lookupFirst: mostLookups, lookupTooMany: 1, lookupKnown: 2*mostLookups - 1}
	for _, by := range []storage.UserID{1, 2} {
		if got := counts(by); !maps.Equal(got, want) {
			t.Errorf("user %d: got %v, want %v", by, got, want)
		}
	}
	if got := counts(1); got[lookupKnown] != 3*mostLookups {
		t.Errorf("in the same hour: got %v, want nothing new", got)
	}
	c.Move(time.Hour)
	if got := counts(1); !maps.Equal(got, want) || len(l.seen) != 1 {
		t.Errorf("in the next hour: got %v of %d users, want %v of one", got, len(l.seen), want)
	}
}
