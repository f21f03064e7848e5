package text

import (
	"gatehouse/server/legible"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Width returns how many columns s takes, by grapheme. It does not escape.
func Width(s string) int { return ansi.StringWidth(s) }

// Cut returns s, escaped, in at most width columns, with an ellipsis where
// something is missing.
func Cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	s = Escape(s)
	if legible.Plain(s) { // one column a byte: no need to look for graphemes
		if len(s) <= width {
			return s
		}
		return s[:width-1] + "…"
	}
	return ansi.Truncate(s, width, "…")
}

// Left returns s, escaped, in exactly width columns, against the left edge.
func Left(s string, width int) string {
	s = Cut(s, width)
	return s + pad(width-Width(s))
}

// Right returns s, escaped, in exactly width columns, against the right edge.
func Right(s string, width int) string {
	s = Cut(s, width)
	return pad(width-Width(s)) + s
}

func pad(n int) string { return strings.Repeat(" ", max(n, 0)) }
