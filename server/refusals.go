package server

import (
	"context"
	"sync"
	"time"

	"gatehouse/storage"
)

// refusals brings refused logins into the audit log, and keeps a flood of them
// from filling it: the first of an account from an address is written, the
// others of that minute are counted, and written as one.
//
// The name that was typed is not written where it is nobody's: it may be a
// password.
type refusals struct {
	store *storage.Store

	mu    sync.Mutex
	count map[refusal]int // beyond the one that is written
}

// refusal is one kind of it. The empty one stands for all that there was no
// more room for.
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

// run writes what was counted, until the context ends.
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
