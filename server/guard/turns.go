package guard

import (
	"context"
	"slices"
	"sync"
	"time"

	"gatehouse/storage"
)

// Turns limits how much of the processors goes to listings: at most half of them work on
// listings, and for half of the time. So a verification always finds a free processor, no
// matter how many listings are requested.
//
// Waiting users take turns, no matter how much each of them requests at once.
type Turns struct {
	mu    sync.Mutex
	free  int
	queue []*waiting // one for each user who waits, the next one first
}

// waiting is what one user waits for.
type waiting struct {
	user  storage.UserID
	ready []chan struct{} // each is closed when its turn has come
}

// NewTurns returns the turns of n listings at a time.
func NewTurns(n int) *Turns { return &Turns{free: n} }

// Take waits for a turn of the user's. Unless it returns an error, the caller must call give
// at the end of the turn. The next user gets it after a rest as long as the turn took; give
// does not wait for that.
func (t *Turns) Take(ctx context.Context, user storage.UserID) (give func(), err error) {
	if err := t.take(ctx, user); err != nil {
		return nil, err
	}
	begun := time.Now()
	return func() { time.AfterFunc(time.Since(begun), t.pass) }, nil
}

func (t *Turns) take(ctx context.Context, user storage.UserID) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	at := slices.IndexFunc(t.queue, func(w *waiting) bool { return w.user == user })
	if at < 0 {
		at = len(t.queue)
		t.queue = append(t.queue, &waiting{user: user})
	}
	t.queue[at].ready = append(t.queue[at].ready, ready)
	t.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	if !t.leave(user, ready) {
		t.pass() // the turn came just now
	}
	return ctx.Err()
}

// pass gives the turn to the next user who waits. If nobody waits, the turn is free.
func (t *Turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.free++
		return
	}
	w := t.queue[0]
	t.queue = slices.Delete(t.queue, 0, 1)
	close(w.ready[0])
	if w.ready = slices.Delete(w.ready, 0, 1); len(w.ready) > 0 {
		t.queue = append(t.queue, w) // the others come first
	}
}

// leave gives up waiting; false if the turn has come.
func (t *Turns) leave(user storage.UserID, ready chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.IndexFunc(t.queue, func(w *waiting) bool { return w.user == user })
	if at < 0 {
		return false
	}
	w := t.queue[at]
	n := slices.Index(w.ready, ready)
	if n < 0 {
		return false
	}
	if w.ready = slices.Delete(w.ready, n, n+1); len(w.ready) == 0 {
		t.queue = slices.Delete(t.queue, at, at+1)
	}
	return true
}
