package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// wheelRows is how many rows a notch of the wheel moves.
const wheelRows = 3

// mouseKey turns the mouse on or off. It is off at the start: then a selection belongs to
// the terminal.
func mouseKey(m *model) tea.Cmd {
	m.mouse = !m.mouse
	if m.mouse {
		m.say("The mouse is on: click a row, again to open it; the wheel moves. m turns it off.")
		return tea.EnableMouseCellMotion
	}
	m.say("The mouse is off.")
	return tea.DisableMouse
}

// pointed takes what the mouse does. It only moves and opens: nothing that changes
// anything, and no answer to a question, is a click.
func (m *model) pointed(msg tea.MouseMsg) tea.Cmd {
	if !m.mouse || m.tooSmall() || m.box != nil || msg.Action != tea.MouseActionPress {
		return nil
	}
	switch msg.Button {
	case tea.MouseButtonWheelUp:
		return m.screen().move(-wheelRows)
	case tea.MouseButtonWheelDown:
		return m.screen().move(wheelRows)
	case tea.MouseButtonLeft:
	default:
		return nil
	}
	r, ok := m.screen().(rows)
	if !ok || m.pane.shows() && msg.X >= 2*m.width/3 {
		return nil
	}
	line := msg.Y - m.bodyAt - 1 // below the title
	cmd, was, ok := r.click(line)
	switch {
	case !ok:
		return nil
	case was && m.now().Sub(m.clicked) < time.Second && m.screen().settled():
		m.clicked = time.Time{}
		return tea.Batch(cmd, openRow(m))
	}
	m.clicked = m.now()
	return cmd
}

// click puts the cursor on the row in that line of the body, from 0. It reports whether
// the cursor was there already, and whether there is a row.
func (t *table[T]) click(line int) (cmd tea.Cmd, was, ok bool) {
	for id, at := range t.lines {
		if at != line {
			continue
		}
		row, current := t.list.Current()
		cmd, ok = t.list.To(id)
		return cmd, current && t.id(row) == id, ok
	}
	return nil, false, false
}
