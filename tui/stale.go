package tui

import (
	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// stale is the screen of the tokens that nobody has used for a while.
type stale struct {
	tokens
	preset int
}

// presets of the Stale screen: the flag of the command twin, and in words.
var presets = [...]struct{ idle, tab, words string }{
	{"30d", "30d", "unused for 30 days"},
	{"90d", "90d", "unused for 90 days"},
	{"180d", "180d", "unused for 180 days"},
	{"365d", "1y", "unused for a year"},
	{"", "never", "without any use"},
}

func newStale(m *model) *stale {
	s := &stale{preset: 1}
	s.init(m, s.selects)
	s.always = true
	s.empty = func(prefix string) string {
		if prefix != "" {
			prefix = ", and whose id or user starts with " + prefix
		}
		return "No token " + presets[s.preset].words + prefix + "."
	}
	return s
}

// selects returns the preset as a question.
func (s *stale) selects() api.TokenQuery {
	p := presets[s.preset]
	return api.TokenQuery{Idle: p.idle, NeverUsed: p.idle == ""}
}

func (s *stale) place() place { return onStale }

func (s *stale) title(width int) string {
	out := "Stale  "
	for i, p := range presets {
		if i == s.preset {
			out += " [" + p.tab + "]"
		} else {
			out += "  " + p.tab + " "
		}
	}
	if s.known && s.filter.value == "" {
		return fitting(width, out, count(s.rows, "token"))
	}
	return out
}

// another goes on to another preset. Marks stay with the preset they were set
// in.
func (s *stale) another(by int) tea.Cmd {
	s.preset = (s.preset + by + len(presets)) % len(presets)
	s.unmark()
	return s.ask()
}

// matching is what A would revoke: all that the preset and the filter leave.
func (s *stale) matching() revocation {
	q, p := s.selects(), presets[s.preset]
	m := match{query: q, words: p.words}
	if m.query.Prefix = s.filter.value; m.query.Prefix != "" {
		m.words += ", of id or user " + text.Escape(m.query.Prefix) + "…,"
	}
	return revocation{match: &m}
}
