package tui

import (
	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// view is what of a listing is shown, and in which order.
type view struct {
	prefix  string
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
	v := view{prefix: t.filter.value, reverse: t.reverse}
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
