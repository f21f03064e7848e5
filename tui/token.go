package tui

import (
	"context"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// eventsKept is how many of a token's events its screen shows.
const eventsKept = 100

// token is the screen of everything known of one token.
type token struct {
	sheet
	m       *model
	id      int
	token   api.TokenDetail
	detail  bool // the server has told more than the listing did
	gone    bool
	history []api.Event // the newest last

	seq   int
	asked bool
	since time.Time
	took  time.Duration
	err   error
}

var _ screen = (*token)(nil)

// tokenMsg is the token as it is now, and its events since the last time.
type tokenMsg struct {
	screen, seq int
	token       api.TokenDetail
	gone        bool
	history     []api.Event
	err         error
	took        time.Duration
}

func newToken(m *model, t api.Token) *token {
	m.lists++
	return &token{m: m, id: m.lists, token: api.TokenDetail{Token: t}}
}

func (s *token) place() place           { return onToken }
func (s *token) title(width int) string { return "Token " + text.Cut(s.token.ID, width-8) }
func (s *token) start() tea.Cmd         { return s.refresh() }
func (s *token) stop()                  { s.seq++; s.asked = false }
func (s *token) rested() bool           { return !s.asked && s.m.now().Sub(s.since) >= restFactor*s.took }
func (s *token) answered() time.Time    { return s.since }
func (s *token) failure() error         { return s.err }

func (s *token) name() (string, bool)       { return s.token.ID, true }
func (s *token) doomed() (revocation, bool) { return named([]api.Token{s.token.Token}) }

// refresh asks for the token, and for the events that came since the last one
// known.
func (s *token) refresh() tea.Cmd {
	if s.asked {
		return nil
	}
	s.seq++
	s.asked = true
	m, id, msg := s.m, s.token.ID, tokenMsg{screen: s.id, seq: s.seq}
	q := api.EventQuery{Token: id, Last: eventsKept}
	if n := len(s.history); n > 0 {
		q.After = s.history[n-1].Sequence
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		start := m.now()
		msg.token, msg.err = m.client.Token(ctx, id)
		if missing(msg.err) {
			msg.gone, msg.err = true, nil
		}
		if msg.err == nil {
			msg.history, msg.err = latest(m.client.Events(ctx, q), eventsKept)
		}
		msg.took = m.now().Sub(start)
		return msg
	}
}

func (s *token) answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(tokenMsg)
	if !ok || a.screen != s.id || a.seq != s.seq {
		return nil
	}
	s.asked, s.err, s.took = false, a.err, a.took
	s.m.heard(a.err)
	if a.err != nil {
		return nil
	}
	s.since, s.gone = s.m.now(), a.gone
	if !a.gone {
		s.token, s.detail = a.token, true
	}
	s.history = append(s.history, a.history...)
	s.history = slices.Clone(s.history[max(len(s.history)-eventsKept, 0):])
	return nil
}

func (s *token) body(width, height int) []string {
	return s.window(s.lines(width), height)
}

func (s *token) lines(width int) []string {
	t, now := s.token, s.m.now()
	f := &facts{width: width}
	if s.gone {
		f.add("", "! The server knows no such token.")
	}
	f.add("user", t.UID)
	f.add("name", dash(t.Name))
	f.add("state", t.State)
	lastUsed := "never"
	if t.Used() {
		lastUsed = when(now, t.LastUsed)
	}
	if inUse(now, t.Token) {
		lastUsed += "   IN USE"
	}
	f.add("last used", lastUsed)
	f.add("from", dash(t.LastAddress))
	f.add("created", when(now, t.Created))
	if s.detail {
		f.add("created by", dash(t.CreatedBy))
	}
	f.add("expires", expiry(now, t.ExpiresOn, moment))
	f.several("scopes", "all that its user may do", t.Scopes)
	f.several("addresses", "from anywhere", t.Addresses)
	if s.detail {
		f.add("uses", number(int(t.Uses))+" in all")
		if len(t.Days) > 0 {
			f.add("", usesADay(t.Days))
		}
		s.seen(f)
		s.events(f)
	}
	return f.lines
}

// seen adds where the token was used from of late.
func (s *token) seen(f *facts) {
	if len(s.token.Seen) == 0 {
		return
	}
	f.gap()
	f.lines = append(f.lines, "   "+s.m.st.heads.Render("USED FROM"))
	for _, from := range s.token.Seen {
		f.lines = append(f.lines, text.Cut("   "+text.Left(ago(s.m.now(), from.Time), factName-3)+text.Left(from.Address, 17)+" "+dash(from.Agent), f.width))
	}
}

// events adds what was done with the token, the newest first.
func (s *token) events(f *facts) {
	if len(s.history) == 0 {
		return
	}
	f.gap()
	f.lines = append(f.lines, "   "+s.m.st.heads.Render("EVENTS"))
	for _, e := range slices.Backward(s.history) {
		by := text.Left(e.Action, 14) + " by " + dash(e.Actor)
		if e.Address != "" {
			by += " from " + e.Address
		}
		f.lines = append(f.lines, text.Cut("   "+fitting(f.width, moment(s.m.now(), e.Time), text.Escape(by), text.Escape(e.Remark())), f.width))
	}
}
