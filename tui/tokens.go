package tui

import (
	"context"
	"iter"
	"slices"
	"strings"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// tokens is the screen of everybody's tokens, the longest unused first.
type tokens struct {
	table[api.Token]
	base func() api.TokenQuery // what is listed, the filter apart
	of   func() string         // that in words, after "tokens"
}

var _ rows = (*tokens)(nil)

func newTokens(m *model) *tokens {
	s := &tokens{}
	s.init(m, func() api.TokenQuery { return api.TokenQuery{} }, func() string { return "" })
	s.empty = func(words string) string {
		if words != "" {
			return "No token matches " + words
		}
		return "No tokens."
	}
	return s
}

// init makes the table of the tokens that query and the filter select.
func (s *tokens) init(m *model, query func() api.TokenQuery, words func() string) {
	s.base, s.of = query, words
	of := func(v view) api.TokenQuery {
		q := query()
		q.Words, q.Order, q.Reverse = v.words, v.order, v.reverse
		return q
	}
	s.table = newTable(m, s.order(), tokenColumns(m), func(v view) source[api.Token] {
		return func(ctx context.Context, to spot) iter.Seq2[api.Token, error] {
			q := of(v)
			q.After, q.Limit, q.Reverse = to.after, to.limit, v.reverse != to.back
			return m.client.Tokens(ctx, q)
		}
	}, tokenSorts...)
	s.count = func(v view) func(context.Context) (api.Count, error) {
		q := of(v)
		return func(ctx context.Context) (api.Count, error) { return m.client.TokenCount(ctx, q) }
	}
	s.odd, s.noun, s.forms = oddToken, "token", api.TokenFilters
}

var tokenSorts = []sorted{
	{api.ByLastUsed, "last used, oldest first", "last used, latest first"},
	{api.ByCreated, "created, oldest first", "created, newest first"},
}

func (s *tokens) order() order[api.Token] {
	return order[api.Token]{
		id:     func(t api.Token) string { return t.ID },
		cursor: func(t api.Token) string { return t.Cursor(s.view().order) },
	}
}

func tokenColumns(m *model) []column[api.Token] {
	return []column[api.Token]{
		{head: "ID", min: 10, max: 28, late: true, whole: true, cell: func(t api.Token) string { return t.ID }},
		{head: "USER", min: 19, max: 48, cell: func(t api.Token) string { return t.UID }},
		{head: "NAME", min: 8, max: 32, cell: func(t api.Token) string { return dash(t.Name) }},
		{head: "LAST USED", min: 12, max: 12, cell: func(t api.Token) string { return used(m.now(), t) }, tone: func(t api.Token) tone { return useTone(m.now(), t) }},
		{head: "FROM", min: 15, max: 39, late: true, cell: func(t api.Token) string { return dash(t.LastAddress) }},
		{head: "CREATED", min: 10, max: 10, cell: func(t api.Token) string { return date(m.now(), t.Created) }},
		{head: "EXPIRES", min: 10, max: 10, cell: func(t api.Token) string { return expiry(m.now(), t.ExpiresOn, date) }},
		{head: "STATE", min: 9, max: 9, cell: func(t api.Token) string { return t.State }, tone: func(t api.Token) tone { return stateTone(t.State) }},
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
	return fitting(width, "Tokens", count(st.Tokens, "live token"), number(st.Stale)+" unused for 90 days")
}

func (s *tokens) note() string {
	if len(s.marks) == 0 {
		return ""
	}
	return number(len(s.marks)) + " marked"
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

func (s *tokens) doomed() (revocation, bool) { return named(s.selected()) }

// matching is what A would revoke: all that the screen and the filter select.
func (s *tokens) matching() revocation {
	q := s.base()
	q.Words, q.Revoked = s.filter.value, false
	words := s.of()
	if q.Words != "" {
		words = strings.TrimSpace(words + " that match " + text.Escape(q.Words))
	}
	return revocation{match: &match{query: q, words: words}}
}

// named names tokens to revoke.
func named(ts []api.Token) (revocation, bool) {
	var r revocation
	for _, t := range ts {
		r.ids = append(r.ids, t.ID)
	}
	slices.Sort(r.ids)
	return r, len(ts) > 0
}
