package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// place names a screen in the table of keys.
type place int

const (
	onUsers  place = 1 << iota
	onTokens       // everybody's
	onStale
	onUser  // one user's tokens
	onToken // one token
	onEvents
	onStatus

	ofTokens = onTokens | onStale | onUser
	onLists  = onUsers | ofTokens // with marks
	onRows   = onLists | onEvents
	anywhere = onRows | onToken | onStatus
)

// screen is what fills the frame between the tabs and the bottom lines.
type screen interface {
	// What it looks like, in so many columns and lines.
	place() place
	title(width int) string
	note() string // at the left of the notice line: what is marked
	body(width, height int) []string

	// Its life: start when it is shown, for the first time or again, stop when it
	// is no longer. answer gets all messages, also those that are not for it.
	start() tea.Cmd
	refresh() tea.Cmd
	stop()
	answer(tea.Msg) tea.Cmd

	// What is known of the server's last answer.
	rested() bool                    // it is time for a refresh that nobody asked for
	answered() time.Time             // zero: not yet
	failure() error                  // nil: it was no error
	spin() (frame string, slow bool) // the spinner, if the next answer is late

	// The cursor. The moves are by n rows, n pages, to the first and the last row.
	move(n int) tea.Cmd
	page(n int) tea.Cmd
	home() tea.Cmd
	bottom() tea.Cmd
	settled() bool // no move waits for rows

	// What keys act on: mostly the row under the cursor.
	open() (screen, bool)       // what enter shows
	name() (id string, ok bool) // what y copies
	user() (api.User, bool)     // whom l and P are about
	doomed() (revocation, bool) // what R would revoke
}

// rows is a screen with marks, a filter and an order.
type rows interface {
	screen
	toggle() tea.Cmd // the mark of the row under the cursor
	markShown()      // the rows on the screen
	unmark() bool    // all; false: there was no mark

	edit()                 // the filter: until enter or esc, filterKey takes the keys
	filtering() bool       // it is being edited
	filterKey(key) tea.Cmd // edits it
	filtered() bool        // it is not empty
	clearFilter() tea.Cmd

	sort() tea.Cmd // in the next order
	turn() tea.Cmd // in the reverse order
}
