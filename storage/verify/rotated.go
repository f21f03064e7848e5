package verify

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"gatehouse/storage/keys"
)

// rotated verifies a secret of a token that was rotated. The first use of the
// new secret ends the old one, durably, before the caller gets its answer.
func (v *Verifier) rotated(b Bearer, from netip.Addr, use bool) error {
	t := *b.Token
	switch {
	case b.Generation == t.Generation:
		if !use {
			return nil
		}
		return v.o.Retire(t.ID, t.Generation)
	case t.Accepts(b.Generation, v.o.Now()):
		return nil
	}
	v.noteStale(t.ID, b.UID, from)
	return ErrRefused
}

// stale remembers the tokens for which the use of an ended secret was noted.
type stale struct {
	mu    sync.Mutex
	noted map[keys.ID]int64 // ms
}

// These bound what a flood of ended secrets may write to the audit log: one
// event a minute for each token, for a limited number of tokens.
const (
	staleEvery = time.Minute
	maxStale   = 1000
)

// noteStale reports that somebody still uses a secret that a rotation has
// ended. The secret may be stolen.
func (v *Verifier) noteStale(id keys.ID, uid string, from netip.Addr) {
	now := v.o.Now()
	v.stale.mu.Lock()
	defer v.stale.mu.Unlock()
	if last, ok := v.stale.noted[id]; ok && now < last+staleEvery.Milliseconds() {
		return
	}
	if v.stale.noted == nil {
		v.stale.noted = make(map[keys.ID]int64)
	}
	if len(v.stale.noted) >= maxStale {
		maps.DeleteFunc(v.stale.noted, func(_ keys.ID, last int64) bool { return now >= last+staleEvery.Milliseconds() })
		if len(v.stale.noted) >= maxStale {
			return
		}
	}
	v.stale.noted[id] = now
	v.o.Stale(id, uid, from)
}
