package tui

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

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
