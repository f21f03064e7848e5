package tui

import (
	"context"
	"iter"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

const (
	patience   = time.Minute            // until a question counts as unanswered
	slowAfter  = 150 * time.Millisecond // until a spinner shows
	spinEvery  = 100 * time.Millisecond
	restFactor = 20 // a listing is refreshed at most for a twentieth of the time
)

// question is what a list waits for.
type question int

const (
	nothing question = iota
	first            // the start of the listing, shown from the top
	next             // the page after the window
	prev             // the page ahead of it
	last             // everything up to the end, of which the window is kept
	again            // the window's rows as they are now
)

// source is a listing on the server: after a cursor, limit rows or (0) all.
type source[T any] func(ctx context.Context, after string, limit int) iter.Seq2[T, error]

// answer is what came of a question. A list takes the one to its latest.
type answer[T any] struct {
	list, seq int
	win       window[T] // of first, last and again
	rows      []T       // of next and prev
	end       bool
	err       error
	took      time.Duration
}

// slowMsg turns the spinner of a question that is still open.
type slowMsg struct{ list, seq int }

// askMsg puts a question that was held back while a filter was being typed.
type askMsg struct{ list, seq int }

// list is a long listing of which a window is in memory, with a cursor. Moves
// beyond the window are remembered until the rows have come: two thousand held
// keys are two thousand rows.
type list[T any] struct {
	m   *model
	id  int
	ord order[T]
	src source[T]

	win             window[T]
	at, top, height int
	pending         int // moves that wait for rows

	asked    question
	seq      int
	cancel   context.CancelFunc
	slow     bool
	spin     int
	answered time.Time // zero: never
	took     time.Duration
	err      error
}

func newList[T any](m *model, o order[T], s source[T]) list[T] {
	m.lists++
	return list[T]{m: m, id: m.lists, ord: o, src: s}
}

// stop gives up the open question: its answer will be dropped. Rows that were
// to be replaced from the start are of another question and not refreshed.
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

// ask puts a question in place of the open one.
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

// askSoon is ask(first) once nothing else has been asked for a while.
func (l *list[T]) askSoon(d time.Duration) tea.Cmd {
	if d == 0 {
		return l.ask(first)
	}
	l.stop()
	l.asked = first
	return l.m.later(d, askMsg{l.id, l.seq})
}

// work returns the question as a function that touches no state of the list.
func (l *list[T]) work(q question) func(context.Context) answer[T] {
	src, ord, w := l.src, l.ord, l.win
	switch q {
	case next:
		after := w.head
		if n := len(w.rows); n > 0 {
			after = ord.cursor(w.rows[n-1])
		}
		return func(ctx context.Context) answer[T] { return read(ctx, src, after, pageRows) }
	case prev:
		after := w.before[len(w.before)-1]
		return func(ctx context.Context) answer[T] { return read(ctx, src, after, pageRows+overlap) }
	case last:
		clone := w.clone()
		return func(ctx context.Context) answer[T] { return readAll(ctx, src, ord, clone) }
	case again:
		limit := max(len(w.rows), pageRows)
		return func(ctx context.Context) answer[T] {
			a := read(ctx, src, w.head, limit)
			a.win = window[T]{rows: a.rows, head: w.head, before: w.before, offset: w.offset, end: a.end}
			return a
		}
	}
	return func(ctx context.Context) answer[T] {
		a := read(ctx, src, "", pageRows)
		a.win = window[T]{rows: a.rows, end: a.end}
		return a
	}
}

func read[T any](ctx context.Context, src source[T], after string, limit int) answer[T] {
	a := answer[T]{end: true}
	for row, err := range src(ctx, after, limit) {
		if err != nil {
			return answer[T]{err: err}
		}
		if a.rows = append(a.rows, row); len(a.rows) == limit {
			a.end = false
			break
		}
	}
	return a
}

// readAll walks to the end of the listing from the end of w.
func readAll[T any](ctx context.Context, src source[T], ord order[T], w window[T]) answer[T] {
	after := w.head
	if n := len(w.rows); n > 0 {
		after = ord.cursor(w.rows[n-1])
	}
	var page []T
	keep := func() {
		w.append(ord, page, len(w.rows)+len(page))
		page = page[:0]
	}
	for row, err := range src(ctx, after, 0) {
		if err != nil {
			return answer[T]{err: err}
		}
		if page = append(page, row); len(page) == pageRows {
			keep()
		}
	}
	keep()
	w.end = true
	return answer[T]{win: w}
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
		l.win, l.at, l.top = a.win, 0, 0
	case last:
		l.win, l.at = a.win, len(a.win.rows)-1
	case next:
		l.win.end = a.end
		l.shift(l.win.append(l.ord, a.rows, l.at))
	case prev:
		l.shift(l.win.prepend(l.ord, a.rows))
	case again:
		if len(a.rows) == 0 && a.win.head != "" {
			return l.ask(first), true // all that was here has gone
		}
		l.replace(a.win)
	}
	p := l.pending
	l.pending = 0
	return l.move(p), true
}

// replace puts the same rows, asked for again, in place: the cursor stays on
// its row, and the row on its line.
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
	case to < 0 && len(l.win.before) > 0:
		l.pending = to
	}
	forward := !l.win.end && end >= 0 && l.at+nearEdge > end
	back := len(l.win.before) > 0 && l.at < nearEdge
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

// page moves by n screens: the cursor stays on its line.
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

// rested reports whether enough time has passed since the last answer for what
// it cost.
func (l *list[T]) rested() bool { return l.m.now().Sub(l.answered) >= restFactor*l.took }

// visible returns the rows to draw in height lines, and which one is current.
func (l *list[T]) visible(height int) (rows []T, current int) {
	l.height = height
	n := len(l.win.rows)
	l.at = min(max(l.at, 0), max(n-1, 0))
	l.top = min(l.top, l.at, max(n-height, 0))
	l.top = max(l.top, l.at-height+1, 0)
	return l.win.rows[l.top:min(l.top+height, n)], l.at - l.top
}

// other handles the messages that are no answers.
func (l *list[T]) other(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case slowMsg:
		if msg.list == l.id && msg.seq == l.seq && l.asked != nothing {
			l.slow = true
			l.spin++
			return l.m.later(spinEvery, msg)
		}
	case askMsg:
		if msg.list == l.id && msg.seq == l.seq {
			return l.ask(first)
		}
	}
	return nil
}
