package audit

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"

	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// About selects events: those about a user, a token, or both. The zero value
// selects all.
type About struct {
	UID   string
	Token string // id
}

// Is reports whether a selects an event.
func (a About) Is(e record.Event) bool {
	return (a.UID == "" || record.Fold(a.UID) == record.Fold(e.UID)) && (a.Token == "" || a.Token == e.Token)
}

// Search looks for the latest events about something.
type Search struct {
	About
	Where  func(record.Event) bool // only events for which it returns true; nil: all
	After  uint64                  // only events after this record
	Before uint64                  // only events before this record; 0: up to the latest
	Most   int                     // how many are wanted
}

// Found is the result of a Search, with how far back it has looked.
type Found struct {
	Events []record.Event // the oldest first
	Rest   uint64         // records before this one are left for another Search; 0: none are left
	Since  int64          // when that record was written, ms
	Last   uint64         // the latest record that was searched
}

// historySegments is how many segments one Search reads: 128 MiB, some 300,000
// events.
const historySegments = 16

// Recent reads the journal backwards, segment by segment. It stops when it has
// enough events, when it has reached the creation of the token (there is nothing
// about the token before that), or when it has read historySegments.
func (l Log) Recent(ctx context.Context, q Search) (Found, error) {
	end := l.Last()
	if q.Before > 0 {
		end = min(end, q.Before-1)
	}
	f := Found{Events: []record.Event{}, Last: end}
	looked := 0
	for _, first := range slices.Backward(l.journal.Segments()) {
		after := max(q.After, first-1)
		if after >= end {
			continue
		}
		if looked == historySegments || len(f.Events) >= q.Most {
			f.Rest = end + 1
			break
		}
		p, err := l.about(ctx, q, after, end)
		if errors.Is(err, journal.ErrPruned) {
			break
		}
		if err != nil {
			return Found{}, err
		}
		f.Events, f.Since = append(p.found, f.Events...), p.since
		if p.made {
			break
		}
		end = after
		looked++
	}
	if n := len(f.Events) - q.Most; n > 0 {
		f.Events = slices.Clone(f.Events[n:])
		f.Rest, f.Since = f.Events[0].Sequence, f.Events[0].Time
	}
	if f.Rest == 0 {
		f.Since = 0
	}
	return f, nil
}

// part holds the selected events of a part of the journal.
type part struct {
	found []record.Event
	since int64 // when its first record was written
	made  bool  // the first event is the creation
}

func (l Log) about(ctx context.Context, q Search, after, end uint64) (p part, err error) {
	stop := errors.New("stop")
	p.since = math.MaxInt64
	err = l.journal.Replay(ctx, after, func(jr journal.Record) error {
		if jr.Sequence > end {
			return stop
		}
		p.since = min(p.since, jr.Time)
		event, _, err := record.CutEntry(jr)
		if err != nil {
			return err
		}
		// Most events are about something else, and need not be parsed.
		if q.Token != "" && !bytes.Contains(event, []byte(q.Token)) {
			return nil
		}
		r, err := record.ParseEntry(jr)
		if err != nil || r.Event.Action == "" || !q.Is(r.Event) {
			return err
		}
		if q.Where == nil || q.Where(r.Event) {
			p.found = append(p.found, r.Event)
		}
		p.made = p.made || q.Token != "" && r.Event.Action == record.ActionTokenCreate
		return nil
	})
	if err == stop {
		err = nil
	}
	return p, err
}
