package listing

import (
	"context"
	"iter"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// RestFactor keeps the refresh cheap: a listing that took t to read is asked for again
// after 20 t at the earliest.
const RestFactor = 20

// Host is the program that a list is part of.
type Host interface {
	Context() context.Context // of all questions
	Now() time.Time
	Later(time.Duration, tea.Msg) tea.Cmd // sends a message after a while
}

// List is a cursor in a long listing. A window of the listing is in memory. Moves beyond
// the window are remembered until the rows have come, so that no key is lost.
type List[T any] struct {
	host Host
	id   int
	ord  Order[T]
	src  Source[T]

	win             window[T]
	at, top, height int  // the row of the cursor, the first one shown, how many are shown
	pending         int  // moves that wait for rows
	Apart           bool // pages have no row in common, and the last one may be short
	another         bool // the rows still belong to the previous listing

	asked    question // the open one
	seq      int      // its number
	cancel   context.CancelFunc
	slow     bool          // it is open for so long that the spinner shows
	spin     int           // the spinner's position
	answered time.Time     // zero: never
	took     time.Duration // the latest answer
	err      error         // of it
}

// New returns a list with that id. No other list of the program has the same id.
func New[T any](h Host, id int, o Order[T], s Source[T]) List[T] {
	return List[T]{host: h, id: id, ord: o, src: s}
}

// Restart asks for another listing, from its start. Until it arrives, the rows of the
// earlier listing stay, and Another reports true.
func (l *List[T]) Restart(o Order[T], s Source[T]) tea.Cmd {
	l.ord, l.src, l.pending, l.another = o, s, 0, len(l.win.rows) > 0
	return l.ask(first)
}

// What a screen shows about the list.

func (l *List[T]) ID() int                  { return l.id }
func (l *List[T]) Identify(row T) string    { return l.ord.ID(row) }
func (l *List[T]) Rows() []T                { return l.win.rows } // those in memory
func (l *List[T]) Height() int              { return l.height }   // the rows on the screen, at most
func (l *List[T]) FromStart() bool          { return l.win.head == "" }
func (l *List[T]) Whole() bool              { return l.win.whole() }
func (l *List[T]) Starting() bool           { return l.asked == first } // another listing is on its way
func (l *List[T]) Refreshing() bool         { return l.asked == again }
func (l *List[T]) Asking() bool             { return l.asked != nothing }
func (l *List[T]) Another() bool            { return l.another }      // the rows in memory still belong to the earlier listing
func (l *List[T]) Spin() (n int, slow bool) { return l.spin, l.slow } // slow: the answer is late
func (l *List[T]) Answered() time.Time      { return l.answered }     // zero: never
func (l *List[T]) Err() error               { return l.err }          // of the latest answer

// Settled reports whether the cursor has arrived where the keys have sent it: no move waits
// for rows, and no other listing is on its way.
func (l *List[T]) Settled() bool {
	return l.pending == 0 && !l.another && l.asked != first && l.asked != last
}

// OnFirst reports whether the cursor is on the first row of the listing.
func (l *List[T]) OnFirst() bool { return l.at == 0 && l.FromStart() }

// ToFirst puts the cursor on the first row in memory.
func (l *List[T]) ToFirst() { l.at, l.top = 0, 0 }

// Prepend puts new rows before the first one of the listing. The cursor stays on its row.
func (l *List[T]) Prepend(page []T) { l.shift(l.win.prepend(l.ord, page, "", l.at)) }

// Shown returns the first and the last row on the screen, from 1, if that can be known:
// a window that was filled from the end needs the total for it.
func (l *List[T]) Shown(total int, known bool) (from, to int, ok bool) {
	before := l.win.from
	if before < 0 {
		before = total - len(l.win.rows)
	}
	n := min(l.height, len(l.win.rows)-l.top)
	if n < 1 || l.asked == first || !known && l.win.from < 0 || before < 0 {
		return 0, 0, false
	}
	return before + l.top + 1, before + l.top + n, true
}

// Stop gives up the open question, and drops its answer. If the question was for the
// start of another listing, the rows in memory are of no use: Refresh asks for it again.
func (l *List[T]) Stop() {
	if l.cancel != nil {
		l.cancel()
	}
	if l.asked == first {
		l.answered = time.Time{}
	}
	l.seq++
	l.asked, l.slow, l.cancel = nothing, false, nil
}

func (l *List[T]) shift(n int) { l.at, l.top = l.at+n, l.top+n }

// Current returns the row under the cursor.
func (l *List[T]) Current() (row T, ok bool) {
	if l.at < 0 || l.at >= len(l.win.rows) {
		return row, false
	}
	return l.win.rows[l.at], true
}

// Move moves the cursor by n rows, now or when the rows are there, and asks
// for the page that comes next.
func (l *List[T]) Move(n int) tea.Cmd {
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

// To moves to the row with that id; ok is false if it is not in memory.
func (l *List[T]) To(id string) (cmd tea.Cmd, ok bool) {
	i := l.win.index(l.ord, id)
	if i < 0 || !l.Settled() {
		return nil, false
	}
	return l.Move(i - l.at), true
}

// Page moves by n screens; the cursor stays on its line of the screen. A row of the screen
// before stays in view, except with Apart.
func (l *List[T]) Page(n int) tea.Cmd {
	step := max(l.height-1, 1)
	if l.Apart {
		step = l.height
		if n > 0 && l.win.end && l.top+step >= len(l.win.rows) {
			return nil // the last page, which may be short
		}
		l.at = l.top
	}
	l.top = max(l.top+n*step, 0)
	return l.Move(n * step)
}

// Home and Bottom go to the first and the last row of the listing.
func (l *List[T]) Home() tea.Cmd {
	l.pending = 0
	if l.win.head != "" {
		return l.ask(first)
	}
	l.at = 0
	return nil
}

func (l *List[T]) Bottom() tea.Cmd {
	l.pending = 0
	if !l.win.end && len(l.win.rows) > 0 {
		return l.ask(last)
	}
	l.at = max(len(l.win.rows)-1, 0)
	return nil
}

// Refresh asks for the window again, unless something is asked already.
func (l *List[T]) Refresh() tea.Cmd {
	switch {
	case l.asked != nothing:
		return nil
	case l.answered.IsZero():
		return l.ask(first)
	}
	return l.ask(again)
}

// Rested reports whether the listing may be refreshed again, after what the last
// answer cost.
func (l *List[T]) Rested() bool { return l.host.Now().Sub(l.answered) >= RestFactor*l.took }

// Visible returns the rows to draw in height lines, and which of them the cursor is on.
func (l *List[T]) Visible(height int) (rows []T, current int) {
	l.height = height
	n := len(l.win.rows)
	l.at = min(max(l.at, 0), max(n-1, 0))
	if height < 1 { // never drawn
		return nil, 0
	}
	if l.top = min(l.top, l.at); !l.Apart {
		l.top = min(l.top, max(n-height, 0))
	}
	l.top = max(l.top, l.at-height+1, 0)
	return l.win.rows[l.top:min(l.top+height, n)], l.at - l.top
}

const (
	// Patience is how long the program waits for an answer of the server.
	Patience = time.Minute
	// SlowAfter is how long a question is open before a spinner shows.
	SlowAfter = 150 * time.Millisecond

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

// Spot says which rows of a listing to read.
type Spot struct {
	After string // the cursor of the row before the first one; empty: from either end
	Back  bool   // towards the start of the listing, and not towards its end
	Limit int    // rows
}

// Source reads rows of a listing from the server.
type Source[T any] func(context.Context, Spot) iter.Seq2[T, error]

// Answer is the message with the answer to a question. A list drops all but the
// answer to its latest question.
type Answer[T any] struct {
	list, seq int
	Rows      []T
	head      string // of prev and last: where the rows begin
	End       bool   // nothing comes after the rows
	Err       error
	took      time.Duration
}

// slowMsg turns the spinner of a question that is still open.
type slowMsg struct{ list, seq int }

// ask gives up the open question, and puts q in its place. If the answer takes longer than
// SlowAfter, the spinner shows.
func (l *List[T]) ask(q question) tea.Cmd {
	l.Stop()
	ctx, cancel := context.WithTimeout(l.host.Context(), Patience)
	l.asked, l.cancel = q, cancel
	work, list, seq, now := l.work(q), l.id, l.seq, l.host.Now
	return tea.Batch(func() tea.Msg {
		defer cancel()
		start := now()
		a := work(ctx)
		a.list, a.seq, a.took = list, seq, now().Sub(start)
		return a
	}, l.host.Later(SlowAfter, slowMsg{list, seq}))
}

// work returns a function that answers the question. It uses none of the list's state,
// since it runs beside the model.
func (l *List[T]) work(q question) func(context.Context) Answer[T] {
	src, ord, w := l.src, l.ord, l.win
	to := Spot{Limit: PageRows}
	switch n := len(w.rows); q {
	case next:
		if to.After = w.head; n > 0 {
			to.After = ord.Cursor(w.rows[n-1])
		}
	case prev, last:
		if to.Back = true; q == prev && n > 0 {
			to.After = ord.Cursor(w.rows[0])
		}
		return func(ctx context.Context) Answer[T] { return readBack(ctx, src, ord, to) }
	case again:
		to = Spot{After: w.head, Limit: max(n, PageRows)}
	}
	return func(ctx context.Context) Answer[T] { return Read(ctx, src, to) }
}

// Read reads up to to.Limit rows; all, if that is 0.
func Read[T any](ctx context.Context, src Source[T], to Spot) Answer[T] {
	a := Answer[T]{End: true}
	for row, err := range src(ctx, to) {
		if err != nil {
			return Answer[T]{Err: err}
		}
		if a.Rows = append(a.Rows, row); len(a.Rows) == to.Limit {
			a.End = false
			break
		}
	}
	return a
}

// readBack reads towards the start, and reverses the rows. It asks for one row more than
// the page has: the page begins after the cursor of that row.
func readBack[T any](ctx context.Context, src Source[T], ord Order[T], to Spot) Answer[T] {
	page := to.Limit
	to.Limit++
	a := Read(ctx, src, to)
	if len(a.Rows) > page {
		a.head = ord.Cursor(a.Rows[page])
		a.Rows = a.Rows[:page]
	}
	slices.Reverse(a.Rows)
	a.End = to.After == ""
	return a
}

// Take takes an answer; ok is false if it is not the answer to the latest question.
func (l *List[T]) Take(a Answer[T]) (cmd tea.Cmd, ok bool) {
	if a.list != l.id || a.seq != l.seq {
		return nil, false
	}
	q := l.asked
	l.Stop()
	l.took = a.took
	if l.err = a.Err; a.Err != nil {
		l.pending = 0
		if l.another { // the rows belong to the previous listing, and those of this one failed to load
			l.win, l.at, l.top, l.another = window[T]{}, 0, 0, false
		}
		return nil, true
	}
	l.another = false
	l.answered = l.host.Now()
	switch q {
	case first:
		l.win, l.at, l.top = window[T]{rows: a.Rows, end: a.End}, 0, 0
	case last:
		l.win, l.at = window[T]{rows: a.Rows, head: a.head, end: true, from: -min(len(a.head), 1)}, len(a.Rows)-1
	case next:
		l.win.end = a.End
		l.shift(l.win.append(l.ord, a.Rows, l.at))
	case prev:
		l.shift(l.win.prepend(l.ord, a.Rows, a.head, l.at))
	case again:
		if len(a.Rows) == 0 && l.win.head != "" {
			return l.ask(last), true // all that was here has gone
		}
		l.replace(window[T]{rows: a.Rows, head: l.win.head, end: a.End, from: l.win.from})
	}
	p := l.pending
	l.pending = 0
	return l.Move(p), true
}

// replace puts the rows that were asked for again in place of the old ones. The cursor
// stays on its row, and the row on its line of the screen.
func (l *List[T]) replace(w window[T]) {
	row, ok := l.Current()
	l.win = w
	if !ok {
		return
	}
	if i := w.index(l.ord, l.ord.ID(row)); i >= 0 {
		l.shift(i - l.at)
	}
}

// Other handles the messages that are not answers: it turns the spinner.
func (l *List[T]) Other(msg tea.Msg) tea.Cmd {
	if msg, ok := msg.(slowMsg); ok && msg.list == l.id && msg.seq == l.seq && l.asked != nothing {
		l.slow = true
		l.spin++
		return l.host.Later(spinEvery, msg)
	}
	return nil
}
