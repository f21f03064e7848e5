package tui

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// userTokens is the screen of one user: who it is, and the tokens, the revoked
// ones too.
type userTokens struct {
	tokens
	who   api.UserDetail
	asked int  // how often
	waits bool // the latest question is open
	above int  // lines above the table
}

// userMsg is the user of a userTokens screen as it is now.
type userMsg struct {
	list, seq int
	user      api.UserDetail
	err       error
}

func newUserTokens(m *model, u api.User) *userTokens {
	s := &userTokens{who: api.UserDetail{User: u}}
	s.init(m, func() api.TokenQuery { return api.TokenQuery{Filters: api.Where("user", u.UID), Revoked: true} }, func() string { return "of " + text.Escape(u.UID) })
	s.cols = slices.DeleteFunc(s.cols, func(c listing.Column[api.Token]) bool { return c.Head == "USER" }) // the title has it
	for n := range s.cols {
		if s.cols[n].Head == "NAME" {
			s.cols[n].Min = 7 // the last use then fits into the narrowest pane
		}
	}
	s.gone = "This user was removed, or has another uid now."
	s.empty = absence("This user has no tokens.", "No token of this user matches")
	return s
}

func (s *userTokens) place() place { return onUser }

func (s *userTokens) title(width int) string {
	u := s.who
	uid := text.Cut(u.UID, max(width-12-len(userState(u.User)), 20))
	return say.Fitting(width, "Users > "+uid, userState(u.User), say.Count(u.Tokens, "token"), say.Number(u.Stale)+" stale", text.Escape(u.Name))
}

// body has two lines above the table: how the user is known, and the use.
func (s *userTokens) body(width, height int) []string {
	var known []string
	for _, id := range s.who.Identities {
		known = append(known, text.Escape(id.Source)+" "+text.Escape(id.Subject))
	}
	if len(known) == 0 {
		known = append(known, text.Escape(s.who.Source))
	}
	out := []string{text.Cut(" known as  "+strings.Join(known, ", "), width)}
	if a := s.who.Service; a != nil {
		out = []string{text.Cut(" owned by  "+ownedBy(*a), width)}
	}
	if d := s.who.LoginDelay; d != nil {
		if left := time.UnixMilli(d.Until).Sub(s.m.now()); left > 0 {
			out = append(out, text.Cut(" logins    delayed for "+say.Span(left)+", after "+say.Count(d.Failures, "bad password")+" in a row", width))
		}
	}
	if n := len(s.who.Sessions); n > 0 {
		last := s.who.Sessions[0]
		out = append(out, text.Cut(" sessions  "+say.Number(n)+", the latest "+say.Ago(s.m.now(), last.LastUsed)+" from "+say.Dash(last.Address), width))
	}
	for _, a := range s.who.Rechecks {
		line := " asked     " + text.Escape(a.Source) + " " + say.Ago(s.m.now(), a.Asked)
		switch {
		case a.Left != "":
			line += ": " + text.Escape(a.Left)
		case a.Doubt != "":
			line += "; unverified since " + say.Ago(s.m.now(), a.Since)
		}
		out = append(out, text.Cut(line, width))
	}
	if days := s.who.Days; len(days) > 0 && height > roomy {
		in, today, _ := strings.Cut(say.UsesIn(days), ", ")
		out = append(out, say.Fitting(width, " used      "+say.Spark(days, len(days)), in, today))
	}
	s.above = len(out)
	return append(out, s.tokens.body(width, height-len(out))...)
}

func (s *userTokens) click(line int) (tea.Cmd, bool, bool) { return s.tokens.click(line - s.above) }

// ownedBy says who answers for a service account.
func ownedBy(a api.Answering) string {
	switch {
	case a.Owner == "":
		return "nobody: gatehouse service transfer gives it an owner"
	case a.Successor == "":
		return text.Escape(a.Owner)
	}
	return text.Escape(a.Owner) + ", then " + text.Escape(a.Successor)
}

func (s *userTokens) user() (api.User, bool) { return s.who.User, true }
func (s *userTokens) holder() string         { return "" } // it is shown already

func (s *userTokens) start() tea.Cmd { return tea.Batch(s.tokens.start(), s.askUser()) }

func (s *userTokens) refresh() tea.Cmd { return tea.Batch(s.tokens.refresh(), s.askUser()) }

func (s *userTokens) stop() {
	s.tokens.stop()
	s.asked++
	s.waits = false
}

// askUser asks for the user, unless that question is open: a new one each time would
// outdate every answer of a slow server.
func (s *userTokens) askUser() tea.Cmd {
	if s.waits {
		return nil
	}
	s.asked++
	s.waits = true
	m, uid, list, seq := s.m, s.who.UID, s.list.ID(), s.asked
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
		defer cancel()
		u, err := m.client.User(ctx, uid)
		return userMsg{list, seq, u, err}
	}
}

func (s *userTokens) answer(msg tea.Msg) tea.Cmd {
	if u, ok := msg.(userMsg); ok {
		if u.list != s.list.ID() || u.seq != s.asked {
			return nil
		}
		s.waits = false
		if u.err == nil { // the listing reports what fails
			s.who = u.user
		}
		return nil
	}
	return s.tokens.answer(msg)
}
