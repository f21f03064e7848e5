package guard

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"gatehouse/server/ipaddr"
	"gatehouse/storage"
)

// Refusals writes refused logins to the audit log, and keeps a flood of them from filling
// it. For each account and address it writes the first refusal at once, and the others
// within a minute as one event with their number.
//
// The audit log names only users: a name that no user has may be a password.
//
// The server's log has a line for each refused login, with the name as it was typed, also
// for those that came too early (429): a program that watches it can bar the address.
// There are at most mostLines from one address in a window.
type Refusals struct {
	store *storage.Store
	log   *slog.Logger

	mu    sync.Mutex
	count map[refusal]int // beyond the first, which is written
	lines map[netip.Addr]int
	more  int // without a line
}

// refusal is what refused logins are counted by. The zero value counts all
// beyond maxRefusals.
type refusal struct{ uid, address string }

const (
	refusalWindow = time.Minute
	maxRefusals   = 1000 // kinds, and addresses, in a window
	mostLines     = 20
	shownName     = 64 // characters
)

// NewRefusals returns refusals that write to the audit log of the store, and to log.
func NewRefusals(store *storage.Store, log *slog.Logger) *Refusals {
	return &Refusals{store: store, log: log}
}

// Tell logs that a login was refused. The name comes last, and what is in it is
// quoted, so that it can't look like another line, or another address.
func (f *Refusals) Tell(method, name string, from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, known := f.lines[from]
	if n >= mostLines || !known && len(f.lines) >= maxRefusals {
		f.more++
		return
	}
	if f.lines == nil {
		f.lines = make(map[netip.Addr]int)
	}
	f.lines[from]++
	if r := []rune(name); len(r) > shownName {
		name = string(r[:shownName]) + "…"
	}
	f.log.Info("login refused", "address", ipaddr.Text(from), "method", method, "name", name)
}

// Note writes a refused login to the audit log, or counts it. The uid is empty for a name
// that no user has.
func (f *Refusals) Note(uid string, from netip.Addr) {
	address := ipaddr.Text(from)
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

func (f *Refusals) write(kind refusal, n int) {
	f.store.Note(storage.Actor{Name: kind.uid, Address: kind.address},
		storage.Event{Action: storage.ActionLoginRefused, UID: kind.uid, Count: n})
}

// Run writes what was counted each minute, until the context ends.
func (f *Refusals) Run(ctx context.Context) {
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

func (f *Refusals) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, n := range f.count {
		if n > 0 {
			f.write(kind, n)
		}
	}
	clear(f.count)
	clear(f.lines)
	if f.more > 0 {
		f.log.Info("more logins were refused than are logged", "logins", f.more)
		f.more = 0
	}
}
