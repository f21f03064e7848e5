package server

import (
	"context"
	"sync"
	"time"

	"gatehouse/storage"
)

// refusals writes refused logins to the audit log, and keeps a flood of them from
// filling it: of an account and an address, the first one is written at once, and
// the others within a minute as one event with their number.
//
// The name that was typed is written only if it is a user's: it may be a password.
type refusals struct {
	store *storage.Store

	mu    sync.Mutex
	count map[refusal]int // beyond the one that is written
}

// refusal is what refused logins are counted by. The zero value stands for all of
// them beyond maxRefusals.
type refusal struct{ uid, address string }

const (
	refusalWindow = time.Minute
	maxRefusals   = 1000 // kinds in a window
)

func (f *refusals) note(uid, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := refusal{uid, address}
	if _, known := f.count[kind]; known {
		f.count[kind]++
		return
	}
	if len(f.count) >= maxRefusals {
		f.count[refusal{}]++
		return
	}
	if f.count == nil {
		f.count = make(map[refusal]int)
	}
	f.count[kind] = 0
	f.write(kind, 1)
}

func (f *refusals) write(kind refusal, n int) {
	f.store.Note(storage.Actor{Name: kind.uid, Address: kind.address},
		storage.Event{Action: storage.ActionLoginRefused, UID: kind.uid, Count: n})
}

// run writes what was counted each minute, until the context ends.
func (f *refusals) run(ctx context.Context) {
	tick := time.NewTicker(refusalWindow)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.flush()
		case <-ctx.Done():
			f.flush()
			return
		}
	}
}

func (f *refusals) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, n := range f.count {
		if n > 0 {
			f.write(kind, n)
		}
	}
	clear(f.count)
}
