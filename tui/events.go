package tui

import (
	"context"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/export"
	"gatehouse/tui/listing"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
	"gatehouse/tui/trail"
)

// events is the screen of the audit log, the newest first. New
// events appear by themselves, unless the screen is paused.
type events struct {
	table[api.Event]
	only api.Filters // those of the screen
	feed trail.Feed
	more int // events that came while the top of the listing was not shown
}

var _ rows = (*events)(nil)

func newEvents(m *model, only api.Filters) *events {
	s := &events{only: only}
	cursor := func(e api.Event) string { return strconv.FormatUint(e.Sequence, 10) }
	ord := listing.Order[api.Event]{ID: cursor, Cursor: cursor}
	query := func(v listing.View) (listing.Order[api.Event], listing.Source[api.Event]) {
		q := s.asked(v.Words)
		return ord, func(ctx context.Context, to listing.Spot) iter.Seq2[api.Event, error] {
			return q.Page(ctx, m.client, v.Reverse, to)
		}
	}
	s.table = newTable(m, eventColumns(m), query,
		listing.Sorted{Up: "newest first", Down: "oldest first"})
	s.write = func(v listing.View) func(context.Context, io.Writer, export.Format, *atomic.Int64) error {
		q := s.asked(v.Words)
		return box.Writer(func(ctx context.Context) iter.Seq2[api.Event, error] {
			return q.Page(ctx, m.client, v.Reverse, listing.Spot{Limit: listing.WindowRows})
		}, func(e api.Event) api.Event { return e })
	}
	s.noun, s.forms, s.given, s.command = "event", trail.Forms, func() api.Filters { return only }, "events"
	s.changed = func() tea.Cmd { // what is followed, too
		s.feed.Stop()
		return s.follow()
	}
	s.empty = absence("Nothing has happened yet.", "No event matches")
	return s
}

// asked returns the query that the words on the query line make.
func (s *events) asked(words string) trail.Query { return trail.Parse(words, s.only) }

func eventColumns(m *model) []listing.Column[api.Event] {
	return []listing.Column[api.Event]{
		{Head: "TIME", Min: 11, Max: 11, Cell: func(e api.Event) string { return say.Stamp(m.now(), e.Time) }},
		{Head: "ACTOR", Min: 9, Max: 40, Cell: func(e api.Event) string { return say.Dash(e.Actor) }},
		{Head: "ACTION", Min: 13, Max: 16, Cell: func(e api.Event) string { return e.Action }},
		{Head: "OBJECT", Min: 11, Max: 60, Cell: object},
		{Head: "ADDRESS", Min: 14, Max: 39, Cell: func(e api.Event) string { return say.Dash(e.Address) }},
		{Head: "RESULT", Min: 7, Max: 40, Cell: result},
	}
}

// object is what an event is about: the user and, if there is one, the token.
func object(e api.Event) string {
	if e.Token == "" {
		return say.Dash(e.UID)
	}
	return strings.TrimSpace(e.UID + " " + e.Token[:min(len(e.Token), 10)])
}

// result says how it went, which the second word of the action tells, and what else is
// known.
func result(e api.Event) string {
	out := "ok"
	if _, word, ok := strings.Cut(e.Action, "."); ok && slices.Contains([]string{"refused", "held", "stale"}, word) {
		out = word
	}
	if r := e.Remark(); r != "" {
		out += ", " + r
	}
	return out
}

func (s *events) place() place { return onEvents }

func (s *events) title(width int) string {
	live := ""
	if s.feed.Running() {
		live = "live"
	}
	if s.more > 0 {
		live = say.Number(s.more) + " more above"
	}
	return say.Fitting(width, "Events", "the audit log", live)
}

func (s *events) open() (screen, bool) {
	e, ok := s.current()
	switch {
	case !ok:
	case e.Token != "":
		return newToken(s.m, api.Token{ID: e.Token, UID: e.UID, ExpiresOn: api.Never}), true
	case e.UID != "":
		return newUserTokens(s.m, api.User{UID: e.UID}), true
	}
	return nil, false
}

// show opens a box with all of the event under the cursor: its columns are
// narrow.
func (s *events) show() {
	e, ok := s.current()
	if !ok {
		return
	}
	f := &text.Facts{Width: 1 << 10}
	f.Add("time", say.When(s.m.now(), e.Time))
	f.Add("actor", say.Dash(e.Actor))
	f.Add("address", say.Dash(e.Address))
	f.Add("user", say.Dash(e.UID))
	f.Add("token", say.Dash(e.Token))
	f.Add("result", result(e))
	f.Add("record", strconv.FormatUint(e.Sequence, 10))
	b := box.NewText(host{s.m}, "Event: "+e.Action)
	for _, l := range f.Lines {
		b.Lines = append(b.Lines, strings.TrimPrefix(l, "   "))
	}
	if to, ok := s.open(); ok {
		b.Enter = func() tea.Cmd { return s.m.push(to) }
	}
	s.m.box = b
}

func (s *events) name() (string, bool) {
	e, ok := s.current()
	for _, name := range []string{e.Token, e.UID, e.Actor} {
		if name != "" {
			return name, ok
		}
	}
	return "", false
}

func (s *events) user() (api.User, bool)     { return api.User{}, false }
func (s *events) markAll() (tea.Cmd, string) { return nil, "" } // events have no marks
func (s *events) holder() string {
	e, _ := s.current()
	return e.UID
}
func (s *events) revokes() (revocation.Target, bool) { return revocation.Target{}, false }

func (s *events) start() tea.Cmd { return tea.Batch(s.table.start(), s.follow()) }

func (s *events) refresh() tea.Cmd {
	s.more = 0
	return tea.Batch(s.table.refresh(), s.follow())
}

func (s *events) stop() {
	s.table.stop()
	s.feed.Stop()
}

// follow follows the audit log, unless it is paused.
func (s *events) follow() tea.Cmd {
	if s.m.paused {
		s.feed.Stop()
		return nil
	}
	return s.feed.Start(s.m.ctx, s.m.client, s.asked(s.filter.Value))
}

func (s *events) answer(msg tea.Msg) tea.Cmd {
	news, ok := msg.(trail.News)
	if !ok {
		return s.listed(msg)
	}
	cmd, mine := s.feed.Take(news)
	if !mine {
		return nil
	}
	if news.Err != nil {
		s.m.heard(news.Err)
	}
	s.came(news.Events)
	return cmd
}

// listed takes an answer of the listing. If the cursor was on the newest event, it moves
// to the newest event of the answer: the feed, which may come later, has nothing to add
// then.
func (s *events) listed(msg tea.Msg) tea.Cmd {
	l := &s.list
	stays := l.OnFirst() && !s.Reverse && l.Refreshing()
	cmd := s.table.answer(msg)
	if stays && !l.Asking() {
		l.ToFirst()
	}
	return cmd
}

// came puts new events above the others. When the top is not in memory, or paused, it
// only counts them.
func (s *events) came(news []api.Event) {
	l := &s.list
	newest := uint64(0)
	for _, e := range l.Rows() {
		newest = max(newest, e.Sequence)
	}
	var page []api.Event
	for _, e := range slices.Backward(news) {
		if e.Sequence > newest {
			page = append(page, e)
		}
	}
	switch {
	case len(page) == 0 || s.Reverse || l.Answered().IsZero() || l.Starting():
		return // the listing's own answer has them, or the next one
	case s.m.paused || !l.FromStart():
		s.more += len(page)
		return
	}
	stays := l.OnFirst()
	l.Prepend(page)
	if stays {
		l.ToFirst()
	}
}
