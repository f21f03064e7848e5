package tui

import (
	"context"
	"io"
	"iter"
	"maps"
	"slices"
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
)

// tokens is the screen of everybody's tokens, the longest unused first.
type tokens struct {
	table[api.Token]
	of      func() string           // what is listed, in words, after "tokens"
	dead    bool                    // the revoked ones are listed, too, after the others
	refuse  func(api.Filters) error // what is wrong with typed filters that the server would take; nil: nothing
	revoked tally                   // what the query line would find if it asked for the revoked ones
}

var _ rows = (*tokens)(nil)

func newTokens(m *model) *tokens {
	s := &tokens{}
	s.init(m, nowhere, func() string { return "" })
	s.empty = absence("No tokens.", "No token matches")
	return s
}

// init makes the table of the tokens that the filters of the screen and the query line
// select.
func (s *tokens) init(m *model, given func() api.Filters, words func() string) {
	s.of, s.m, s.given = words, m, given
	t := newTable(m, tokenColumns(m), s.listed, tokenSorts...)
	t.noun, t.forms, t.given, t.command = "token", api.TokenFilters, given, "token list"
	t.count = func(v listing.View) func(context.Context) (api.Count, error) { return s.counted(s.asked(v)) }
	t.write = func(v listing.View) func(context.Context, io.Writer, export.Format, *atomic.Int64) error {
		src := s.read(s.asked(v)) // in one part, as `gatehouse token list` writes it
		return box.Writer(func(ctx context.Context) iter.Seq2[api.Token, error] { return src(ctx, listing.Spot{}) }, export.TokenLine)
	}
	t.part = func(row api.Token) string { return s.parting(s.view()).of(row) }
	t.foot = s.hidden
	t.changed = func() tea.Cmd {
		s.revoked.forget()
		return nil
	}
	s.table = t
	m.lists++
	s.revoked.id = m.lists
	s.revoked.count = func(v listing.View) func(context.Context) (api.Count, error) {
		return s.counted(with(s.asked(v), "state", api.StateRevoked))
	}
}

// asked returns the query that the screen and the query line make.
func (s *tokens) asked(v listing.View) api.TokenQuery {
	return api.TokenQuery{
		Filters: listing.Without(s.given(), v.Words, api.TokenFilters), Words: v.Words,
		Order: v.Order, Reverse: v.Reverse, Revoked: s.dead,
	}
}

// with returns a query with one more filter.
func with(q api.TokenQuery, name, value string) api.TokenQuery {
	q.Filters = maps.Clone(q.Filters)
	q.Filters[name] = []string{value}
	return q
}

// wrong returns what is wrong with the typed filters, as far as only the screen knows.
func (s *tokens) wrong(words string) error {
	if s.refuse == nil {
		return nil
	}
	return s.refuse(listing.Filters(words, api.TokenFilters))
}

// read reads what a query selects.
func (s *tokens) read(q api.TokenQuery) listing.Source[api.Token] {
	c, reverse, wrong := s.m.client, q.Reverse, s.wrong(q.Words)
	return func(ctx context.Context, to listing.Spot) iter.Seq2[api.Token, error] {
		if wrong != nil {
			return func(yield func(api.Token, error) bool) { yield(api.Token{}, wrong) }
		}
		q := q
		q.After, q.Limit, q.Reverse = to.After, to.Limit, reverse != to.Back
		return c.Tokens(ctx, q)
	}
}

func (s *tokens) counted(q api.TokenQuery) func(context.Context) (api.Count, error) {
	c, wrong := s.m.client, s.wrong(q.Words)
	return func(ctx context.Context) (api.Count, error) {
		if wrong != nil {
			return api.Count{}, wrong
		}
		return c.TokenCount(ctx, q)
	}
}

// A token that was never used has no time of its last use: in that order it would stand
// among the others by the time it was made. And one that is revoked would hide those that
// work. So a listing may have parts, one after the other.
const (
	neverUsed = "never used"
	wereUsed  = "used"
	revoked   = "revoked"
)

