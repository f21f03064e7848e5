package tui

import (
	"context"
	"io"
	"iter"
	"maps"
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
	base func() api.TokenQuery // what is listed, without the filter
	of   func() string         // the same in words, after "tokens"
}

var _ rows = (*tokens)(nil)

func newTokens(m *model) *tokens {
	s := &tokens{}
	s.init(m, func() api.TokenQuery { return api.TokenQuery{} }, func() string { return "" })
	s.empty = absence("No tokens.", "No token matches")
	return s
}

// init makes the table of the tokens that query and the filter select.
func (s *tokens) init(m *model, query func() api.TokenQuery, words func() string) {
	s.base, s.of = query, words
	of := func(v listing.View) api.TokenQuery {
		q := query()
		q.Words, q.Order, q.Reverse = v.Words, v.Order, v.Reverse
		return q
	}
	s.table = newTable(m, tokenColumns(m), func(v listing.View) (listing.Order[api.Token], listing.Source[api.Token]) {
		ord := listing.Order[api.Token]{
			ID:     func(t api.Token) string { return t.ID },
			Cursor: func(t api.Token) string { return t.Cursor(v.Order) },
		}
		base := of(v)
		read := func(base api.TokenQuery) listing.Source[api.Token] {
			return func(ctx context.Context, to listing.Spot) iter.Seq2[api.Token, error] {
				q := base
				q.After, q.Limit, q.Reverse = to.After, to.Limit, v.Reverse != to.Back
				return m.client.Tokens(ctx, q)
			}
		}
		if !parted(base) {
			return ord, read(base)
		}
		never := listing.Part[api.Token]{Name: neverUsed, Source: read(part(base, neverUsed))}
		used := listing.Part[api.Token]{Name: wereUsed, Source: read(part(base, wereUsed))}
		ord.Cursor = func(t api.Token) string {
			if t.Used() {
				return used.Cursor(t.Cursor(v.Order))
			}
			return never.Cursor(t.Cursor(v.Order))
		}
		if v.Reverse {
			return ord, listing.InParts(used, never)
		}
		return ord, listing.InParts(never, used)
	}, tokenSorts...)
	s.count = func(v listing.View) func(context.Context) (api.Count, error) {
		q := of(v)
		return func(ctx context.Context) (api.Count, error) { return m.client.TokenCount(ctx, q) }
	}
	s.write = func(v listing.View) func(context.Context, io.Writer, export.Format, *atomic.Int64) error {
		q := of(v)
		return box.Writer(func(ctx context.Context) iter.Seq2[api.Token, error] { return m.client.Tokens(ctx, q) }, export.TokenLine)
	}
	s.part = func(t api.Token) string {
		if !parted(of(s.view())) {
			return ""
		}
		return partOf(t)
	}
	s.noun, s.forms = "token", api.TokenFilters
}

// A token that was never used has no time of its last use: in that order it would stand
// among the others by the time it was made. So the listing has two parts.
const (
	neverUsed = "never used"
	wereUsed  = "used"
)

// parted reports whether the listing of a query has the two parts.
func parted(q api.TokenQuery) bool {
	if q.Order != "" && q.Order != api.ByLastUsed || len(q.Filters["never-used"])+len(q.Filters["used-after"]) > 0 {
		return false
	}
	words := " " + strings.ToLower(q.Words)
	return !strings.Contains(words, "never-used") && !strings.Contains(words, " used-after:")
}

// partOf names the part that a token is in.
func partOf(t api.Token) string {
	if t.Used() {
		return wereUsed
	}
	return neverUsed
}

// part returns the query for one part.
func part(q api.TokenQuery, name string) api.TokenQuery {
	q.Filters = maps.Clone(q.Filters)
	if q.Filters == nil {
		q.Filters = api.Filters{}
	}
	if name == neverUsed {
		q.Filters["never-used"] = []string{"true"}
	} else {
		q.Filters["used-after"] = []string{"1970-01-02"}
	}
	return q
}

var tokenSorts = []listing.Sorted{
	{Order: api.ByLastUsed, Up: "last used, oldest first", Down: "last used, latest first"},
	{Order: api.ByCreated, Up: "created, oldest first", Down: "created, newest first"},
}

func tokenColumns(m *model) []listing.Column[api.Token] {
	return []listing.Column[api.Token]{
		{Head: "ID", Min: 10, Max: 28, Late: true, Whole: true, Cell: func(t api.Token) string { return t.ID }},
		{Head: "USER", Min: 19, Max: 48, Cell: func(t api.Token) string { return t.UID }},
		{Head: "NAME", Min: 8, Max: 32, Cell: func(t api.Token) string { return say.Dash(t.Name) }},
		{Head: "LAST USED", Brief: "USED", Min: 12, Max: 12, Cell: func(t api.Token) string { return say.Used(m.now(), t) }, Tone: func(t api.Token) listing.Tone { return say.UseTone(m.now(), t) }},
		{Head: "FROM", Min: 15, Max: 39, Late: true, Cell: func(t api.Token) string { return say.Dash(t.LastAddress) }},
		{Head: "USES", Min: 7, Max: 11, Late: true, Right: true, Extra: 6, Cell: func(t api.Token) string { return say.Number(int(t.Uses)) }},
		{Head: "CREATED", Brief: "MADE", Min: 10, Max: 10, Cell: func(t api.Token) string { return say.Date(m.now(), t.Created) }},
		{Head: "EXPIRES", Brief: "ENDS", Min: 10, Max: 10, Cell: func(t api.Token) string { return say.Expiry(m.now(), t.ExpiresOn, say.Date) }},
		{Head: "LIMITS", Min: 9, Max: 36, Late: true, Extra: 6, Cell: say.Limits},
		{Head: "STATE", Min: 9, Max: 9, Cell: func(t api.Token) string { return t.State }, Tone: func(t api.Token) listing.Tone { return say.StateTone(t.State) }, Odd: oddToken},
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
	if n, known := s.total(); known && n == 0 {
		return nil, "Nothing matches."
	}
	clear(s.marks)
	s.whole = true
	return nil, ""
}

// matching is what R revokes after A: all that the screen and the filter select.
func (s *tokens) matching() revocation.Target {
	q := s.base()
	q.Words, q.Revoked = s.filter.Value, false
	words := s.of()
	if q.Words != "" {
		words = strings.TrimSpace(words + " that match " + text.Escape(q.Words))
	}
	return revocation.Target{Match: &revocation.Match{Query: q, Words: words}}
}
