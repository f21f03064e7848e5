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
func (v *Verifier) rotated(b Bearer, from netip.Addr, use bool, wait func()) error {
	t := *b.Token
	switch {
	case b.Generation == t.Generation:
		if !use {
			return nil
		}
		wait()
		return v.o.Retire(t.ID, t.Generation)
	case t.Accepts(b.Generation, v.o.Now()):
		return nil
	}
	v.reportEnded(t.ID, b.UID, from)
	return ErrRefused
}

// endedUses remembers the tokens for which the use of an ended secret was reported, and when.
type endedUses struct {
	mu   sync.Mutex
	last map[keys.ID]int64 // ms
}

// These bound what a flood of ended secrets may write to the audit log: one
// event a minute for each token, for a limited number of tokens.
const (
	reportEvery = time.Minute
	maxReported = 1000
)

// reportEnded reports that somebody still uses a secret that a rotation has
// ended. The secret may be stolen.
func (v *Verifier) reportEnded(id keys.ID, uid string, from netip.Addr) {
	now := v.o.Now()
	v.ended.mu.Lock()
	defer v.ended.mu.Unlock()
	if last, ok := v.ended.last[id]; ok && now < last+reportEvery.Milliseconds() {
		return
	}
	if v.ended.last == nil {
		v.ended.last = make(map[keys.ID]int64)
	}
	if len(v.ended.last) >= maxReported {
		maps.DeleteFunc(v.ended.last, func(_ keys.ID, last int64) bool { return now >= last+reportEvery.Milliseconds() })
		if len(v.ended.last) >= maxReported {
			return
		}
	}
	v.ended.last[id] = now
	v.o.EndedUse(id, uid, from)
}
