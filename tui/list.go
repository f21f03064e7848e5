package tui

import (
	"context"
	"iter"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// restFactor keeps the refresh cheap: a listing that took t to read is asked for again
// after 20 t at the earliest.
const restFactor = 20

// list is a cursor in a long listing, of which a window is in memory. Moves beyond the
// window are remembered until the rows have come, so that no key is lost.
type list[T any] struct {
	m   *model
	id  int
	ord order[T]
	src source[T]

	win             window[T]
	at, top, height int // the row of the cursor, the first one shown, how many are shown
	pending         int // moves that wait for rows

	asked    question // the open one
	seq      int      // its number
	cancel   context.CancelFunc
	slow     bool          // it is open for so long that the spinner shows
	spin     int           // the spinner's position
	answered time.Time     // zero: never
	took     time.Duration // the latest answer
	err      error         // of it
}

func newList[T any](m *model, o order[T], s source[T]) list[T] {
	m.lists++
	return list[T]{m: m, id: m.lists, ord: o, src: s}
}

// stop gives up the open question, and its answer will be dropped. If that was for the
// start of another listing, the rows in memory are of no use: refresh asks for it again.
func (l *list[T]) stop() {
	if l.cancel != nil {
		l.cancel()
	}
	if l.asked == first {
		l.answered = time.Time{}
	}
	l.seq++
	l.asked, l.slow, l.cancel = nothing, false, nil
}

func (l *list[T]) shift(n int) { l.at, l.top = l.at+n, l.top+n }

// current returns the row under the cursor.
func (l *list[T]) current() (row T, ok bool) {
	if l.at < 0 || l.at >= len(l.win.rows) {
		return row, false
	}
	return l.win.rows[l.at], true
}

// move moves the cursor by n rows, now or when the rows are there, and asks
// for the page that comes next.
func (l *list[T]) move(n int) tea.Cmd {
	if l.asked == first || l.asked == last || l.pending != 0 {
		l.pending += n
		return nil
	}
	to, end := l.at+n, len(l.win.rows)-1
	l.at = min(max(to, 0), max(end, 0))
	switch {
	case to > end && !l.win.end && end >= 0:
		l.pending = to - end
	case to < 0 && l.win.head != "":
		l.pending = to
	}
	forward := !l.win.end && end >= 0 && l.at+nearEdge > end
	back := l.win.head != "" && l.at < nearEdge
	switch {
	case l.asked == next || l.asked == prev:
		return nil
	case l.pending > 0, l.pending == 0 && forward:
		return l.ask(next)
	case l.pending < 0, back:
		return l.ask(prev)
	}
	return nil
}

// page moves by n screens; the cursor stays on its line of the screen.
func (l *list[T]) page(n int) tea.Cmd {
	n *= max(l.height-1, 1)
	l.top = max(l.top+n, 0)
	return l.move(n)
}

// home and bottom go to the first and the last row of the listing.
func (l *list[T]) home() tea.Cmd {
	l.pending = 0
	if l.win.head != "" {
		return l.ask(first)
	}
	l.at = 0
	return nil
}

func (l *list[T]) bottom() tea.Cmd {
	l.pending = 0
	if !l.win.end && len(l.win.rows) > 0 {
		return l.ask(last)
	}
	l.at = max(len(l.win.rows)-1, 0)
	return nil
}

// refresh asks for the window again, unless something is asked already.
func (l *list[T]) refresh() tea.Cmd {
	switch {
	case l.asked != nothing:
		return nil
	case l.answered.IsZero():
		return l.ask(first)
	}
	return l.ask(again)
}

// rested reports whether the listing may be refreshed again, after what the last
// answer cost.
func (l *list[T]) rested() bool { return l.m.now().Sub(l.answered) >= restFactor*l.took }

// visible returns the rows to draw in height lines, and which of them the cursor is on.
func (l *list[T]) visible(height int) (rows []T, current int) {
	l.height = height
	n := len(l.win.rows)
	l.at = min(max(l.at, 0), max(n-1, 0))
	if height < 1 { // never drawn
		return nil, 0
	}
	l.top = min(l.top, l.at, max(n-height, 0))
	l.top = max(l.top, l.at-height+1, 0)
	return l.win.rows[l.top:min(l.top+height, n)], l.at - l.top
}

const (
	pageRows   = 200  // asked for at a time
	windowRows = 1000 // kept at most
	nearEdge   = 100  // rows from the edge at which the next page is asked for
)

// order identifies the rows of a listing.
type order[T any] struct {
	id     func(T) string // what the row is
	cursor func(T) string // where it stands, for the question "what comes after"
}

// window is the part of a listing that is in memory.
type window[T any] struct {
	rows []T
	head string // the cursor after which rows begin; empty at the start of the listing
	from int    // how many rows come before them, about; less than 0: not known
	end  bool   // nothing comes after rows
}

// whole reports whether the window is all of the listing.
func (w *window[T]) whole() bool { return w.head == "" && w.end }

// append adds the page that comes after the window. To keep at most windowRows it
// drops rows at the front; when the cursor, at, is near them, it drops the new ones
// instead. It returns by how much the indices of the rows have changed.
func (w *window[T]) append(o order[T], page []T, at int) int {
	moved := w.drop(o, page, at)
	w.rows = append(w.rows, page...)
	over := len(w.rows) - windowRows
	if over <= 0 {
		return moved
	}
	if at+moved < over+nearEdge { // the reader has gone back since
		w.rows, w.end = w.rows[:windowRows:windowRows], false
		return moved
	}
	w.head = o.cursor(w.rows[over-1])
	w.skip(over)
	w.rows = slices.Clone(w.rows[over:])
	return moved - over
}

// prepend adds the page that comes before the window and begins after the cursor head,
// and drops rows at the end. It returns what append does.
func (w *window[T]) prepend(o order[T], page []T, head string, at int) int {
	moved := w.drop(o, page, at)
	w.rows, w.head = slices.Concat(page, w.rows), head
	w.skip(-len(page))
	if len(w.rows) > windowRows {
		w.rows, w.end = w.rows[:windowRows:windowRows], false
	}
	return moved + len(page)
}

// skip counts the rows that the window leaves behind, or takes back.
func (w *window[T]) skip(n int) {
	switch {
	case w.head == "":
		w.from = 0
	case w.from >= 0:
		w.from = max(w.from+n, 0)
	}
}

// drop removes the rows that are in the page, too, having moved there since. It returns
// what append does.
func (w *window[T]) drop(o order[T], page []T, at int) (moved int) {
	elsewhere := make(map[string]bool, len(page))
	for _, r := range page {
		elsewhere[o.id(r)] = true
	}
	kept := make([]T, 0, len(w.rows)+len(page))
	for i, r := range w.rows {
		if !elsewhere[o.id(r)] {
			kept = append(kept, r)
		} else if i < at {
			moved--
		}
	}
	w.rows = kept
	return moved
}

// index returns the index of the row with that id, or -1.
func (w *window[T]) index(o order[T], id string) int {
	return slices.IndexFunc(w.rows, func(r T) bool { return o.id(r) == id })
}

const (
	patience  = time.Minute            // until a question counts as unanswered
	slowAfter = 150 * time.Millisecond // until a spinner shows
	spinEvery = 100 * time.Millisecond
)

// question is what a list waits for.
type question int

const (
	nothing question = iota
	first            // the start of the listing, shown from the top
	next             // the page after the window
	prev             // the page ahead of it
	last             // the end of the listing, shown from the bottom
	again            // the window's rows as they are now
)

// spot says which rows of a listing to read.
type spot struct {
	after string // the cursor of the row before the first one; empty: from either end
	back  bool   // towards the start of the listing, and not towards its end
	limit int    // rows
}

// source reads rows of a listing from the server.
type source[T any] func(context.Context, spot) iter.Seq2[T, error]

// answer is the message with the answer to a question. A list drops all but the
// answer to its latest question.
type answer[T any] struct {
	list, seq int
	rows      []T
	head      string // of prev and last: where the rows begin
	end       bool   // nothing comes after the rows
	err       error
	took      time.Duration
}

// slowMsg turns the spinner of a question that is still open.
type slowMsg struct{ list, seq int }

// ask asks a question in place of the open one.
func (l *list[T]) ask(q question) tea.Cmd {
	l.stop()
	ctx, cancel := context.WithTimeout(l.m.ctx, patience)
	l.asked, l.cancel = q, cancel
	work, list, seq, now := l.work(q), l.id, l.seq, l.m.now
	return tea.Batch(func() tea.Msg {
		defer cancel()
		start := now()
		a := work(ctx)
		a.list, a.seq, a.took = list, seq, now().Sub(start)
		return a
	}, l.m.later(slowAfter, slowMsg{list, seq}))
}

// work returns a function that answers the question. It uses none of the list's state,
// since it runs beside the model.
func (l *list[T]) work(q question) func(context.Context) answer[T] {
	src, ord, w := l.src, l.ord, l.win
	to := spot{limit: pageRows}
	switch n := len(w.rows); q {
	case next:
		if to.after = w.head; n > 0 {
			to.after = ord.cursor(w.rows[n-1])
		}
	case prev, last:
		if to.back = true; q == prev && n > 0 {
			to.after = ord.cursor(w.rows[0])
		}
		return func(ctx context.Context) answer[T] { return readBack(ctx, src, ord, to) }
	case again:
		to = spot{after: w.head, limit: max(n, pageRows)}
	}
	return func(ctx context.Context) answer[T] { return read(ctx, src, to) }
}

// read reads up to limit rows.
func read[T any](ctx context.Context, src source[T], to spot) answer[T] {
	a := answer[T]{end: true}
	for row, err := range src(ctx, to) {
		if err != nil {
			return answer[T]{err: err}
		}
		if a.rows = append(a.rows, row); len(a.rows) == to.limit {
			a.end = false
			break
		}
	}
	return a
}

// readBack reads towards the start, and reverses the rows. It asks for one row more
// than the page has, whose cursor is where the page begins.
func readBack[T any](ctx context.Context, src source[T], ord order[T], to spot) answer[T] {
	page := to.limit
	to.limit++
	a := read(ctx, src, to)
	if len(a.rows) > page {
		a.head = ord.cursor(a.rows[page])
		a.rows = a.rows[:page]
	}
	slices.Reverse(a.rows)
	a.end = to.after == ""
	return a
}

// take takes an answer; ok is false when it is not the one waited for.
func (l *list[T]) take(a answer[T]) (cmd tea.Cmd, ok bool) {
	if a.list != l.id || a.seq != l.seq {
		return nil, false
	}
	q := l.asked
	l.stop()
	l.took = a.took
	if l.err = a.err; a.err != nil {
		l.pending = 0
		return nil, true
	}
	l.answered = l.m.now()
	switch q {
	case first:
		l.win, l.at, l.top = window[T]{rows: a.rows, end: a.end}, 0, 0
	case last:
		l.win, l.at = window[T]{rows: a.rows, head: a.head, end: true, from: -min(len(a.head), 1)}, len(a.rows)-1
	case next:
		l.win.end = a.end
		l.shift(l.win.append(l.ord, a.rows, l.at))
	case prev:
		l.shift(l.win.prepend(l.ord, a.rows, a.head, l.at))
	case again:
		if len(a.rows) == 0 && l.win.head != "" {
			return l.ask(last), true // all that was here has gone
		}
		l.replace(window[T]{rows: a.rows, head: l.win.head, end: a.end, from: l.win.from})
	}
	p := l.pending
	l.pending = 0
	return l.move(p), true
}

// replace puts the rows that were asked for again in place of the old ones: the cursor
// stays on its row, and that on its line of the screen.
func (l *list[T]) replace(w window[T]) {
	row, ok := l.current()
	l.win = w
	if !ok {
		return
	}
	if i := w.index(l.ord, l.ord.id(row)); i >= 0 {
		l.shift(i - l.at)
	}
}

// other handles the messages that are no answers: it turns the spinner.
func (l *list[T]) other(msg tea.Msg) tea.Cmd {
	if msg, ok := msg.(slowMsg); ok && msg.list == l.id && msg.seq == l.seq && l.asked != nothing {
		l.slow = true
		l.spin++
		return l.m.later(spinEvery, msg)
	}
	return nil
}
