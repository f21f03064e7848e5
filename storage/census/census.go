// Package census counts tokens: how many there are in each state, and how many end soon.
// It stores nothing. Package storage passes it the records, one by one, with the state of
// their owners.
package census

import (
	"time"

	"gatehouse/storage/record"
)

// Census holds the counts of the tokens at one moment.
type Census struct {
	// The states, as listings name them. Each token is in one of them.
	Live, Expired, Suspended, Revoked int
	// Ending counts the live tokens that end within each of the spans.
	Ending []int

	now    int64 // ms
	within []time.Duration
}

// New begins a census at a moment, in ms. It counts the tokens that end within each of
// the spans from then on.
func New(now int64, within []time.Duration) *Census {
	return &Census{Ending: make([]int, len(within)), now: now, within: within}
}

// Count counts one token, whose owner has the state given.
func (c *Census) Count(t record.TokenHead, owner record.UserState) {
	switch {
	case t.Revoked != 0 || owner == record.UserRemoved:
		c.Revoked++
	case t.Expires != 0 && c.now >= t.Expires:
		c.Expired++
	case owner != record.UserActive:
		c.Suspended++
	default:
		c.Live++
		for i, span := range c.within {
			if t.Expires != 0 && t.Expires-c.now <= span.Milliseconds() {
				c.Ending[i]++
			}
		}
	}
}
