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
	place() place
	title(width int) string
	note() string // the bottom line's left: what is marked
	body(width, height int) []string

	start() tea.Cmd // shown, for the first time or again
	refresh() tea.Cmd
	stop() // no longer shown
	answer(tea.Msg) tea.Cmd

	rested() bool // may be refreshed without being asked to
	answered() time.Time
	failure() error
	spin() (string, bool)

	move(n int) tea.Cmd
	page(n int) tea.Cmd
	home() tea.Cmd
	bottom() tea.Cmd
	settled() bool // the cursor is where the keys have sent it

	open() (screen, bool)       // what enter shows
	name() (id string, ok bool) // what y copies: of the row under the cursor
	user() (api.User, bool)     // whom l and P are about
	doomed() (revocation, bool) // what R would revoke
}

// rows is a screen with marks and a filter.
type rows interface {
	screen
	toggle() tea.Cmd
	markShown()
	unmark() bool
	edit()
	filtering() bool
	filterKey(key) tea.Cmd
	filtered() bool
	clearFilter() tea.Cmd
	sort() tea.Cmd
	turn() tea.Cmd
}
