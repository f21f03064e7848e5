package tui

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/export"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// spinner turns while an answer is late.
const spinner = `|/-\`

// table is a list drawn in columns, with marks, a filter and an order:
// what the screens with rows have in common.
type table[T any] struct {
	m     *model
	list  listing.List[T]
	cols  []listing.Column[T]
	query func(listing.View) (listing.Order[T], listing.Source[T]) // takes all it needs of the screen when it is called
	empty func(words string) string                                // what to say when there are no rows
	gone  string                                                   // what to say when what it is about is gone
	noun  string                                                   // a row

	command string             // lists the same, with the filters as flags
	forms   []api.FilterForm   // the filters that it takes
	given   func() api.Filters // those of the screen, beside the query line
	foot    func() string      // what is said below the rows, if all are on the screen; nil: nothing

	write func(listing.View) func(context.Context, io.Writer, export.Format, *atomic.Int64) error // the whole listing

	part    func(T) string // which part of the listing a row is in; empty: it has none; nil: never
	changed func() tea.Cmd // besides, when the filter or the order has changed; nil: nothing

	marks   map[string]T
	whole   bool           // all that match are marked
	told    []string       // the ids of the rows that spoken has numbered
	lines   map[string]int // in which line of the body each row was drawn
	room    int            // lines for the rows and the foot; 0: never drawn
	filter  text.Field
	editing bool
	still   bool   // nobody moves in it: no row is highlighted
	hint    string // how the filter may go on
	listing.Sorting
	tally
}

func newTable[T any](m *model, cols []listing.Column[T], query func(listing.View) (listing.Order[T], listing.Source[T]), sorts ...listing.Sorted) table[T] {
	t := table[T]{m: m, cols: cols, query: query, marks: map[string]T{}, Sorting: listing.Sorting{Sorts: sorts}}
	m.lists++
	o, s := query(t.view())
	t.list = listing.New(m, m.lists, o, s)
	t.list.Apart, t.tally.id = m.o.Plain, m.lists
	return t
}

func (t *table[T]) start() tea.Cmd      { return t.refresh() }
func (t *table[T]) refresh() tea.Cmd    { return tea.Batch(t.list.Refresh(), t.tally.ask(t.m, t.view())) }
func (t *table[T]) stop()               { t.list.Stop() }
func (t *table[T]) rested() bool        { return t.list.Rested() }
func (t *table[T]) answered() time.Time { return t.list.Answered() }
func (t *table[T]) move(n int) tea.Cmd  { return t.list.Move(n) }
func (t *table[T]) page(n int) tea.Cmd  { return t.list.Page(n) }
func (t *table[T]) home() tea.Cmd       { return t.list.Home() }
func (t *table[T]) bottom() tea.Cmd     { return t.list.Bottom() }
func (t *table[T]) settled() bool       { return t.list.Settled() }
func (t *table[T]) spin() (string, bool) {
	n, slow := t.list.Spin()
	return string(spinner[n%len(spinner)]), slow
}
func (t *table[T]) failure() error {
	if t.misread() {
		return nil // remark says it
	}
	return t.list.Err()
}
func (t *table[T]) id(row T) string           { return t.list.Identify(row) }
func (t *table[T]) current() (row T, ok bool) { return t.list.Current() }

func (t *table[T]) answer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case listing.Answer[T]:
		cmd, mine := t.list.Take(msg)
		if mine {
			t.m.heard(msg.Err)
		}
		return cmd
	case countMsg:
		t.tally.take(t.m.now(), msg)
		return nil
	}
	return t.list.Other(msg)
}

// ask asks for the listing again, from the start: the filter or the order has changed.
func (t *table[T]) ask() tea.Cmd {
	t.forget()
	t.whole = false // other rows match now
	o, s := t.query(t.view())
	cmds := []tea.Cmd{t.list.Restart(o, s), t.tally.ask(t.m, t.view())}
	if t.changed != nil {
		cmds = append(cmds, t.changed())
	}
	return tea.Batch(cmds...)
}

// toggle marks the row under the cursor, or unmarks it, and moves on.
func (t *table[T]) toggle() tea.Cmd {
	row, ok := t.list.Current()
	switch {
	case !ok:
		return nil
	case t.whole && !t.list.Whole():
		t.m.say("All that match are marked, too many to take one out: esc unmarks them.")
		return nil
	case t.whole: // from here on, each has a mark of its own
		t.whole = false
		for _, row := range t.list.Rows() {
			t.marks[t.id(row)] = row
		}
		if t.m.say("All but this one are marked, one by one. What matches from now on is not."); len(t.marks) == 1 {
			t.m.refused = "Nothing is marked any more."
			t.m.say(t.m.refused)
		}
	}
	if id := t.id(row); t.marked(row) {
		delete(t.marks, id)
	} else {
		t.marks[id] = row
	}
	return t.list.Move(1)
}

func (t *table[T]) marked(row T) bool {
	_, ok := t.marks[t.id(row)]
	return ok || t.whole
}

// markShown marks what is on the screen, and nothing that is not.
func (t *table[T]) markShown() {
	rows, _ := t.list.Visible(t.list.Height())
	for _, row := range rows {
		t.marks[t.id(row)] = row
	}
}

func (t *table[T]) unmark() bool {
	had := len(t.marks) > 0 || t.whole
	clear(t.marks)
	t.whole = false
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
	if row, ok := t.list.Current(); ok {
		rows = append(rows, row)
	}
	return rows
}

// note says what is marked.
func (t *table[T]) note() string {
	n, known := t.total()
	switch {
	case t.whole && known:
		return "all " + say.Count(n, t.noun) + " marked"
	case t.whole:
		return "all that match are marked"
	case len(t.marks) == 0:
		return ""
	}
	return say.Number(len(t.marks)) + " marked"
}

// exported returns all that the filter matches, in the order of the screen.
func (t *table[T]) exported() box.Listing {
	l := box.Listing{Noun: t.noun, Words: t.filter.Value, Write: t.write(t.view())}
	l.Total, l.Known = t.total()
	return l
}

// body draws the line of the filter and the order, the heads and the rows.
func (t *table[T]) body(width, height int) []string {
	var out []string
	remark := t.remark(width)
	lines := max(height-2-len(remark), 1)
	foot := t.below(lines)
	if foot != "" {
		lines = max(lines-1, 1)
	}
	rows, current, parts := t.visible(lines)
	out = append(append(out, t.filterLine(width)), remark...)
	inner := width
	if !t.still {
		inner-- // for the scroll bar
	}
	cols, w := t.cols, listing.Widths(t.cols, inner)
	out = append(out, t.m.st.heads.Render(listing.Heads(cols, w)))
	top, bottom, scrolls := t.thumb(lines)
	words := listing.Sought(t.filter.Value)
	_, slow := t.list.Spin()
	old := slow && t.list.Another()
	t.lines = map[string]int{}
	for i, row := range rows {
		if name, ok := parts[i]; ok && len(out) < height-1 {
			out = append(out, t.divider(name, inner))
		}
		t.lines[t.id(row)] = len(out)
		current := i == current && !t.still
		s := t.row(cols, w, row, current, words)
		if old {
			s = t.m.st.tones[listing.Dim].Render(ansi.Strip(s))
		}
		if bar := "│"; inner < width && scrolls {
			if i >= top && i < bottom {
				bar = "┃"
			}
			s = padded(s, inner) + bar
		}
		if current && !old {
			s = t.m.st.cursor.Render(padded(s, width))
		}
		out = append(out, s)
	}
	if len(rows) == 0 {
		out = append(out, "", "     "+t.silence())
	}
	if foot != "" {
		out = append(out, t.m.st.heads.Render(text.Cut("     "+foot, width)))
	}
	return out
}

// below returns what is said below the rows, if they leave a line for it or fill no more
// than these lines.
func (t *table[T]) below(lines int) string {
	t.room = lines
	if t.foot == nil || !t.fits() {
		return ""
	}
	return t.foot()
}

// fits reports whether the rows leave room for what is said below them.
func (t *table[T]) fits() bool { return t.room == 0 || len(t.list.Rows()) <= t.room }

// visible returns the rows to draw in that many lines, which of them the cursor is on, and
// the dividers by the index of the row below.
func (t *table[T]) visible(lines int) (rows []T, current int, parts map[int]string) {
	rows, current = t.list.Visible(lines)
	if t.part == nil {
		return rows, current, nil
	}
	if n := len(listing.Dividers(rows, t.part, wereUsed)); n > 0 {
		rows, current = t.list.Visible(max(lines-n, 1))
	}
	return rows, current, listing.Dividers(rows, t.part, wereUsed)
}

// divider draws what stands above the rows of a part.
func (t *table[T]) divider(name string, width int) string {
	s := "   ── " + name + " "
	return t.m.st.heads.Render(s + strings.Repeat("─", max(min(width, 60)-text.Width(s), 0)))
}

// row draws a row. The one under the cursor is not coloured: it is highlighted whole.
func (t *table[T]) row(cols []listing.Column[T], w []int, row T, current bool, words []string) string {
	if current {
		return listing.Line(cols, w, row, listing.Signs{Cursor: true, Mark: t.marked(row)}, nil)
	}
	odd := cols[len(cols)-1].Odd
	return listing.Line(cols, w, row, listing.Signs{Mark: t.marked(row)}, func(c *listing.Column[T], cell string) string {
		tone := listing.Plain
		switch {
		case c.Tone != nil:
			tone = c.Tone(row)
		case odd != nil && odd(row) != "":
			tone = listing.Dim
		}
		return t.m.st.highlit(cell, words, tone)
	})
}

// padded fills a line up to a width.
func padded(s string, width int) string {
	return s + strings.Repeat(" ", max(width-text.Width(s), 0))
}

// absence says that there are no rows or, with a filter, that none matches.
func absence(none, matching string) func(words string) string {
	return func(words string) string {
		if words == "" {
			return none
		}
		return matching + " " + words
	}
}

// silence says why there are no rows to draw.
func (t *table[T]) silence() string {
	switch {
	case t.list.Err() != nil && say.Unreachable(t.list.Err()):
		return "Nothing to show until a server answers."
	case t.gone != "" && api.Refused(t.list.Err(), http.StatusNotFound):
		return t.gone
	case t.misread(): // remark says it
		return ""
	case t.list.Err() != nil:
		return "! " + say.Error(t.list.Err()) + "  (r asks again)"
	case t.list.Answered().IsZero() || t.list.Starting():
		if s, slow := t.spin(); slow {
			return s + " loading"
		}
		return ""
	}
	return t.empty(text.Escape(t.filter.Value))
}
