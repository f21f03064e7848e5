package tui

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"gatehouse/server/api"
)

// users is the screen of all users, by uid.
type users struct{ table[api.User] }

var _ rows = (*users)(nil)

func newUsers(m *model) *users {
	query := func(v view) source[api.User] {
		return func(ctx context.Context, to spot) iter.Seq2[api.User, error] {
			q := userQuery(v)
			q.After, q.Limit, q.Reverse = to.after, to.limit, v.reverse != to.back
			return m.client.Users(ctx, q)
		}
	}
	s := &users{}
	ord := order[api.User]{
		id:     func(u api.User) string { return u.UID },
		cursor: func(u api.User) string { return u.Cursor(s.view().order) },
	}
	s.table = newTable(m, ord, userColumns(m), query,
		sorted{api.ByUID, "name", "name, from the end"},
		sorted{api.ByLastUsed, "last used, oldest first", "last used, latest first"},
		sorted{api.ByCreated, "created, oldest first", "created, newest first"},
		sorted{api.ByTokens, "tokens, fewest first", "tokens, most first"})
	s.odd, s.noun, s.forms = oddUser, "user", api.UserFilters
	s.count = func(v view) func(context.Context) (api.Count, error) {
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

func userQuery(v view) api.UserQuery {
	return api.UserQuery{Words: v.words, Order: v.order, Reverse: v.reverse}
}

func userColumns(m *model) []column[api.User] {
	return []column[api.User]{
		{head: "USER", min: 18, max: 60, cell: func(u api.User) string { return u.UID }},
		{head: "SOURCE", min: 6, max: 16, late: true, cell: func(u api.User) string { return u.Source }},
		{head: "TOKENS", min: 6, max: 6, right: true, cell: func(u api.User) string { return number(u.Tokens) }},
		{head: "STALE", min: 5, max: 5, right: true, cell: func(u api.User) string { return number(u.Stale) }},
		{head: "LAST USED", min: 12, max: 12, cell: func(u api.User) string { return lastUse(m.now(), u) }, tone: func(u api.User) tone { return ageTone(m.now(), u.LastUsed) }},
		{head: "CREATED", min: 10, max: 10, cell: func(u api.User) string { return date(m.now(), u.Created) }},
		{head: "STATE", min: 9, max: 9, cell: func(u api.User) string { return u.State }, tone: func(u api.User) tone { return stateTone(u.State) }},
	}
}

func oddUser(u api.User) string {
	if u.State == api.StateActive {
		return ""
	}
	return u.State
}

func (s *users) place() place { return onUsers }

func (s *users) title(width int) string {
	if !s.m.known {
		return "Users"
	}
	st := s.m.status
	return fitting(width, "Users", count(st.Users, "user"), count(st.Tokens, "live token"), number(st.Stale)+" unused for 90 days")
}

func (s *users) note() string {
	tokens := 0
	for _, u := range s.marks {
		tokens += u.Tokens
	}
	if len(s.marks) == 0 {
		return ""
	}
	return fmt.Sprintf("%s marked (%s)", number(len(s.marks)), count(tokens, "token"))
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

func (s *users) doomed() (revocation, bool) {
	var r revocation
	for _, u := range s.selected() {
		r.uids = append(r.uids, u.UID)
	}
	slices.Sort(r.uids)
	return r, len(r.uids) > 0
}
