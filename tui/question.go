package tui

import (
	"context"
	"iter"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

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