// parting says which parts a listing has.
type parting struct{ byUse, byEnd bool }

func (s *tokens) parting(v listing.View) parting {
	q, typed := s.asked(v), listing.Filters(v.Words, api.TokenFilters)
	has := func(name string) bool { return len(q.Filters[name])+len(typed[name]) > 0 }
	return parting{
		byUse: (v.Order == "" || v.Order == api.ByLastUsed) && !has("never-used") && !has("used-after"),
		byEnd: s.dead && !has("state"),
	}
}

// of names the part that a token is in.
func (p parting) of(t api.Token) string {
	switch {
	case p.byEnd && t.State == api.StateRevoked:
		return revoked
	case !p.byUse:
		return ""
	case t.Used():
		return wereUsed
	}
	return neverUsed
}

// listed returns the listing that the screen and the query line make.
func (s *tokens) listed(v listing.View) (listing.Order[api.Token], listing.Source[api.Token]) {
	p, q := s.parting(v), s.asked(v)
	ord := listing.Order[api.Token]{
		ID:     func(t api.Token) string { return t.ID },
		Cursor: func(t api.Token) string { return t.Cursor(v.Order) },
	}
	if p == (parting{}) {
		return ord, s.read(q)
	}
	ord.Cursor = func(t api.Token) string { return listing.Part[api.Token]{Name: p.of(t)}.Cursor(t.Cursor(v.Order)) }
	working := q
	working.Revoked = q.Revoked && !p.byEnd
	parts := []listing.Part[api.Token]{{Name: "", Source: s.read(working)}}
	if p.byUse {
		parts = []listing.Part[api.Token]{
			{Name: neverUsed, Source: s.read(with(working, "never-used", "true"))},
			{Name: wereUsed, Source: s.read(with(working, "used-after", "1970-01-02"))},
		}
	}
	if v.Reverse {
		slices.Reverse(parts)
	}
	if p.byEnd {
		parts = append(parts, listing.Part[api.Token]{Name: revoked, Source: s.read(with(q, "state", api.StateRevoked))})
	}
	return ord, listing.InParts(parts...)
}

func (s *tokens) answer(msg tea.Msg) tea.Cmd {
	if n, ok := msg.(countMsg); ok {
		s.revoked.take(s.m.now(), n)
	}
	asking := s.list.Asking()
	cmd := s.table.answer(msg)
	if asking && !s.list.Asking() && s.fits() && s.hides() {
		cmd = tea.Batch(cmd, s.revoked.ask(s.m, s.view()))
	}
	return cmd
}

// hides reports whether the listing is short, and leaves out the revoked tokens though its
// question may be about them, too.
func (s *tokens) hides() bool {
	typed := listing.Filters(s.filter.Value, api.TokenFilters)
	return !s.dead && typed["state"] == nil && (len(typed) > 0 || len(s.given()) == 0) && s.list.Err() == nil && s.list.Whole()
}

// hidden says how many revoked tokens the listing leaves out.
func (s *tokens) hidden() string {
	n := s.revoked.rows
	switch {
	case !s.revoked.known || n == 0 || !s.hides():
		return ""
	case s.filter.Value == "":
		return say.Count(n, "revoked token") + ": filter by state:revoked"
	}
	return say.Count(n, "revoked token") + " " + matches(n) + ": add state:revoked"
}

var tokenSorts = []listing.Sorted{
	{Order: api.ByLastUsed, Up: "last used, oldest first", Down: "last used, latest first"},
	{Order: api.ByCreated, Up: "created, oldest first", Down: "created, newest first"},
}

