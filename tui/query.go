package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// roomy is the height from which on a body shows the line of the filter even when that
// is empty.
const roomy = 10

func (t *table[T]) edit()           { t.editing = true }
func (t *table[T]) filtering() bool { return t.editing }
func (t *table[T]) filtered() bool  { return t.filter.value != "" }

// filterKey takes a key while the filter is edited.
func (t *table[T]) filterKey(k key) tea.Cmd {
	switch k.name {
	case "enter":
		t.editing = false
		return nil
	case "esc":
		t.editing = false
		return t.clearFilter()
	case "up":
		return t.move(-1)
	case "down":
		return t.move(1)
	case "pgup":
		return t.page(-1)
	case "pgdown":
		return t.page(1)
	}
	if !t.filter.key(k) {
		return nil
	}
	return t.ask()
}

func (t *table[T]) clearFilter() tea.Cmd {
	if t.filter.value == "" {
		return nil
	}
	t.filter.value = ""
	return t.ask()
}

// filterLine shows the filter, how much it leaves, and the order.
func (t *table[T]) filterLine(width int) string {
	right := t.sorting.String()
	if t.editing || t.filter.value != "" {
		right = strings.TrimLeft(t.matches()+"   "+right, " ")
	}
	room := width - text.Width(right) - 6
	left := strings.Repeat(" ", room+3)
	if t.editing || t.filter.value != "" {
		left = " / " + text.Left(t.filter.view(room, t.editing), room)
	}
	return left + "  " + right
}

// matches says how many rows the filter leaves.
func (t *table[T]) matches() string {
	n := len(t.list.win.rows)
	switch {
	case t.list.asked == first:
		return ""
	case t.list.win.whole():
		return number(n) + " match"
	case t.known:
		return number(t.rows) + " match"
	case t.count != nil: // it is being counted
		return ""
	}
	return "more than " + number(n) + " match"
}

// view is what of a listing is shown, and in which order.
type view struct {
	words   string // the filters
	order   api.Order
	reverse bool
}

// sorted is an order that a listing can have, and its names in both directions.
type sorted struct {
	order    api.Order
	up, down string
}

// sorting is the order that a listing has now.
type sorting struct {
	sorts   []sorted // what s goes through
	nth     int      // of sorts, the one in use
	reverse bool
}

// advance goes on to the next order.
func (s *sorting) advance() { s.nth, s.reverse = (s.nth+1)%len(s.sorts), false }

// changed reports whether the order differs from the first one, ascending.
func (s *sorting) changed() bool { return s.nth != 0 || s.reverse }

func (s *sorting) String() string {
	switch {
	case len(s.sorts) == 0:
		return ""
	case s.reverse:
		return "sort: " + s.sorts[s.nth].down
	}
	return "sort: " + s.sorts[s.nth].up
}

func (t *table[T]) view() view {
	v := view{words: t.filter.value, reverse: t.reverse}
	if len(t.sorts) > 0 {
		v.order = t.sorts[t.nth].order
	}
	return v
}

// sort and turn ask for the listing in the next order, or in the reverse one. Marks
// stay: they are of rows, not of places.
func (t *table[T]) sort() tea.Cmd {
	if len(t.sorts) < 2 {
		return nil
	}
	t.advance()
	return t.ask()
}

func (t *table[T]) turn() tea.Cmd {
	t.reverse = !t.reverse
	return t.ask()
}

// tally is how many rows a listing has. The server counts them only where the number
// is shown: with a filter, or always.
type tally struct {
	count    func(view) func(context.Context) (api.Count, error) // nil: the server does not count these
	always   bool                                                // also without a filter
	rows     int                                                 // if known
	known    bool
	seq      int  // of the latest question
	counting bool // it is open
	cancel   context.CancelFunc
}

// countMsg is the answer to a count.
type countMsg struct {
	list, seq int
	rows      int
	err       error
}

// forget drops the count, and the answer to an open question when it comes.
func (c *tally) forget() {
	if c.cancel != nil {
		c.cancel()
	}
	c.seq++
	c.known, c.counting = false, false
}

// askCount asks the server to count, unless it is asked already.
func (t *table[T]) askCount() tea.Cmd {
	if t.count == nil || t.counting || t.filter.value == "" && !t.always {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.m.ctx, patience)
	t.counting, t.cancel = true, cancel
	list, seq, count := t.list.id, t.seq, t.count(t.view())
	return func() tea.Msg {
		defer cancel()
		n, err := count(ctx)
		return countMsg{list, seq, n.Rows, err}
	}
}

// tookCount takes the answer, if it is to the latest question about the list.
func (c *tally) tookCount(list int, msg countMsg) {
	if msg.list != list || msg.seq != c.seq {
		return
	}
	c.counting = false
	if msg.err == nil { // the listing reports what fails
		c.rows, c.known = msg.rows, true
	}
}
