package storage

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"gatehouse/storage/journal"
)

// About selects events: those about a user, a token, or both. The zero value
// selects all.
type About struct {
	UID   string
	Token string // id
}

// Is reports whether an event is selected.
func (a About) Is(e Event) bool {
	return (a.UID == "" || Fold(a.UID) == Fold(e.UID)) && (a.Token == "" || a.Token == e.Token)
}

// historySegments is how much of the journal is looked through for the latest
// events about something: 128 MiB, some 300,000 events.
const historySegments = 16

// RecentEvents returns the latest events, at most so many, about something,
// after one sequence and up to another, the oldest first. It reads the journal
// backwards, a segment after the other, until it has them, or has come to the
// making of the token or the user, or has read historySegments.
func (s *Store) RecentEvents(ctx context.Context, a About, after, last uint64, n int) ([]Event, error) {
	found := []Event{}
	end := last
	segments := s.journal.Segments()
	for i := len(segments) - 1; i >= max(0, len(segments)-historySegments) && end > after && len(found) < n; i-- {
		from := max(after, segments[i]-1)
		if from >= end {
			continue
		}
		part, made, err := s.eventsAbout(ctx, a, from, end)
		if errors.Is(err, journal.ErrPruned) {
			break
		}
		if err != nil {
			return nil, err
		}
		found = append(part, found...)
		if made {
			break
		}
		end = from
	}
	return slices.Clone(found[max(0, len(found)-n):]), nil
}

// eventsAbout looks through a part of the journal. Made says that the first of
// them is how it all began.
func (s *Store) eventsAbout(ctx context.Context, a About, after, end uint64) (found []Event, made bool, err error) {
	stop := errors.New("stop")
	err = s.journal.Replay(ctx, after, func(jr journal.Record) error {
		if jr.Sequence > end {
			return stop
		}
		event, _, err := cutRecord(jr)
		if err != nil {
			return err
		}
		// Most are about something else, and need no parsing.
		if a.Token != "" && !bytes.Contains(event, []byte(a.Token)) {
			return nil
		}
		r, err := parseRecord(jr)
		if err != nil || r.event.Action == "" || !a.Is(r.event) {
			return err
		}
		found = append(found, r.event)
		made = made || r.event.Action == ActionTokenCreate && a.Token != "" || r.event.Action == ActionUserAdd && a.Token == ""
		return nil
	})
	if err == stop {
		err = nil
	}
	return found, made, err
}
