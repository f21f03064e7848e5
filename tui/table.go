package tui

import (
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// spinner turns while an answer is late.
const spinner = `|/-\`

// table is a list drawn in columns, with marks, a filter and an order:
// what the screens with rows have in common.
type table[T any] struct {
	m     *model
	list  list[T]
	cols  []column[T]
	odd   func(T) string // a state that must be seen at any width, or ""
	query func(view) source[T]
	empty func(words string) string // what to say when there are no rows
	noun  string                    // a row
	forms []api.FilterForm          // the filters that it takes

	marks   map[string]T
	filter  field
	editing bool
	still   bool   // nobody moves in it: no row is highlighted
	hint    string // how the filter may go on
	sorting
	tally
}

func newTable[T any](m *model, o order[T], cols []column[T], query func(view) source[T], sorts ...sorted) table[T] {
	t := table[T]{m: m, cols: cols, query: query, marks: map[string]T{}, sorting: sorting{sorts: sorts}}
	t.list = newList(m, o, query(t.view()))
	return t
}

func (t *table[T]) start() tea.Cmd      { return t.refresh() }
func (t *table[T]) refresh() tea.Cmd    { return tea.Batch(t.list.refresh(), t.askCount()) }
func (t *table[T]) stop()               { t.list.stop() }
func (t *table[T]) rested() bool        { return t.list.rested() }
func (t *table[T]) answered() time.Time { return t.list.answered }
func (t *table[T]) move(n int) tea.Cmd  { return t.list.move(n) }
func (t *table[T]) page(n int) tea.Cmd  { return t.list.page(n) }
func (t *table[T]) home() tea.Cmd       { return t.list.home() }
func (t *table[T]) bottom() tea.Cmd     { return t.list.bottom() }
func (t *table[T]) settled() bool       { return t.list.pending == 0 }
func (t *table[T]) spin() (string, bool) {
	return string(spinner[t.list.spin%len(spinner)]), t.list.slow
}
func (t *table[T]) failure() error {
	if t.misread() {
		return nil // remark says it
	}
	return t.list.err
}
func (t *table[T]) id(row T) string           { return t.list.ord.id(row) }
func (t *table[T]) current() (row T, ok bool) { return t.list.current() }

func (t *table[T]) answer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case answer[T]:
		cmd, mine := t.list.take(msg)
		if mine {
			t.m.heard(msg.err)
		}
		return cmd
	case countMsg:
		t.tookCount(t.list.id, t.m.now(), msg)
		return nil
	}
	return t.list.other(msg)
}

// ask asks for the listing again, from the start: the filter or the order has changed.
func (t *table[T]) ask() tea.Cmd {
	t.list.src = t.query(t.view())
	t.list.pending = 0
	t.forget()
	return tea.Batch(t.list.ask(first), t.askCount())
}

// toggle marks the row under the cursor, or unmarks it, and moves on.
func (t *table[T]) toggle() tea.Cmd {
	row, ok := t.list.current()
	if !ok {
		return nil
	}
	if id := t.id(row); t.marked(row) {
		delete(t.marks, id)
	} else {
		t.marks[id] = row
	}
	return t.list.move(1)
}

func (t *table[T]) marked(row T) bool {
	_, ok := t.marks[t.id(row)]
	return ok
}

// markShown marks what is on the screen, and nothing that is not.
func (t *table[T]) markShown() {
	rows, _ := t.list.visible(t.list.height)
	for _, row := range rows {
		t.marks[t.id(row)] = row
	}
}

func (t *table[T]) unmark() bool {
	had := len(t.marks) > 0
	clear(t.marks)
	return had
}

// selected returns the marked rows, or the one under the cursor.
func (t *table[T]) selected() []T {
	var rows []T
	for _, row := range t.marks {
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		return rows
	}
	if row, ok := t.list.current(); ok {
		rows = append(rows, row)
	}
	return rows
}

// body draws the line of the filter and the order, the heads and the rows.
func (t *table[T]) body(width, height int) []string {
	var out []string
	remark := t.remark()
	line := height >= roomy || t.editing || t.filter.value != "" || t.changed()
	lines := max(height-1-len(remark)-btoi(line), 1)
	rows, current := t.list.visible(lines)
	if line {
		out = append(out, t.filterLine(width))
	}
	out = append(out, remark...)
	inner := width
	if width >= 80 {
		inner-- // for the scroll bar
	}
	w := widths(t.cols, inner)
	out = append(out, t.m.st.heads.Render(heads(t.cols, w)))
	top, bottom, scrolls := t.thumb(lines)
	words := sought(t.filter.value)
	for i, row := range rows {
		current := i == current && !t.still
		s := t.row(w, row, current, words)
		if bar := "│"; inner < width && scrolls {
			if i >= top && i < bottom {
				bar = "┃"
			}
			s = padded(s, inner) + bar
		}
		if current {
			s = t.m.st.cursor.Render(padded(s, width))
		}
		out = append(out, s)
	}
	if len(rows) == 0 {
		out = append(out, "", "     "+t.silence())
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// row draws a row. The one under the cursor is not coloured: it is highlighted whole.
func (t *table[T]) row(w []int, row T, current bool, words []string) string {
	odd := ""
	if t.odd != nil {
		odd = t.odd(row)
	}
	if current {
		return line(t.cols, w, row, true, t.marked(row), odd, nil)
	}
	return line(t.cols, w, row, false, t.marked(row), odd, func(c *column[T], cell string) string {
		tone := plain
		switch {
		case c.tone != nil:
			tone = c.tone(row)
		case odd != "":
			tone = dim
		}
		return t.m.st.highlit(cell, words, tone)
	})
}

// padded fills a line up to a width.
func padded(s string, width int) string {
	return s + strings.Repeat(" ", max(width-text.Width(s), 0))
}

// silence says why there are no rows to draw.
func (t *table[T]) silence() string {
	switch {
	case t.list.err != nil && unreachable(t.list.err):
		return "Nothing to show until a server answers."
	case t.list.err != nil && len(t.remark()) > 0:
		return ""
	case t.list.err != nil:
		return "! " + explain(t.list.err) + "  (r asks again)"
	case t.list.answered.IsZero() || t.list.asked == first:
		if s, slow := t.spin(); slow {
			return s + " loading"
		}
		return ""
	}
	return t.empty(text.Escape(t.filter.value))
}

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
	tone     func(T) tone // nil: plain
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
// the place of the last column when its own does not fit. paint, unless it is nil,
// colours the cells.
func line[T any](cols []column[T], w []int, row T, current, marked bool, odd string, paint func(*column[T], string) string) string {
	cells := make([]string, len(w))
	for i := range w {
		s := cols[i].cell(row)
		if i == len(w)-1 && len(w) < len(cols) && odd != "" {
			s = odd
		}
		cells[i] = cols[i].fit(s, w[i])
		if paint != nil {
			cells[i] = paint(&cols[i], cells[i])
		}
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
