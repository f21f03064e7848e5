package tui

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

const (
	roomy     = 10 // the height from which the page of a user shows the use
	listLines = 4  // of the page for the table at least: the query line, the heads, and two rows or why there is none
)

// userTokens is the screen of one user: who it is, and the tokens, the revoked
// ones too.
type userTokens struct {
	tokens
	who    api.UserDetail
	holds  map[string]int     // how many tokens by their state; nil: not known
	asks   int                // how often
	waits  bool               // the latest question is open
	cancel context.CancelFunc // of it
	came   time.Time          // when the latest answer came
	took   time.Duration      // the latest that was answered, or took too long
	above  int                // lines above the table
}

// userMsg is the user of a userTokens screen as it is now.
type userMsg struct {
	list, seq int
	user      api.UserDetail
	holds     map[string]int
	took      time.Duration
	err       error
}

func newUserTokens(m *model, u api.User) *userTokens {
	s := &userTokens{who: api.UserDetail{User: u}}
	s.dead = true
	s.refuse = func(typed api.Filters) error {
		if typed["user"] == nil {
			return nil
		}
		return &api.Error{Status: http.StatusBadRequest, Message: "user: this page has only the tokens of " + u.UID + "; 2 has those of all users"}
	}
	s.init(m, func() api.Filters { return api.Where("user", u.UID) }, func() string { return "of " + text.Escape(u.UID) })
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
	parts := append([]string{"Users > " + uid, userState(u.User)}, s.held()...)
	return say.Fitting(width, append(parts, say.Number(u.Stale)+" stale", text.Escape(u.Name))...)
}

// tokenStates are the states of a token, in the order in which they are counted.
var tokenStates = []string{api.StateLive, api.StateSuspended, api.StateExpired, api.StateRevoked}

// held says how many tokens the user has in each state, with a word for none that works.
func (s *userTokens) held() (parts []string) {
	for _, state := range tokenStates {
		if n := s.holds[state]; n > 0 || s.holds != nil && state == api.StateLive {
			parts = append(parts, say.Number(n)+" "+state)
		}
	}
	return parts
}

// body has above the table how the user is known and, as far as there is room, what else is
// known.
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
	out = out[:min(len(out), max(height-listLines, 0))]
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

// rested reports false as long as a question is open: a new one at each refresh would
// outdate every answer of a slow server.
func (s *userTokens) rested() bool {
	return s.tokens.rested() && !s.waits && s.m.now().Sub(s.came) >= listing.RestFactor*s.took
}

func (s *userTokens) stop() {
	s.tokens.stop()
	s.drop()
}

// drop gives up the open question.
func (s *userTokens) drop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.asks++
	s.waits = false
}

// askUser asks for the user, and how many tokens the user has in each state, in place of
// the open question: its answer may be older than the change after which this is asked.
func (s *userTokens) askUser() tea.Cmd {
	s.drop()
	ctx, cancel := context.WithTimeout(s.m.ctx, listing.Patience)
	s.waits, s.cancel = true, cancel
	m, uid, msg := s.m, s.who.UID, userMsg{list: s.list.ID(), seq: s.asks, holds: map[string]int{}}
	return func() tea.Msg {
		defer cancel()
		start := m.now()
		msg.user, msg.err = m.client.User(ctx, uid)
		for _, state := range tokenStates {
			if msg.err == nil {
				var n api.Count
				n, msg.err = m.client.TokenCount(ctx, api.TokenQuery{Filters: api.Where("user", uid, "state", state)})
				msg.holds[state] = n.Rows
			}
		}
		msg.took = m.now().Sub(start)
		return msg
	}
}

func (s *userTokens) answer(msg tea.Msg) tea.Cmd {
	if u, ok := msg.(userMsg); ok {
		if u.list != s.list.ID() || u.seq != s.asks {
			return nil
		}
		s.waits, s.came = false, s.m.now()
		if u.err == nil { // the listing reports what fails
			s.who, s.holds = u.user, u.holds
		}
		if u.err == nil || errors.Is(u.err, context.DeadlineExceeded) {
			s.took = u.took
		}
		return nil
	}
	return s.tokens.answer(msg)
}
