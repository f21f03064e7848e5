package tui

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// eventsKept is how many of a token's events its screen shows, and how many more
// it shows when it looks further back.
const eventsKept = 100

// token is the screen of everything known about one token.
type token struct {
	sheet
	m       *model
	id      int
	token   api.TokenDetail
	detail  bool // the server has told more than the listing did
	gone    bool
	history api.History // of what was looked at so far
	kept    int         // how many events of it

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
	history     api.History
	older       bool // the history is what came before, and there is no token
	err         error
	took        time.Duration
}

func newToken(m *model, t api.Token) *token {
	m.lists++
	return &token{m: m, id: m.lists, token: api.TokenDetail{Token: t}, kept: eventsKept}
}

func (s *token) place() place           { return onToken }
func (s *token) title(width int) string { return "Token " + text.Cut(s.token.ID, width-8) }
func (s *token) start() tea.Cmd         { return s.refresh() }
func (s *token) stop()                  { s.seq++; s.asked = false }
func (s *token) rested() bool           { return !s.asked && s.m.now().Sub(s.since) >= listing.RestFactor*s.took }
func (s *token) answered() time.Time    { return s.since }
func (s *token) failure() error         { return s.err }

func (s *token) name() (string, bool) { return s.token.ID, true }
func (s *token) holder() string       { return s.token.UID }
func (s *token) revokes() (revocation.Target, bool) {
	return revocation.Of([]api.Token{s.token.Token}), true
}

// refresh asks for the token, and for the events that came since the last look.
func (s *token) refresh() tea.Cmd {
	if s.asked {
		return nil
	}
	c, q := s.m.client, api.HistoryQuery{Token: s.token.ID, After: s.history.Last, Last: s.kept}
	return s.ask(func(ctx context.Context, msg *tokenMsg) {
		msg.token, msg.err = c.Token(ctx, q.Token)
		if api.Refused(msg.err, http.StatusNotFound) {
			msg.gone, msg.err = true, nil
		}
		if msg.err == nil {
			msg.history, msg.err = c.History(ctx, q)
		}
	})
}

// older looks further back for events.
func (s *token) older() tea.Cmd {
	if s.history.Before == 0 {
		s.m.say("There are no older events.")
		return nil
	}
	c, q := s.m.client, api.HistoryQuery{Token: s.token.ID, Before: s.history.Before, Last: eventsKept}
	return s.ask(func(ctx context.Context, msg *tokenMsg) {
		msg.older = true
		msg.history, msg.err = c.History(ctx, q)
	})
}

// ask puts a question in place of the open one.
func (s *token) ask(question func(context.Context, *tokenMsg)) tea.Cmd {
	s.seq++
	s.asked = true
	m, msg := s.m, tokenMsg{screen: s.id, seq: s.seq}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
		defer cancel()
		start := m.now()
		question(ctx, &msg)
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
	if a.older {
		s.history.Before, s.history.Since = a.history.Before, a.history.Since
		s.history.Events = slices.Concat(a.history.Events, s.history.Events)
		s.kept = max(s.kept, len(s.history.Events))
		return nil
	}
	s.since, s.gone = s.m.now(), a.gone
	if !a.gone {
		s.token, s.detail = a.token, true
	}
	s.came(a.history)
	return nil
}

// came adds the events since the look before.
func (s *token) came(news api.History) {
	h := &s.history
	if news.Before > 0 || h.Last == 0 { // the first look, or there is a gap between the two
		*h = news
		return
	}
	h.Last = news.Last
	h.Events = append(h.Events, news.Events...)
	if n := len(h.Events) - s.kept; n > 0 {
		h.Events = slices.Clone(h.Events[n:])
		h.Before, h.Since = h.Events[0].Sequence, h.Events[0].Time
	}
}

func (s *token) body(width, height int) []string {
	return s.window(s.lines(width), height)
}

func (s *token) lines(width int) []string {
	t, now := s.token, s.m.now()
	f := &text.Facts{Width: width}
	if s.gone {
		f.Add("", "! The server knows no such token.")
	}
	f.Add("user", t.UID)
	f.Add("name", say.Dash(t.Name))
	f.Add("state", t.State)
	lastUsed := "never"
	if t.Used() {
		lastUsed = say.When(now, t.LastUsed)
	}
	if say.InUse(now, t.Token) {
		lastUsed += "   IN USE"
	}
	f.Add("last used", lastUsed)
	f.Add("from", say.Dash(t.LastAddress))
	f.Add("created", say.When(now, t.Created))
	if s.detail {
		f.Add("created by", say.Dash(t.CreatedBy))
	}
	f.Add("expires", say.Expiry(now, t.ExpiresOn, say.Moment))
	f.Several("scopes", "all that its user may do", t.Scopes)
	f.Several("addresses", "from anywhere", t.Addresses)
	if s.detail {
		f.Add("uses", say.Number(int(t.Uses))+" in all")
		if len(t.Days) > 0 {
			f.Add("", say.Spark(t.Days, len(t.Days)))
			f.Add("", say.UsesIn(t.Days))
		}
		s.seen(f)
		s.events(f)
	}
	return f.Lines
}

// seen adds the addresses from which the token was used recently.
func (s *token) seen(f *text.Facts) {
	if len(s.token.Seen) == 0 {
		return
	}
	f.Head(s.m.st.heads.Render("USED FROM"))
	_, columns := f.Names()
	for _, from := range s.token.Seen {
		f.Line(text.Left(say.Ago(s.m.now(), from.Time), columns) + text.Left(from.Address, 17) + " " + say.Dash(from.Agent))
	}
}

// events adds what was done with the token, the newest first.
func (s *token) events(f *text.Facts) {
	h := s.history
	if len(h.Events) == 0 && h.Before == 0 {
		return
	}
	f.Head(s.m.st.heads.Render("EVENTS"))
	for _, e := range slices.Backward(h.Events) {
		by := text.Left(e.Action, 14) + " by " + say.Dash(e.Actor)
		if e.Address != "" {
			by += " from " + e.Address
		}
		f.Line(strings.TrimRight(say.Moment(s.m.now(), e.Time)+"   "+text.Escape(by)+"   "+text.Escape(e.Remark()), " "))
	}
	if h.Before > 0 {
		f.Line("! Looked back to " + say.Moment(s.m.now(), h.Since) + ": o goes on")
	}
}
