package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

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
