package tui

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/listing"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
)

// users is the screen of all users, by uid.
type users struct{ table[api.User] }

var _ rows = (*users)(nil)

func newUsers(m *model) *users {
	query := func(v listing.View) (listing.Order[api.User], listing.Source[api.User]) {
		ord := listing.Order[api.User]{
			ID:     func(u api.User) string { return u.UID },
			Cursor: func(u api.User) string { return u.Cursor(v.Order) },
		}
		return ord, func(ctx context.Context, to listing.Spot) iter.Seq2[api.User, error] {
			q := userQuery(v)
			q.After, q.Limit, q.Reverse = to.After, to.Limit, v.Reverse != to.Back
			return m.client.Users(ctx, q)
		}
	}
	s := &users{}
	s.table = newTable(m, userColumns(m), query,
		listing.Sorted{Order: api.ByUID, Up: "name", Down: "name, from the end"},
		listing.Sorted{Order: api.ByLastUsed, Up: "last used, oldest first", Down: "last used, latest first"},
		listing.Sorted{Order: api.ByCreated, Up: "created, oldest first", Down: "created, newest first"},
		listing.Sorted{Order: api.ByTokens, Up: "tokens, fewest first", Down: "tokens, most first"})
	s.all = func(v listing.View) func(context.Context) iter.Seq2[api.User, error] {
		return func(ctx context.Context) iter.Seq2[api.User, error] { return m.client.Users(ctx, userQuery(v)) }
	}
	s.as = writeAs(export.UserLine)
	s.part = func(u api.User) string {
		switch {
		case s.view().Order != api.ByLastUsed:
			return ""
		case u.LastUsed == 0:
			return neverUsed
		}
		return wereUsed
	}
	s.odd, s.noun, s.forms = oddUser, "user", api.UserFilters
	s.count = func(v listing.View) func(context.Context) (api.Count, error) {
		return func(ctx context.Context) (api.Count, error) { return m.client.UserCount(ctx, userQuery(v)) }
	}
	s.empty = func(words string) string {
		if words != "" {
			return "No user matches " + words
		}
		return "No users yet: n makes one."
	}
	return s
}

func userQuery(v listing.View) api.UserQuery {
	return api.UserQuery{Words: v.Words, Order: v.Order, Reverse: v.Reverse}
}

func userColumns(m *model) []listing.Column[api.User] {
	return []listing.Column[api.User]{
		{Head: "USER", Min: 18, Max: 60, Cell: func(u api.User) string { return u.UID }},
		{Head: "SOURCE", Min: 6, Max: 16, Late: true, Cell: func(u api.User) string { return u.Source }},
		{Head: "TOKENS", Min: 6, Max: 6, Right: true, Cell: func(u api.User) string { return say.Number(u.Tokens) }},
		{Head: "STALE", Min: 5, Max: 5, Right: true, Cell: func(u api.User) string { return say.Number(u.Stale) }},
		{Head: "LAST USED", Min: 12, Max: 12, Cell: func(u api.User) string { return say.LastUse(m.now(), u) }, Tone: func(u api.User) listing.Tone { return say.AgeTone(m.now(), u.LastUsed) }},
		{Head: "CREATED", Min: 10, Max: 10, Cell: func(u api.User) string { return say.Date(m.now(), u.Created) }},
		{Head: "STATE", Min: 9, Max: 9, Cell: userState, Tone: func(u api.User) listing.Tone { return say.StateTone(userState(u)) }},
	}
}

func userState(u api.User) string {
	if u.Orphaned && u.State == api.StateActive {
		return say.Orphaned
	}
	return u.State
}

func oddUser(u api.User) string {
	if state := userState(u); state != api.StateActive {
		return state
	}
	return ""
}

func (s *users) place() place { return onUsers }

func (s *users) title(width int) string {
	if !s.m.known {
		return "Users"
	}
	st := s.m.status
	return say.Fitting(width, "Users", say.Count(st.Users, "user"), say.Count(st.Tokens, "live token"), say.Number(st.Stale)+" unused for 90 days")
}

func (s *users) note() string {
	tokens := 0
	for _, u := range s.marks {
		tokens += u.Tokens
	}
	if len(s.marks) == 0 {
		return ""
	}
	return fmt.Sprintf("%s marked (%s)", say.Number(len(s.marks)), say.Count(tokens, "token"))
}

func (s *users) open() (screen, bool) {
	u, ok := s.current()
	if !ok {
		return nil, false
	}
	return newUserTokens(s.m, u), true
}

func (s *users) name() (string, bool) {
	u, ok := s.current()
	return u.UID, ok
}

func (s *users) user() (api.User, bool) { return s.current() }

func (s *users) revokes() (revocation.Target, bool) {
	var r revocation.Target
	for _, u := range s.selected() {
		r.UIDs = append(r.UIDs, u.UID)
	}
	slices.Sort(r.UIDs)
	return r, len(r.UIDs) > 0
}
