package tui

import (
	"strings"

	"gatehouse/tui/text"
)

const (
	gutter = 5 // " > x "
	gap    = 2
)

// column is a column of a table. It takes min columns of the terminal, and up
// to max where there is room.
type column[T any] struct {
	head     string
	min, max int
	right    bool // against the right edge: numbers
	late     bool // grows when the others have grown
	whole    bool // cut without an ellipsis: the start of an id is a name for it
	cell     func(T) string
}

func (c column[T]) fit(s string, width int) string {
	switch {
	case c.right:
		return text.Right(s, width)
	case c.whole:
		return text.Left(s[:min(len(s), width)], width)
	}
	return text.Left(s, width)
}

// widths returns how wide the columns are that fit into width. The others
// drop from the right. They depend on nothing but the width, so that nothing
// jumps when the rows change.
func widths[T any](cols []column[T], width int) []int {
	rest := width - gutter
	var w []int
	for _, c := range cols {
		need := c.min
		if len(w) > 0 {
			need += gap
		}
		if need > rest {
			break
		}
		rest -= need
		w = append(w, c.min)
	}
	for _, late := range []bool{false, true} {
		rest = grow(cols, w, rest, late)
	}
	return w
}

// grow hands rest out to the columns that are late, or not, one by one, and
// returns what is left.
func grow[T any](cols []column[T], w []int, rest int, late bool) int {
	for grown := true; grown; {
		grown = false
		for i := range w {
			if cols[i].late == late && w[i] < cols[i].max && rest > 0 {
				w[i]++
				rest--
				grown = true
			}
		}
	}
	return rest
}

// heads returns the line above the rows.
func heads[T any](cols []column[T], w []int) string {
	cells := make([]string, len(w))
	for i := range w {
		cells[i] = cols[i].fit(cols[i].head, w[i])
	}
	return strings.Repeat(" ", gutter) + strings.Join(cells, strings.Repeat(" ", gap))
}

// line returns a row. odd, if not empty, is a state that must not be missed: it takes
// the place of the last column when its own does not fit.
func line[T any](cols []column[T], w []int, row T, current, marked bool, odd string) string {
	cells := make([]string, len(w))
	for i := range w {
		s := cols[i].cell(row)
		if i == len(w)-1 && len(w) < len(cols) && odd != "" {
			s = odd
		}
		cells[i] = cols[i].fit(s, w[i])
	}
	cursor, mark := " ", " "
	if current {
		cursor = ">"
	}
	if marked {
		mark = "x"
	}
	return " " + cursor + " " + mark + " " + strings.Join(cells, strings.Repeat(" ", gap))
}
