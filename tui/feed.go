package tui

import (
	"context"
	"iter"
	"slices"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
)

const (
	feedPast = 50  // latest records to begin with: some may be newer than the listing
	feedRoom = 256 // events in the channel
)

// feed follows the audit log.
type feed struct {
	m      *model
	seq    int
	cancel context.CancelFunc // nil: it does not listen
}

// feedMsg brings the events that have come. After one that has ended, no other follows.
type feedMsg struct {
	seq    int
	events []api.Event
	ended  bool
	err    error
	wire   wire
}

// wire carries events from the server to the model. Those of a burst come in one
// message, which is drawn once.
type wire struct {
	events chan api.Event
	failed chan error
}

func (f *feed) running() bool { return f.cancel != nil }

// start follows the log, unless it does already.
func (f *feed) start() tea.Cmd {
	if f.running() {
		return nil
	}
	f.seq++
	ctx, cancel := context.WithCancel(f.m.ctx)
	f.cancel = cancel
	c, seq, w := f.m.client, f.seq, wire{make(chan api.Event, feedRoom), make(chan error, 1)}
	return func() tea.Msg {
		go w.carry(ctx, c)
		return w.next(seq)
	}
}

// stop ends the feed. A message that is still on its way will be dropped.
func (f *feed) stop() {
	if f.cancel != nil {
		f.cancel()
	}
	f.seq++
	f.cancel = nil
}

func (f *feed) mine(msg feedMsg) bool { return msg.seq == f.seq }

// next waits for the message after this one, if there is one.
func (f *feed) next(msg feedMsg) tea.Cmd {
	if msg.ended {
		f.stop()
		return nil
	}
	return func() tea.Msg { return msg.wire.next(msg.seq) }
}

// carry sends the events into the wire, until there are no more or ctx ends.
func (w wire) carry(ctx context.Context, c client) {
	defer close(w.events)
	for e, err := range c.Events(ctx, api.EventQuery{Last: feedPast, Follow: true}) {
		if err != nil {
			w.failed <- err
			return
		}
		select {
		case w.events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// next waits for an event, and takes all that are there by then.
func (w wire) next(seq int) tea.Msg {
	msg := feedMsg{seq: seq, wire: w}
	e, ok := <-w.events
	for ok {
		msg.events = append(msg.events, e)
		select {
		case e, ok = <-w.events:
			continue
		default:
			return msg
		}
	}
	msg.ended = true
	select {
	case msg.err = <-w.failed:
	default:
	}
	return msg
}

// trailMost is the most records to read at a time, when few of them match.
const trailMost = 20_000

// trail pages through the audit log. The server returns events from the oldest on; to
// go backwards, a stretch of them is read at a time, and reversed.
func trail(ctx context.Context, c client, v listing.View, to listing.Spot) iter.Seq2[api.Event, error] {
	after, _ := strconv.ParseUint(to.After, 10, 64) // 0 without a cursor: the listing's own end
	rows := older(ctx, c, after, to.Limit)
	if v.Reverse != to.Back {
		rows = c.Events(ctx, api.EventQuery{After: after})
	}
	if v.Words == "" {
		return rows
	}
	return func(yield func(api.Event, error) bool) {
		for e, err := range rows {
			if (err != nil || concerns(e, v.Words)) && !yield(e, err) {
				return
			}
		}
	}
}

// older yields the events before the one with that sequence, the newest first; all, if
// before is 0.
func older(ctx context.Context, c client, before uint64, stretch int) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		for before != 1 {
			q := api.EventQuery{Last: stretch}
			if before > 0 {
				q = api.EventQuery{After: before - 1 - min(before-1, uint64(stretch))}
			}
			part, err := until(c.Events(ctx, q), before)
			if err != nil {
				yield(api.Event{}, err)
				return
			}
			for _, e := range slices.Backward(part) {
				if !yield(e, nil) {
					return
				}
			}
			switch {
			case before == 0 && len(part) == 0 && stretch >= trailMost:
				return
			case before == 0 && len(part) == 0: // not every record is an event
			case before == 0:
				before = part[0].Sequence
			default:
				before = q.After + 1
			}
			stretch = min(2*stretch, trailMost)
		}
	}
}

// until collects the events before the one with that sequence; all, if before is 0.
func until(rows iter.Seq2[api.Event, error], before uint64) ([]api.Event, error) {
	var part []api.Event
	for e, err := range rows {
		if err != nil {
			return nil, err
		}
		if before > 0 && e.Sequence >= before {
			break
		}
		part = append(part, e)
	}
	return part, nil
}
