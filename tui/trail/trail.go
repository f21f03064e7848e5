// Package trail reads the audit log for the terminal UI. It reads pages in both directions,
// follows new events as they happen, and parses the query line.
//
// It never draws, and never keeps more events than one answer contains. The server applies
// the filters. The words of a query can be anywhere in an event, and are looked for here.
package trail

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
)

// Log is the server's audit log. *api.Client is one.
type Log interface {
	Events(context.Context, api.EventQuery) iter.Seq2[api.Event, error]
	History(context.Context, api.HistoryQuery) (api.History, error)
}

// Forms are the filters of a query line: the server's, and what an event is about.
var Forms = append(slices.Clone(api.EventFilters), api.FilterForm{Name: "about", Value: "UID|ID", Help: "about this user, or this token"})

// Query says which events to read. The zero value is all.
type Query struct {
	filters    api.Filters
	uid, token string
	words      []string // in lower case
	fault      error    // what is wrong with about; the server finds what is wrong with the filters
}

// Parse reads a query line, such as `by:root action:token since:24h 10.0.0.7`. A value
// may be in quotation marks. The server says what is wrong with a filter. The filters of the
// screen apply, too, except those that the line sets itself.
func Parse(line string, screen api.Filters) Query {
	q := Query{filters: listing.Without(screen, line, Forms)}
	words, _ := api.Words(line)
	for _, w := range words {
		value := strings.TrimSpace(w.Value)
		switch {
		case w.Name == "about" && q.uid+q.token != "":
			q.fault = errAboutTwice
		case w.Name == "about" && strings.Contains(value, "@"):
			q.uid = value
		case w.Name == "about" && value != "":
			q.token = value
		case slices.ContainsFunc(api.EventFilters, func(f api.FilterForm) bool { return f.Name == w.Name }):
			q.filters[w.Name] = append(q.filters[w.Name], value)
		case w.Name != "":
			q.words = append(q.words, w.Name+":"+strings.ToLower(value))
		case value != "":
			q.words = append(q.words, strings.ToLower(value))
		}
	}
	return q
}

// errAboutTwice is what the server says of a filter.
var errAboutTwice = &api.Error{Status: http.StatusBadRequest, Message: "about: is given twice, but takes one value"}

// Has reports whether each word is in a field of the event, without regard to case.
func (q Query) Has(e api.Event) bool {
	for _, w := range q.words {
		if !slices.ContainsFunc([]string{e.Actor, e.Action, e.UID, e.Token, e.Address}, func(s string) bool { return strings.Contains(strings.ToLower(s), w) }) {
			return false
		}
	}
	return true
}

// stretchMost is how many events are requested at a time when few of them contain the words.
const stretchMost = 5000

// Page reads the audit log from a place on: the newest first, or with up the oldest first.
func (q Query) Page(ctx context.Context, log Log, up bool, to listing.Spot) iter.Seq2[api.Event, error] {
	after, _ := strconv.ParseUint(to.After, 10, 64) // 0 without a cursor: the listing's own end
	rows := q.older(ctx, log, after, to.Limit)
	if up != to.Back {
		rows = log.Events(ctx, api.EventQuery{UID: q.uid, Token: q.token, After: after, Filters: q.filters})
	}
	return func(yield func(api.Event, error) bool) {
		if q.fault != nil {
			yield(api.Event{}, q.fault)
			return
		}
		for e, err := range rows {
			if (err != nil || q.Has(e)) && !yield(e, err) {
				return
			}
		}
	}
}

// older yields the events before the one with that sequence, the newest first; all, if
// before is 0. One call to the server looks back over a limited part of the audit log.
func (q Query) older(ctx context.Context, log Log, before uint64, stretch int) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		for before != 1 {
			h, err := log.History(ctx, api.HistoryQuery{UID: q.uid, Token: q.token, Before: before, Last: stretch, Filters: q.filters})
			if err != nil {
				yield(api.Event{}, err)
				return
			}
			for _, e := range slices.Backward(h.Events) {
				if !yield(e, nil) {
					return
				}
			}
			if before = h.Before; before == 0 {
				return
			}
			stretch = min(2*stretch, stretchMost)
		}
	}
}
