package listing

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"gatehouse/tui/text"
)

// Tone is what the colour of a cell means.
type Tone int

const (
	Plain Tone = iota
	Dim
	Yellow
	Red
	Green
)

const (
	gutter = 5 // " > x "
	gap    = 2
)

// Column is a column of a table. It takes Min columns of the terminal, and up
// to Max where there is room.
type Column[T any] struct {
	Head     string
	Min, Max int
	Extra    int    // shows only if the columns before it have so much more room to grow
	Right    bool   // against the right edge: numbers
	Late     bool   // grows when the others have grown
	Whole    bool   // cut without an ellipsis: the start of an id is a name for it
	Brief    string // the head when a state may take the place of the cell: see Odd; empty: Head
	Cell     func(T) string
	Tone     func(T) Tone // nil: Plain

	// Odd returns the cell if it is a state that must not be missed, or "". If the last
	// column does not fit, such a state takes the place of the last one that does. Nil: all
	// may be missed.
	Odd func(T) string
}

func (c Column[T]) fit(s string, width int) string {
	switch {
	case c.Right:
		return text.Right(s, width)
	case c.Whole:
		return text.Left(s[:min(len(s), width)], width)
	}
	return text.Left(s, width)
}

// Widths returns the widths of the columns that fit into width. The others drop from the
// right. The widths depend only on width, so that nothing jumps when the rows change.
func Widths[T any](cols []Column[T], width int) []int {
	rest := width - gutter
	var w []int
	for _, c := range cols {
		need := c.Min
		if len(w) > 0 {
			need += gap
		}
		if need+c.Extra > rest {
			break
		}
		rest -= need
		w = append(w, c.Min)
	}
	for c := hidden(cols, w); c != nil && len(w) > 1; w = w[:len(w)-1] { // a state may take the place of the last cell
		last := len(w) - 1
		need := max(c.Min, len(sharedHead(cols, w))) - w[last]
		if need <= rest {
			rest -= max(need, 0)
			w[last] += max(need, 0)
			break
		}
		rest += w[last] + gap
	}
	for _, late := range []bool{false, true} {
		rest = grow(cols, w, rest, late)
	}
	return w
}

// grow hands rest out to the columns that are late, or not, one by one, and
// returns what is left.
func grow[T any](cols []Column[T], w []int, rest int, late bool) int {
	for grown := true; grown; {
		grown = false
		for i := range w {
			if cols[i].Late == late && w[i] < cols[i].Max && rest > 0 {
				w[i]++
				rest--
				grown = true
			}
		}
	}
	return rest
}

// hidden returns the last column if it does not fit though its odd states must be seen.
func hidden[T any](cols []Column[T], w []int) *Column[T] {
	if c := &cols[len(cols)-1]; len(w) < len(cols) && c.Odd != nil {
		return c
	}
	return nil
}

// sharedHead returns the head of the last column that fits. It names the state, if that may
// take the place of the cell.
func sharedHead[T any](cols []Column[T], w []int) string {
	last := cols[len(w)-1]
	if c := hidden(cols, w); c != nil {
		return cmp.Or(last.Brief, last.Head) + "/" + c.Head
	}
	return last.Head
}

// Heads returns the line above the rows.
func Heads[T any](cols []Column[T], w []int) string {
	cells := make([]string, len(w))
	for i := range w {
		head := cols[i].Head
		if i == len(w)-1 {
			head = sharedHead(cols, w)
		}
		cells[i] = cols[i].fit(head, w[i])
	}
	return strings.Repeat(" ", gutter) + strings.Join(cells, strings.Repeat(" ", gap))
}

// Signs are what stands before a row.
type Signs struct{ Cursor, Mark bool }

// Line returns a row. paint, unless it is nil, colours the cells.
func Line[T any](cols []Column[T], w []int, row T, signs Signs, paint func(*Column[T], string) string) string {
	cells := make([]string, len(w))
	for i := range w {
		c, s := &cols[i], cols[i].Cell(row)
		if state := hidden(cols, w); state != nil && i == len(w)-1 && state.Odd(row) != "" {
			c, s = state, state.Odd(row)
		}
		cells[i] = cols[i].fit(s, w[i])
		if paint != nil {
			cells[i] = paint(c, cells[i])
		}
	}
	cursor, mark := " ", " "
	if signs.Cursor {
		cursor = ">"
	}
	if signs.Mark {
		mark = "x"
	}
	return " " + cursor + " " + mark + " " + strings.Join(cells, strings.Repeat(" ", gap))
}

// evident are the columns whose cells say what they are.
var evident = []string{"", "ID", "USER", "STATE", "TIME", "ACTOR", "ACTION", "OBJECT", "RESULT"}

// Spoken returns a row in words: each cell after the head of its column, unless the cell
// says what it is.
func Spoken[T any](cols []Column[T], row T) string {
	var words []string
	for _, c := range cols {
		cell := text.Escape(c.Cell(row))
		switch {
		case cell == "" || cell == "-":
			continue
		case !c.Right && strings.ContainsAny(cell, `,"`): // a name must not read like the next column
			cell = strconv.QuoteToGraphic(cell)
		}
		if !slices.Contains(evident, c.Head) {
			cell = strings.ToLower(c.Head) + " " + cell
		}
		words = append(words, cell)
	}
	return strings.Join(words, ", ")
}
