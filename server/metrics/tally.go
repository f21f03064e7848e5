package metrics

import (
	"sync"
	"time"

	"gatehouse/storage/census"
)

// ending are the spans for which the tokens that end within them are counted.
var ending = []struct {
	label string
	span  time.Duration
}{{"1d", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}}

const (
	quick    = 10 * time.Millisecond // a count that takes no longer is made at each scrape
	share    = 100                   // a count that takes longer is made so rarely that it uses a hundredth of a processor
	patience = time.Second           // how long a scrape waits for a count; it then shows the one before
)

// tally keeps the last count of the tokens, and counts again when that is due.
type tally struct {
	count func(within ...time.Duration) (*census.Census, error)

	mu      sync.Mutex
	last    *census.Census // nil: there was none yet
	at      time.Time      // when it ended
	took    time.Duration
	running chan struct{} // closed when the count under way ends; nil: there is none
}

// get returns a count, or nil if there is none yet.
func (t *tally) get() *census.Census {
	t.mu.Lock()
	if t.running == nil && (t.last == nil || t.took <= quick || time.Since(t.at) > share*t.took) {
		t.running = make(chan struct{})
		go t.run(t.running)
	}
	wait := t.running
	t.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-time.After(patience):
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// run counts once. If the store can't be read, the last count stays.
func (t *tally) run(ended chan struct{}) {
	spans := make([]time.Duration, len(ending))
	for i, e := range ending {
		spans[i] = e.span
	}
	start := time.Now()
	c, err := t.count(spans...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.last = c
	}
	t.at, t.took, t.running = time.Now(), time.Since(start), nil
	close(ended)
}
