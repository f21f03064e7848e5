package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"gatehouse/tui/text"
)

const (
	paneWidth = 120                    // the width of the terminal from which there is a pane
	paneAfter = 150 * time.Millisecond // how long the cursor rests on a row before the server is asked
)

// pane shows, beside the rows, what enter would open. It is first drawn with what the row
// says, and asks for the rest when the cursor rests: so it delays no move.
type pane struct {
	m      *model
	hidden bool   // by v
	row    string // what it shows
	seq    int
	screen screen // nil: nothing
	asked  bool   // the screen is started
}

// paneMsg comes when the cursor has rested on a row.
type paneMsg struct{ seq int }

// shows reports whether there is room for a pane, and a row.
func (p *pane) shows() bool {
	return p.screen != nil && !p.hidden && p.m.width >= paneWidth && p.m.height >= 16
}

// follow shows the row under the cursor. It is called after every message.
func (p *pane) follow() tea.Cmd {
	if p.hidden || p.m.width < paneWidth {
		p.clear()
		return nil
	}
	s := p.m.screen()
	if _, ok := s.(rows); !ok {
		p.clear()
		return nil
	}
	id, ok := s.name()
	if !ok {
		p.clear()
		return nil
	}
	if row := string(rune('0'+s.place())) + id; row == p.row {
		return nil
	} else {
		p.clear()
		p.row = row
	}
	next, ok := s.open()
	if !ok {
		return nil
	}
	if u, ok := next.(*userTokens); ok {
		u.still = true
	}
	p.screen = next
	return p.m.later(paneAfter, paneMsg{p.seq})
}

func (p *pane) clear() {
	if p.screen != nil && p.asked {
		p.screen.stop()
	}
	p.seq++
	p.row, p.screen, p.asked = "", nil, false
}

func (p *pane) answer(msg tea.Msg) tea.Cmd {
	if rest, ok := msg.(paneMsg); ok {
		if rest.seq != p.seq || p.screen == nil {
			return nil
		}
		p.asked = true
		return p.screen.start()
	}
	if p.screen == nil || !p.asked {
		return nil
	}
	return p.screen.answer(msg)
}

// refresh asks again for what it shows.
func (p *pane) refresh() tea.Cmd {
	if p.screen == nil || !p.asked || !p.screen.rested() {
		return nil
	}
	return p.screen.refresh()
}

// beside puts the pane to the right of the body of a screen, which is as wide as left.
func (p *pane) beside(body []string, left, height int) []string {
	right := p.m.width - left - 2
	lines := append([]string{p.m.st.title.Render(text.Cut(p.screen.title(right), right))}, p.screen.body(right, height-1)...)
	out := make([]string, height)
	for n := range out {
		l, r := "", ""
		if n < len(body) {
			l = ansi.Truncate(body[n], left, "…")
		}
		if n < len(lines) {
			r = lines[n]
		}
		out[n] = padded(l, left) + "│ " + r
	}
	return out
}

func paneKey(m *model) tea.Cmd {
	m.pane.hidden = !m.pane.hidden
	if m.width < paneWidth {
		m.say("The pane needs a terminal of 120 columns or more.")
	}
	return nil
}
