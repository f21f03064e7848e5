package notify

import (
	"maps"
	"sync"

	"gatehouse/storage"
)

// The outcomes of deliveries.
const (
	Delivered = "delivered"
	Failed    = "failed" // and will be tried again
	GivenUp   = "given_up"
)

// Outcomes lists the outcomes of deliveries.
var Outcomes = []string{Delivered, Failed, GivenUp}

// Count counts deliveries, and each user's new networks of a day. Reloads of the server keep it.
type Count struct {
	mu       sync.Mutex
	all      map[Outcome]int
	networks map[storage.UserID]allowance // new networks of a day
}

// Outcome is what came of deliveries to a target.
type Outcome struct{ Target, Outcome string }

// NewCount returns a count of nothing.
func NewCount() *Count {
	return &Count{all: map[Outcome]int{}, networks: map[storage.UserID]allowance{}}
}

func (c *Count) add(target, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[Outcome{target, outcome}]++
}

// Outcomes returns the counts.
func (c *Count) Outcomes() map[Outcome]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.all)
}

// Figures are what the metrics show of a target.
type Figures struct {
	Pending int  // notices that it still lacks; an estimate if they are more than its queue keeps in memory
	Failing bool // it did not take the last notice
}

// Figures returns the figures of each target that is configured, by its name.
func (s *Notifier) Figures() map[string]Figures {
	all := map[string]Figures{}
	for _, q := range s.queues {
		all[q.target.Name()] = Figures{q.left(), q.failing.Lasts()}
	}
	return all
}

// room returns how many more notices may be posted: as many as there is room for in the
// shortest queue.
func (s *Notifier) room() int {
	if len(s.queues) == 0 {
		return mostPending
	}
	n := 0
	for _, q := range s.queues {
		n = max(n, q.most-q.len())
	}
	return n
}
