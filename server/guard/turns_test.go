package guard

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// waits is how many wait for a turn.
func (t *Turns) waits() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.queue {
		n += len(w.ready)
	}
	return n
}

// TestTurnsAreFair: a user who asks for much waits longer than one who asks for
// little, not the other way round.
func TestTurnsAreFair(t *testing.T) {
	turns := NewTurns(1)
	must.Do(t, turns.take(t.Context(), 1))
	order := make(chan storage.UserID)
	for _, user := range []storage.UserID{1, 1, 1, 1, 2, 3, 2} {
		before := turns.waits()
		go func() {
			if err := turns.take(t.Context(), user); err != nil {
				t.Error(err)
			}
			order <- user
		}()
		for turns.waits() == before {
			runtime.Gosched()
		}
	}
	for n, want := range []storage.UserID{1, 2, 3, 1, 2, 1, 1} {
		turns.pass()
		if got := <-order; got != want {
			t.Errorf("turn %d: got user %d, want %d", n, got, want)
		}
	}
	turns.pass()
	if turns.free != 1 || len(turns.queue) != 0 {
		t.Errorf("got %d free turns and %d who wait, want 1 and none", turns.free, len(turns.queue))
	}
}

// TestTurnsAreBounded has many users take turns, and some of them give up. No more turns
// are taken at once than there are, and none is lost.
func TestTurnsAreBounded(t *testing.T) {
	const most = 3
	turns := NewTurns(most)
	var taken, gaveUp atomic.Int64
	var all sync.WaitGroup
	for n := range 60 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(2) == 0 {
					go cancel()
				}
				switch err := turns.take(ctx, storage.UserID(r.IntN(5))); {
				case errors.Is(err, context.Canceled):
					gaveUp.Add(1)
				case err != nil:
					t.Error(err)
				default:
					if n := taken.Add(1); n > most {
						t.Errorf("%d turns are taken at once, want at most %d", n, most)
					}
					runtime.Gosched()
					taken.Add(-1)
					turns.pass()
				}
				cancel()
			}
		})
	}
	all.Wait()
	if turns.free != most || len(turns.queue) != 0 || gaveUp.Load() == 0 {
		t.Errorf("got %d free turns, %d who wait, and %d who gave up, want %d, none, and some", turns.free, len(turns.queue), gaveUp.Load(), most)
	}
}
