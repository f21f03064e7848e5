package tui

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// scanWait holds a filter's question back while it is typed: the server has no
// index of tokens by prefix, so the listing is walked.
const scanWait = 150 * time.Millisecond

// tokens is the screen of everybody's tokens, the longest unused first.
type tokens struct{ table[api.Token] }

var _ rows = (*tokens)(nil)

func newTokens(m *model) *tokens {
	s := &tokens{}
	s.init(m, func() api.TokenQuery { return api.TokenQuery{} }, true)
	s.empty = func(prefix string) string {
		if prefix != "" {
			return "No token whose id, user or name starts with " + prefix
		}
		return "No tokens yet."
	}
	return s
}

// init makes the table of the tokens that query selects, with the dead among
// them or without.
func (s *tokens) init(m *model, query func() api.TokenQuery, dead bool) {
	s.table = newTable(m, tokenOrder(), tokenColumns(m), func(prefix string) source[api.Token] {
		var keep func(api.Token) bool
		if prefix != "" || !dead {
			keep = func(t api.Token) bool { return starts(t, prefix) && (dead || t.State != api.StateRevoked) }
		}
		return tokenSource(m.client, query(), keep)
	})
	s.odd, s.wait = oddToken, scanWait
}

func tokenOrder() order[api.Token] {
	return order[api.Token]{id: func(t api.Token) string { return t.ID }, cursor: func(t api.Token) string { return t.Cursor(api.ByLastUsed) }}
}

// tokenSource lists what q selects, and of that, what keep is true of. The
// server knows nothing of keep: it is told to go on until enough has come.
func tokenSource(c client, q api.TokenQuery, keep func(api.Token) bool) source[api.Token] {
	return func(ctx context.Context, after string, limit int) iter.Seq2[api.Token, error] {
		q := q
		q.After = after
		if keep == nil {
			q.Limit = limit
			return c.Tokens(ctx, q)
		}
		return func(yield func(api.Token, error) bool) {
			for t, err := range c.Tokens(ctx, q) {
				if (err != nil || keep(t)) && !yield(t, err) {
					return
				}
			}
		}
	}
}

func starts(t api.Token, prefix string) bool {
	for _, s := range []string{t.UID, t.ID, t.Name} {
		if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

func tokenColumns(m *model) []column[api.Token] {
	return []column[api.Token]{
		{head: "ID", min: 10, max: 28, late: true, whole: true, cell: func(t api.Token) string { return t.ID }},
		{head: "USER", min: 19, max: 48, cell: func(t api.Token) string { return t.UID }},
		{head: "NAME", min: 8, max: 32, cell: func(t api.Token) string { return dash(t.Name) }},
		{head: "LAST USED", min: 12, max: 12, cell: func(t api.Token) string { return used(m.now(), t) }},
		{head: "FROM", min: 15, max: 39, late: true, cell: func(t api.Token) string { return dash(t.LastAddress) }},
		{head: "CREATED", min: 10, max: 10, cell: func(t api.Token) string { return date(m.now(), t.Created) }},
		{head: "EXPIRES", min: 10, max: 10, cell: func(t api.Token) string { return expiry(m.now(), t.ExpiresOn, date) }},
		{head: "STATE", min: 9, max: 9, cell: func(t api.Token) string { return t.State }},
	}
}

func oddToken(t api.Token) string {
	if t.State == api.StateLive {
		return ""
	}
	return t.State
}

func (s *tokens) place() place { return onTokens }

func (s *tokens) title(int) string {
	if !s.m.known {
		return "Tokens   the longest unused first"
	}
	return "Tokens   " + count(s.m.status.Tokens, "token") + ", the longest unused first"
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

func (s *tokens) doomed() (revocation, bool) { return revoking(s.selected()) }

// revoking names tokens, and the users among whose tokens they are found.
func revoking(ts []api.Token) (revocation, bool) {
	r := revocation{ids: map[string]bool{}}
	for _, t := range ts {
		r.ids[t.ID] = true
		r.uids = append(r.uids, t.UID)
	}
	slices.Sort(r.uids)
	r.uids = slices.Compact(r.uids)
	return r, len(ts) > 0
}

// stale is the screen of the tokens that nobody has used for a while.
type stale struct {
	tokens
	preset int
}

// presets of the Stale screen: the flag of the command twin, and in words.
var presets = [...]struct{ idle, tab, words string }{
	{"30d", "30d", "unused for 30 days"},
	{"90d", "90d", "unused for 90 days"},
	{"180d", "180d", "unused for 180 days"},
	{"365d", "1y", "unused for a year"},
	{"", "never", "that was never used"},
}

func newStale(m *model) *stale {
	s := &stale{preset: 1}
	s.init(m, func() api.TokenQuery {
		p := presets[s.preset]
		return api.TokenQuery{Idle: p.idle, NeverUsed: p.idle == ""}
	}, false) // what is revoked needs no more looking after
	s.empty = func(prefix string) string {
		if prefix != "" {
			prefix = ", and whose id, user or name starts with " + prefix
		}
		return "No token " + presets[s.preset].words + prefix + "."
	}
	return s
}

func (s *stale) place() place { return onStale }

func (s *stale) title(int) string {
	out := "Stale  "
	for i, p := range presets {
		if i == s.preset {
			out += " [" + p.tab + "]"
		} else {
			out += "  " + p.tab + " "
		}
	}
	return out
}

// cycle goes on to another preset. Marks stay with the preset they were set in.
func (s *stale) cycle(by int) tea.Cmd {
	s.preset = (s.preset + by + len(presets)) % len(presets)
	s.unmark()
	return s.ask()
}

// userTokens is the screen of one user's tokens.
type userTokens struct {
	tokens
	who api.User
	seq int
}

// userMsg is the user of a userTokens screen as it is now.
type userMsg struct {
	list, seq int
	user      api.User
	err       error
}

func newUserTokens(m *model, u api.User) *userTokens {
	s := &userTokens{who: u}
	s.init(m, func() api.TokenQuery { return api.TokenQuery{User: u.UID, Revoked: true} }, true)
	s.cols = slices.DeleteFunc(s.cols, func(c column[api.Token]) bool { return c.head == "USER" }) // the title has it
	s.empty = func(prefix string) string {
		if prefix != "" {
			return "No token of this user whose id or name starts with " + prefix
		}
		return "This user has no tokens."
	}
	return s
}

func (s *userTokens) place() place { return onUser }

func (s *userTokens) title(width int) string {
	u := s.who
	facts := "   " + u.State + "   " + count(u.Tokens, "token") + "   " + text.Escape(u.Source) + "   " + text.Escape(u.Name)
	return text.Cut("Users > "+text.Cut(u.UID, max(width/2, 30))+facts, width)
}

func (s *userTokens) user() (api.User, bool) { return s.who, true }

func (s *userTokens) start() tea.Cmd { return tea.Batch(s.tokens.start(), s.askUser()) }

func (s *userTokens) refresh() tea.Cmd { return tea.Batch(s.tokens.refresh(), s.askUser()) }

func (s *userTokens) askUser() tea.Cmd {
	s.seq++
	m, uid, list, seq := s.m, s.who.UID, s.list.id, s.seq
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		u, err := m.client.User(ctx, uid)
		return userMsg{list, seq, u.User, err}
	}
}

func (s *userTokens) answer(msg tea.Msg) tea.Cmd {
	if u, ok := msg.(userMsg); ok {
		if u.list == s.list.id && u.seq == s.seq && u.err == nil { // the listing reports what fails
			s.who = u.user
		}
		return nil
	}
	return s.tokens.answer(msg)
}
