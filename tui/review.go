package tui

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// review is the screen of ready-made questions about tokens.
type review struct {
	tokens
	preset int
}

// presets are the questions of the Review screen: the filters, the name of the tab, and
// the question in words. The command twin has the filters as flags.
var presets = [...]struct {
	filters    []string
	tab, words string
}{
	{[]string{"idle", "30d"}, "30d", "unused for 30 days"},
	{[]string{"idle", "90d"}, "90d", "unused for 90 days"},
	{[]string{"idle", "180d"}, "180d", "unused for 180 days"},
	{[]string{"idle", "365d"}, "1y", "unused for a year"},
	{[]string{"never-used", "true"}, "never", "without any use"},
	{[]string{"expires-within", "7d"}, "ends 7d", "that end within 7 days"},
	{[]string{"expires-within", "30d"}, "ends 30d", "that end within 30 days"},
	{[]string{"unlimited", "true", "idle", "30d"}, "unlimited", "without any limit and unused for 30 days"},
}

func newReview(m *model) *review {
	s := &review{preset: 1}
	s.init(m, s.selects, func() string { return presets[s.preset].words })
	s.empty = func(words string) string {
		if words != "" {
			words = " that matches " + words
		}
		return "No token " + presets[s.preset].words + words + "."
	}
	return s
}

// selects returns the preset as a question.
func (s *review) selects() api.TokenQuery {
	return api.TokenQuery{Filters: api.Where(presets[s.preset].filters...)}
}

func (s *review) place() place { return onReview }

// title lists the presets or, if there is no room, names only the current one.
func (s *review) title(width int) string {
	out := "Review"
	for i, p := range presets {
		if i == s.preset {
			out += " [" + p.tab + "]"
		} else {
			out += "  " + p.tab + " "
		}
	}
	if len(out) > width {
		return fmt.Sprintf("Review [%s]   %d of %d, tab: the next", presets[s.preset].tab, s.preset+1, len(presets))
	}
	return out
}

// show goes to a preset. Marks stay with the preset they were set in.
func (s *review) show(preset int) tea.Cmd {
	s.preset = preset
	s.unmark()
	return s.ask()
}

// another goes on to another preset.
func (s *review) another(by int) tea.Cmd {
	return s.show((s.preset + by + len(presets)) % len(presets))
}
