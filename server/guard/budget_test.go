package guard

import (
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
)

// TestBudgetAtOnce: no more changes get through at once than one after the other.
func TestBudgetAtOnce(t *testing.T) {
	c := storagetest.NewClock(time.Unix(1e9, 0))
	b := NewBudget(100, "enough", c.Now)
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := map[storage.UserID]int{}
	for n := range 400 {
		wg.Go(func() {
			user := storage.UserID(n%2 + 1)
			if b.Spend(user, func() error { return nil }) == nil {
				mu.Lock()
				done[user]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if done[1] != 100 || done[2] != 100 {
		t.Errorf("got %v, want 100 each", done)
	}
	c.Move(2 * time.Hour)
	b.take(3, 1)
	if len(b.users) != 1 {
		t.Errorf("%d users are remembered, want 1", len(b.users))
	}
}
