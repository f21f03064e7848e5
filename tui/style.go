package tui

import "github.com/charmbracelet/lipgloss"

// styles are in the terminal's own sixteen colours, whatever its theme, and
// say nothing that the characters do not say too.
type styles struct {
	title, tab, heads, cursor, off, warn, banner, key lipgloss.Style
}

func newStyles(r *lipgloss.Renderer) styles {
	s := r.NewStyle
	return styles{
		title:  s().Bold(true),
		tab:    s().Bold(true),
		heads:  s().Foreground(lipgloss.Color("6")),
		cursor: s().Bold(true),
		off:    s().Faint(true),
		warn:   s().Foreground(lipgloss.Color("1")).Bold(true),
		banner: s().Reverse(true),
		key:    s().Foreground(lipgloss.Color("6")),
	}
}
