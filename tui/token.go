package tui

import (
	"context"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// token is the screen of everything known of one token.
type token struct {
	m      *model
	id     int
	token  api.Token
	gone   bool
	top    int
	height int

	seq   int
	asked bool
	since time.Time
	err   error
}

var _ screen = (*token)(nil)

// tokenMsg is the token as it is now.
type tokenMsg struct {
	screen, seq int
	token       api.Token
	found       bool
	err         error
}

func newToken(m *model, t api.Token) *token {
	m.lists++
	return &token{m: m, id: m.lists, token: t}
}

func (s *token) place() place           { return onToken }
func (s *token) title(width int) string { return "Token " + text.Cut(s.token.ID, width-8) }
func (s *token) note() string           { return "" }
func (s *token) start() tea.Cmd         { return s.refresh() }
func (s *token) stop()                  { s.seq++; s.asked = false }
func (s *token) rested() bool           { return !s.asked }
func (s *token) answered() time.Time    { return s.since }
func (s *token) failure() error         { return s.err }
func (s *token) spin() (string, bool)   { return "", false }
func (s *token) settled() bool          { return true }

// refresh looks the token up among its user's: there is no shorter way.
func (s *token) refresh() tea.Cmd {
	if s.asked {
		return nil
	}
	s.seq++
	s.asked = true
	m, want, msg := s.m, s.token, tokenMsg{screen: s.id, seq: s.seq}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		for t, err := range m.client.Tokens(ctx, api.TokenQuery{User: want.UID, Revoked: true}) {
			if err != nil {
				msg.err = err
				break
			}
			if t.ID == want.ID {
				msg.token, msg.found = t, true
				break
			}
		}
		return msg
	}
}

func (s *token) answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(tokenMsg)
	if !ok || a.screen != s.id || a.seq != s.seq {
		return nil
	}
	s.asked, s.err = false, a.err
	s.m.heard(a.err)
	if a.err != nil {
		return nil
	}
	s.since, s.gone = s.m.now(), !a.found
	if a.found {
		s.token = a.token
	}
	return nil
}

func (s *token) move(n int) tea.Cmd {
	s.top = max(s.top+n, 0)
	return nil
}

func (s *token) page(n int) tea.Cmd { return s.move(n * max(s.height-1, 1)) }

func (s *token) home() tea.Cmd {
	s.top = 0
	return nil
}

func (s *token) bottom() tea.Cmd { return s.move(1 << 20) }

func (s *token) open() (screen, bool)       { return nil, false }
func (s *token) name() (string, bool)       { return s.token.ID, true }
func (s *token) user() (api.User, bool)     { return api.User{}, false }
func (s *token) doomed() (revocation, bool) { return revoking([]api.Token{s.token}) }

func (s *token) body(width, height int) []string {
	lines := s.facts(width)
	s.height = height
	s.top = min(s.top, max(len(lines)-height, 0))
	return lines[s.top:min(s.top+height, len(lines))]
}

func (s *token) facts(width int) []string {
	t, now := s.token, s.m.now()
	var out []string
	fact := func(name, value string) {
		out = append(out, "   "+text.Left(name, 10)+text.Cut(value, width-13))
	}
	if s.gone {
		fact("", "! The server no longer lists this token.")
	}
	fact("user", t.UID)
	fact("name", dash(t.Name))
	fact("state", t.State)
	lastUsed := "never"
	if t.Used() {
		lastUsed = moment(now, t.LastUsed) + "   " + ago(now, t.LastUsed)
	}
	if inUse(now, t) {
		lastUsed += "   IN USE"
	}
	fact("last used", lastUsed)
	fact("from", dash(t.LastAddress))
	fact("created", moment(now, t.Created)+"   "+ago(now, t.Created))
	fact("expires", expiry(now, t.ExpiresOn, moment))
	several := func(name, none string, values []string) {
		if len(values) == 0 {
			fact(name, none)
			return
		}
		for i, v := range values {
			fact(strings.Repeat(name, 1-min(i, 1)), v)
		}
	}
	several("scopes", "all that its user may do", t.Scopes)
	several("addresses", "from anywhere", t.Addresses)
	return out
}