func tokenColumns(m *model) []listing.Column[api.Token] {
	return []listing.Column[api.Token]{
		{Head: "ID", Min: 10, Max: 28, Late: true, Whole: true, Cell: func(t api.Token) string { return t.ID }},
		{Head: "USER", Min: 16, Max: 48, Cell: func(t api.Token) string { return t.UID }},
		{Head: "NAME", Min: 10, Max: 32, Cell: func(t api.Token) string { return say.Dash(t.Name) }},
		{Head: "LAST USED", Brief: "USED", Min: 12, Max: 12, Cell: func(t api.Token) string { return say.Used(m.now(), t) }, Tone: func(t api.Token) listing.Tone { return say.UseTone(m.now(), t) }},
		{Head: "FROM", Min: 15, Max: 39, Late: true, Cell: func(t api.Token) string { return say.Dash(t.LastAddress) }},
		{Head: "USES", Min: 7, Max: 11, Extra: 6, Late: true, Right: true, Cell: func(t api.Token) string { return say.Number(int(t.Uses)) }},
		{Head: "CREATED", Brief: "MADE", Min: 10, Max: 10, Extra: 6, Cell: func(t api.Token) string { return say.Date(m.now(), t.Created) }},
		{Head: "EXPIRES", Brief: "ENDS", Min: 10, Max: 10, Extra: 6, Cell: func(t api.Token) string { return say.Expiry(m.now(), t.ExpiresOn, say.Date) }},
		{Head: "LIMITS", Min: 6, Max: 36, Extra: 6, Late: true, Cell: say.Limits},
		{Head: "STATE", Min: 9, Max: 9, Extra: 3, Cell: func(t api.Token) string { return t.State }, Tone: func(t api.Token) listing.Tone { return say.StateTone(t.State) }, Odd: oddToken},
	}
}

func oddToken(t api.Token) string {
	if t.State == api.StateLive {
		return ""
	}
	return t.State
}

func (s *tokens) place() place { return onTokens }

func (s *tokens) title(width int) string {
	if !s.m.known {
		return "Tokens"
	}
	st := s.m.status
	return say.Fitting(width, "Tokens", say.Count(st.Tokens, "token"), say.Number(st.Stale)+" unused for 90 days")
}

func (s *tokens) open() (screen, bool) {
	t, ok := s.current()
	if !ok {
		return nil, false
	}
	return newToken(s.m, t), true
}

func (s *tokens) name() (string, bool) {
	t, ok := s.current()
	return t.ID, ok
}

func (s *tokens) user() (api.User, bool) { return api.User{}, false }

func (s *tokens) holder() string {
	t, _ := s.current()
	return t.UID
}

func (s *tokens) revokes() (revocation.Target, bool) {
	if s.whole {
		return s.matching(), true
	}
	ts := s.selected()
	return revocation.Of(ts), len(ts) > 0
}

// markAll marks all that the screen and the filter select. The server revokes these as
// one set, so no row is read for it.
func (s *tokens) markAll() (cmd tea.Cmd, refused string) {
	if q := s.matching().Match.Query; len(q.Filters) == 0 && strings.TrimSpace(q.Words) == "" {
		return nil, "Filter first: this would mark every token there is."
	}
	if err := s.list.Err(); err != nil {
		return nil, "Nothing can be marked: " + say.Error(err)
	}
	if n, known := s.total(); known && n == 0 {
		return nil, "Nothing matches."
	}
	clear(s.marks)
	s.whole = true
	return nil, ""
}

// matching is what R revokes after A: all that the screen and the filter select.
func (s *tokens) matching() revocation.Target {
	q := s.asked(s.view())
	q.Revoked = false
	words, match := s.of(), text.Escape(q.Words)
	if len(s.replaced()) > 0 { // what is left of the screen's question, as filters
		words = ""
		for _, name := range slices.Sorted(maps.Keys(q.Filters)) {
			match = strings.TrimSuffix(name+":"+strings.Join(q.Filters[name], ","), ":true") + " " + match
		}
	}
	if match != "" {
		words = strings.TrimSpace(words + " that match " + match)
	}
	return revocation.Target{Match: &revocation.Match{Query: q, Words: words}}
}
