package trail

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

const (
	feedPast = 50  // latest records to begin with: some may be newer than the listing
	feedRoom = 256 // events in the channel
)

// Feed follows the audit log. The zero value does not.
type Feed struct {
	seq    int
	cancel context.CancelFunc // nil: it does not listen
}

// News is the message with the events that have arrived. If it says that the feed has ended,
// no other message follows.
type News struct {
	Events []api.Event
	Err    error
	seq    int
	ended  bool
	wire   wire
}

// wire carries events from the server to the program. Those of a burst come in one
// message, which is drawn once.
type wire struct {
	events chan api.Event
	failed chan error
}

// Running reports whether the feed follows the audit log.
func (f *Feed) Running() bool { return f.cancel != nil }

// Start follows what the query selects, unless the feed does already.
func (f *Feed) Start(ctx context.Context, log Log, q Query) tea.Cmd {
	if f.Running() {
		return nil
	}
	f.seq++
	ctx, f.cancel = context.WithCancel(ctx)
	seq, w := f.seq, wire{make(chan api.Event, feedRoom), make(chan error, 1)}
	return func() tea.Msg {
		go w.carry(ctx, log, q)
		return w.next(seq)
	}
}

// Stop ends the feed. A message that is still on its way is dropped.
func (f *Feed) Stop() {
	if f.cancel != nil {
		f.cancel()
	}
	f.seq++
	f.cancel = nil
}

// Take accepts a message of this feed. ok is false if the message belongs to another feed or
// comes too late. The command waits for the next message.
func (f *Feed) Take(n News) (cmd tea.Cmd, ok bool) {
	if n.seq != f.seq {
		return nil, false
	}
	if n.ended {
		f.Stop()
		return nil, true
	}
	return func() tea.Msg { return n.wire.next(n.seq) }, true
}

// carry sends the events into the wire, until there are no more or ctx ends.
func (w wire) carry(ctx context.Context, log Log, q Query) {
	defer close(w.events)
	if q.fault != nil {
		w.failed <- q.fault
		return
	}
	for e, err := range log.Events(ctx, api.EventQuery{UID: q.uid, Token: q.token, Filters: q.filters, Last: feedPast, Follow: true}) {
		if err != nil {
			w.failed <- err
			return
		}
		if !q.Has(e) {
			continue
		}
		select {
		case w.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// next waits for an event, and takes all events that are ready by then.
func (w wire) next(seq int) News {
	n := News{seq: seq, wire: w}
	e, ok := <-w.events
	for ok {
		n.Events = append(n.Events, e)
		select {
		case e, ok = <-w.events:
			continue
		default:
			return n
		}
	}
	n.ended = true
	select {
	case n.Err = <-w.failed:
	default:
	}
	return n
}
