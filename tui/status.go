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
	m      *model
	counts counts
}

var _ screen = (*status)(nil)

func (s *status) place() place     { return onStatus }
func (s *status) start() tea.Cmd   { return tea.Batch(s.m.askStatus(), s.counts.ask(s.m)) }
func (s *status) refresh() tea.Cmd { return s.counts.ask(s.m) } // the model asks for the rest
func (s *status) stop()            { s.counts.stop() }
func (s *status) answer(msg tea.Msg) tea.Cmd {
	s.counts.take(msg)
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
	return s.window(s.report(height).Lines(width), height)
}

// report draws the graphs higher where there is room for them.
func (s *status) report(height int) health.Report {
	rows := 1
	if height >= 40 && !s.m.o.Plain {
		rows = 4
	} else if height >= 30 && !s.m.o.Plain {
		rows = 2
	}
	st := s.m.st
	return health.Report{
		Status: s.m.status, Now: s.m.now(), Offline: s.m.o.Offline, Lost: s.m.lost != nil, Counts: s.counts.counts, Rows: rows,
		Paint: health.Paint{Heads: st.heads.Render, Warn: st.warn.Render, Well: st.tones[listing.Green].Render},
	}
}

// countsEvery is how often the tokens are counted by their last use and their end.
const countsEvery = time.Minute

// counts is how many tokens were last used, and end, when.
type counts struct {
	seq    int
	asked  bool
	at     time.Time
	counts *health.Counts // nil: not known
}

type countsMsg struct {
	seq    int
	counts *health.Counts
	err    error
}

func (a *counts) ask(m *model) tea.Cmd {
	if a.asked || m.now().Sub(a.at) < countsEvery {
		return nil
	}
	a.seq++
	a.asked, a.at = true, m.now()
	c, ctx, msg := m.client, m.ctx, countsMsg{seq: a.seq}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, listing.Patience)
		defer cancel()
		msg.counts, msg.err = health.Count(ctx, c)
		return msg
	}
}

func (a *counts) stop() { a.seq++; a.asked = false }

func (a *counts) take(msg tea.Msg) {
	if m, ok := msg.(countsMsg); ok && m.seq == a.seq {
		a.asked = false
		if m.err == nil { // the status reports what fails
			a.counts = m.counts
		}
	}
}
