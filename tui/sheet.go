package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// sheet is a screen of lines that scroll, without a cursor: what the screens
// without rows have in common.
type sheet struct{ top, height, below int }

func (s *sheet) move(n int) tea.Cmd {
	s.top = max(s.top+n, 0)
	return nil
}

func (s *sheet) page(n int) tea.Cmd { return s.move(n * max(s.height-1, 1)) }

func (s *sheet) home() tea.Cmd {
	s.top = 0
	return nil
}

func (s *sheet) bottom() tea.Cmd { return s.move(1 << 20) }

func (s *sheet) settled() bool              { return true }
func (s *sheet) spin() (string, bool)       { return "", false }
func (s *sheet) open() (screen, bool)       { return nil, false }
func (s *sheet) name() (string, bool)       { return "", false }
func (s *sheet) user() (api.User, bool)     { return api.User{}, false }
func (s *sheet) doomed() (revocation, bool) { return revocation{}, false }

// note says what does not show.
func (s *sheet) note() string {
	if s.below == 0 {
		return ""
	}
	return count(s.below, "more line") + " below: j"
}

// window returns the lines to draw in height lines.
func (s *sheet) window(lines []string, height int) []string {
	s.height = height
	s.top = min(s.top, max(len(lines)-height, 0))
	s.below = max(len(lines)-s.top-height, 0)
	return lines[s.top:min(s.top+height, len(lines))]
}

// facts are lines of a name and a value each.
type facts struct {
	lines []string
	width int
}

const factName = 17 // columns of the margin and the name

func (f *facts) add(name, value string) {
	f.lines = append(f.lines, "   "+text.Left(name, factName-3)+text.Cut(value, f.width-factName))
}

// several adds a line a value, the first with the name.
func (f *facts) several(name, none string, values []string) {
	if len(values) == 0 {
		f.add(name, none)
		return
	}
	for i, v := range values {
		f.add(strings.Repeat(name, 1-min(i, 1)), v)
	}
}

// gap adds an empty line.
func (f *facts) gap() { f.lines = append(f.lines, "") }
