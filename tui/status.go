package tui

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/tui/health"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// status is the screen of how the server does. It shows what the model asks
// for anyway, every two seconds.
type status struct {
	sheet
	m    *model
	ages ages
}

var _ screen = (*status)(nil)

func (s *status) place() place     { return onStatus }
func (s *status) start() tea.Cmd   { return tea.Batch(s.m.askStatus(), s.ages.ask(s.m)) }
func (s *status) refresh() tea.Cmd { return s.ages.ask(s.m) } // the model asks for the rest
func (s *status) stop()            { s.ages.stop() }
func (s *status) answer(msg tea.Msg) tea.Cmd {
	s.ages.take(msg)
	return nil
}
func (s *status) rested() bool        { return true }
func (s *status) answered() time.Time { return s.m.heardAt }
func (s *status) failure() error      { return s.m.statusErr }

func (s *status) title(width int) string {
	if !s.m.known {
		return "Status"
	}
	return say.Fitting(width, "Status", "gatehouse "+text.Escape(s.m.status.Version), "since "+say.Moment(s.m.now(), s.m.status.Started))
}

func (s *status) body(width, height int) []string {
	if !s.m.known {
		switch err := s.m.statusErr; {
		case err == nil:
			return nil
		case say.Unreachable(err):
			return []string{"", "     Nothing to show until a server answers."}
		default:
			return []string{"", "     ! " + say.Error(err) + "  (r asks again)"}
		}
	}
	return s.window(s.report().Lines(width), height)
}

func (s *status) report() health.Report {
	st := s.m.st
	return health.Report{
		Status: s.m.status, Now: s.m.now(), Offline: s.m.o.Offline, Ages: s.ages.counts,
		Paint: health.Paint{Heads: st.heads.Render, Warn: st.warn.Render, Well: st.tones[listing.Green].Render},
	}
}

// agesEvery is how often the tokens are counted by their last use.
const agesEvery = time.Minute

// ages is how many tokens were last used how long ago.
type ages struct {
	seq    int
	asked  bool
	at     time.Time
	counts []int // nil: not known
}

type agesMsg struct {
	seq    int
	counts []int
	err    error
}

func (a *ages) ask(m *model) tea.Cmd {
	if a.asked || m.now().Sub(a.at) < agesEvery {
		return nil
	}
	a.seq++
	a.asked, a.at = true, m.now()
	c, ctx, msg := m.client, m.ctx, agesMsg{seq: a.seq}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, listing.Patience)
		defer cancel()
		msg.counts, msg.err = health.CountAges(ctx, c)
		return msg
	}
}

func (a *ages) stop() { a.seq++; a.asked = false }

func (a *ages) take(msg tea.Msg) {
	if m, ok := msg.(agesMsg); ok && m.seq == a.seq {
		a.asked = false
		if m.err == nil { // the status reports what fails
			a.counts = m.counts
		}
	}
}
