package tui

import (
	"context"
	"fmt"
	"io"
	"iter"
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
)

// users is the screen of all users, by uid.
type users struct {
	table[api.User]
	only     func(api.User) bool // of what the filters select; nil: all
	question int                 // raised when the screen turns to another one
}

var _ rows = (*users)(nil)

func newUsers(m *model) *users {
	s := &users{}
	s.init(m, nowhere)
	s.empty = absence("No users yet: n makes one.", "No user matches")
	return s
}

// init makes the table of the users that the filters of the screen and the query line
// select.
func (s *users) init(m *model, given func() api.Filters) {
	asked := func(v listing.View) api.UserQuery {
		return api.UserQuery{Filters: listing.Without(given(), v.Words, api.UserFilters), Words: v.Words, Order: v.Order, Reverse: v.Reverse}
	}
	read := func(v listing.View) listing.Source[api.User] {
		base, only := asked(v), s.only
		return func(ctx context.Context, to listing.Spot) iter.Seq2[api.User, error] {
			q := base
			q.After, q.Limit, q.Reverse = to.After, to.Limit, v.Reverse != to.Back
			if only != nil {
				q.Limit = 0 // the list stops when it has enough
			}
			return which(m.client.Users(ctx, q), only)
		}
	}
	s.table = newTable(m, userColumns(m), func(v listing.View) (listing.Order[api.User], listing.Source[api.User]) {
		return listing.Order[api.User]{
			ID:     func(u api.User) string { return u.UID },
			Cursor: func(u api.User) string { return u.Cursor(v.Order) },
		}, read(v)
	},
		listing.Sorted{Order: api.ByUID, Up: "name", Down: "name, from the end"},
		listing.Sorted{Order: api.ByLastUsed, Up: "last used, oldest first", Down: "last used, latest first"},
		listing.Sorted{Order: api.ByCreated, Up: "created, oldest first", Down: "created, newest first"},
		listing.Sorted{Order: api.ByTokens, Up: "tokens, fewest first", Down: "tokens, most first"})
	s.write = func(v listing.View) func(context.Context, io.Writer, export.Format, *atomic.Int64) error {
		src := read(v)
		return box.Writer(func(ctx context.Context) iter.Seq2[api.User, error] { return src(ctx, listing.Spot{}) }, export.UserLine)
	}
	s.part = func(u api.User) string {
		switch {
		case s.view().Order != api.ByLastUsed:
			return ""
		case u.LastUsed == 0:
			return neverUsed
		}
		return wereUsed
	}
	s.noun, s.forms, s.given, s.command = "user", api.UserFilters, given, "user list"
	s.count = func(v listing.View) func(context.Context) (api.Count, error) {
		q, src := asked(v), read(v)
		if s.only == nil {
			return func(ctx context.Context) (api.Count, error) { return m.client.UserCount(ctx, q) }
		}
		return func(ctx context.Context) (n api.Count, err error) {
			for _, err := range src(ctx, listing.Spot{}) {
				if err != nil {
					return n, err
				}
				n.Rows++
			}
			return n, nil
		}
	}
}

// which yields only the rows that are meant; all, if only is nil.
func which(rows iter.Seq2[api.User, error], only func(api.User) bool) iter.Seq2[api.User, error] {
	if only == nil {
		return rows
	}
	return func(yield func(api.User, error) bool) {
		for u, err := range rows {
			if (err != nil || only(u)) && !yield(u, err) {
				return
			}
		}
	}
}

func userColumns(m *model) []listing.Column[api.User] {
	return []listing.Column[api.User]{
		{Head: "USER", Min: 18, Max: 40, Cell: func(u api.User) string { return u.UID }},
		{Head: "PERSON", Min: 12, Max: 28, Cell: func(u api.User) string { return say.Dash(u.Name) }},
		{Head: "SOURCE", Min: 6, Max: 16, Late: true, Cell: func(u api.User) string { return u.Source }},
		{Head: "TOKENS", Min: 6, Max: 6, Right: true, Cell: func(u api.User) string { return say.Number(u.Tokens) }},
		{Head: "STALE", Min: 5, Max: 5, Right: true, Cell: func(u api.User) string { return say.Number(u.Stale) }},
		{Head: "LAST USED", Brief: "USED", Min: 12, Max: 12, Cell: func(u api.User) string { return say.LastUse(m.now(), u) }, Tone: func(u api.User) listing.Tone { return say.AgeTone(m.now(), u.LastUsed) }},
		{Head: "CREATED", Brief: "MADE", Min: 10, Max: 10, Extra: 8, Cell: func(u api.User) string { return say.Date(m.now(), u.Created) }},
		{Head: "STATE", Min: 9, Max: 9, Extra: 8, Cell: userState, Tone: func(u api.User) listing.Tone { return say.StateTone(userState(u)) }, Odd: oddUser},
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
	return say.Fitting(width, "Users", say.Count(st.Users, "user"), say.Count(st.Tokens, "token"), say.Number(st.Stale)+" unused for 90 days")
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

// markMost is how many users A marks. Each is a mark of its own, because the server
// revokes by filters of tokens, not of users.
const markMost = 1000

// markedMsg brings the users that A marks.
type markedMsg struct {
	list     int
	question int
	view     listing.View
	answer   listing.Answer[api.User]
}

// markAll marks all users that match.
func (s *users) markAll() (cmd tea.Cmd, refused string) {
	v := s.view()
	if strings.TrimSpace(v.Words) == "" && len(s.given()) == 0 {
		return nil, "Filter first: this would mark every user there is."
	}
	m, id, question := s.m, s.list.ID(), s.question
	_, src := s.query(v)
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
		defer cancel()
		return markedMsg{id, question, v, listing.Read(ctx, src, listing.Spot{Limit: markMost + 1})}
	}, ""
}

func (s *users) answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(markedMsg)
	switch {
	case !ok:
		return s.table.answer(msg)
	case a.list != s.list.ID() || a.question != s.question || a.view != s.view():
		return nil // another listing by now
	}
	s.m.heard(a.answer.Err)
	switch {
	case a.answer.Err != nil:
		s.m.refused = "The users could not be read."
		s.m.complain(a.answer.Err)
	case len(a.answer.Rows) > markMost:
		s.m.refused = "More than " + say.Number(markMost) + " users match: filter first."
		s.m.say(s.m.refused)
	default:
		s.m.refused = ""
		for _, u := range a.answer.Rows {
			s.marks[u.UID] = u
		}
	}
	return nil
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
func (s *users) holder() string         { return "" } // enter opens it

func (s *users) revokes() (revocation.Target, bool) {
	var r revocation.Target
	for _, u := range s.selected() {
		r.UIDs = append(r.UIDs, u.UID)
	}
	slices.Sort(r.UIDs)
	return r, len(r.UIDs) > 0
}
