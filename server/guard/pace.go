package guard

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// pace knows how long the latest checks of a password took. An answer without a check
// takes as long as one of them, so that nobody can tell the two apart.
type pace struct {
	mu     sync.Mutex
	latest [32]time.Duration
	noted  int
}

// longestPace bounds the wait when logins queue up.
const longestPace = time.Second

func (p *pace) note(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest[p.noted%len(p.latest)] = took
	p.noted++
}

// any returns the time that one of the latest checks took. A mean would give the answer
// away: real checks do not always take the same time.
func (p *pace) any() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noted == 0 {
		return 0
	}
	return min(p.latest[rand.IntN(min(p.noted, len(p.latest)))], longestPace)
}

// wait blocks until a check that began at begun would have been done, or ctx ends.
func (p *pace) wait(ctx context.Context, begun time.Time) {
	timer := time.NewTimer(p.any() - time.Since(begun))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
