package tui

import (
	"context"
	"iter"
	"slices"
	"strconv"

	"gatehouse/server/api"
)

// trailMost is how many records are read at a time at most, when few of them match.
const trailMost = 20_000

// trail pages through the audit log. The server returns events from the oldest on; to
// go backwards, a stretch of them is read at a time, and reversed.
func trail(ctx context.Context, c client, v view, to spot) iter.Seq2[api.Event, error] {
	after, _ := strconv.ParseUint(to.after, 10, 64) // 0 without a cursor: the listing's own end
	rows := older(ctx, c, after, to.limit)
	if v.reverse != to.back {
		rows = c.Events(ctx, api.EventQuery{After: after})
	}
	if v.prefix == "" {
		return rows
	}
	return func(yield func(api.Event, error) bool) {
		for e, err := range rows {
			if (err != nil || concerns(e, v.prefix)) && !yield(e, err) {
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
