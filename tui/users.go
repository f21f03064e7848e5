package tui

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// users is the screen of all users, by uid.
type users struct{ table[api.User] }

var _ rows = (*users)(nil)

func newUsers(m *model) *users {
	query := func(prefix string) source[api.User] {
		return func(ctx context.Context, after string, limit int) iter.Seq2[api.User, error] {
			return m.client.Users(ctx, api.UserQuery{Prefix: prefix, After: after, Limit: limit})
		}
	}
	uid := func(u api.User) string { return u.UID }
	s := &users{newTable(m, order[api.User]{uid, uid}, userColumns(m), query)}
	s.odd = oddUser
	s.empty = func(prefix string) string {
		if prefix != "" {
			return "No user starts with " + prefix
		}
		return "No users yet: n makes one."
	}
	return s
}

func userColumns(m *model) []column[api.User] {
	return []column[api.User]{
		{head: "USER", min: 20, max: 60, cell: func(u api.User) string { return u.UID }},
		{head: "SOURCE", min: 8, max: 16, late: true, cell: func(u api.User) string { return u.Source }},
		{head: "TOKENS", min: 6, max: 6, right: true, cell: func(u api.User) string { return strconv.Itoa(u.Tokens) }},
		{head: "LAST USED", min: 12, max: 12, cell: func(u api.User) string { return ago(m.now(), u.LastUsed) }},
		{head: "CREATED", min: 10, max: 10, cell: func(u api.User) string { return date(m.now(), u.Created) }},
		{head: "STATE", min: 9, max: 9, cell: func(u api.User) string { return u.State }},
	}
}

func oddUser(u api.User) string {
	if u.State == api.StateActive {
		return ""
	}
	return u.State
}

func (s *users) place() place { return onUsers }

func (s *users) title(int) string {
	if !s.m.known {
		return "Users"
	}
	return fmt.Sprintf("Users   %s   %s", count(s.m.status.Users, "user"), count(s.m.status.Tokens, "token"))
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
	r.whose = count(len(r.uids), "user")
	if len(r.uids) == 1 {
		r.whose = text.Escape(r.uids[0])
	}
	return r, len(r.uids) > 0
}
