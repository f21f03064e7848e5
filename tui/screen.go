package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
)

// place names a screen in the table of keys.
type place int

const (
	onUsers    place = 1 << iota
	onTokens         // everybody's
	onReview         // tokens
	onAccounts       // Review's users
	onNetworks       // Review's events
	onUser           // one user's tokens
	onToken          // one token
	onEvents
	onStatus

	ofTokens = onTokens | onReview | onUser
	ofUsers  = onUsers | onAccounts
	onLists  = ofUsers | ofTokens // with marks
	ofEvents = onEvents | onNetworks
	onRows   = onLists | ofEvents
	anywhere = onRows | onToken | onStatus
)

// screen is what fills the frame between the tabs and the bottom lines.
type screen interface {
	// How it looks, in that many columns and lines.
	place() place
	title(width int) string
	note() string // at the left of the notice line: what is marked
	body(width, height int) []string

	// Each time the screen is shown, start is called, and then stop when it is hidden.
	// answer gets all messages, also those for other screens.
	start() tea.Cmd
	refresh() tea.Cmd
	stop()
	answer(tea.Msg) tea.Cmd

	// What is known about the server's last answer.
	rested() bool                    // it is time for a refresh that nobody asked for
	answered() time.Time             // zero: not yet
	failure() error                  // nil: it was not an error
	spin() (frame string, slow bool) // the spinner, if the next answer is late

	// The cursor moves by n rows, by n pages, to the first row, and to the last one.
	move(n int) tea.Cmd
	page(n int) tea.Cmd
	home() tea.Cmd
	bottom() tea.Cmd
	settled() bool // no move waits for rows, and no other listing is on its way

	// What keys act on: mostly the row under the cursor.
	open() (screen, bool)               // what enter shows
	name() (id string, ok bool)         // what y copies
	user() (api.User, bool)             // the user that l, U and P act on
	holder() string                     // the uid of the user that u opens; empty: none
	revokes() (revocation.Target, bool) // what R would revoke
}

// rows is a screen with marks, a filter and an order.
type rows interface {
	screen
	toggle() tea.Cmd                        // the mark of the row under the cursor
	markShown()                             // the rows on the screen
	markAll() (cmd tea.Cmd, refused string) // all that match; refused says why not
	unmark() bool                           // all; false: there was no mark

	edit()                 // the filter: until enter or esc, filterKey takes the keys
	filtering() bool       // it is being edited
	filterKey(key) tea.Cmd // edits it
	filtered() bool        // it is not empty
	clearFilter() tea.Cmd

	numbered(n int) (tea.Cmd, bool) // puts the cursor on a row that spoken has numbered, from 0
	markedAt(n int) bool            // it is marked
	markedWhole() bool              // all that match are, as one set
	marksSet() int                  // how many
	setFilter(string) tea.Cmd       // instead of the one there is
	spoken(height int) []string     // the rows in words

	click(line int) (cmd tea.Cmd, was, ok bool) // on a line of the body

	exported() box.Listing // all that it lists
	twin() string          // the command that lists the same; empty: there is none
	flags() (string, bool) // the filters of that; false: no flags select the same

	sort() tea.Cmd // in the next order
	turn() tea.Cmd // in the reverse order
}

// sheet is a screen of lines that scroll, without a cursor: what the screens
// without rows have in common.
type sheet struct{ top, height, below int }

func (s *sheet) move(n int) tea.Cmd {
	s.top = max(s.top+n, 0)
	return nil
}

func (s *sheet) page(n int) tea.Cmd { return s.move(n * max(s.height-1, 1)) }

func (s *sheet) home() tea.Cmd {
	s.top = 0
	return nil
}

func (s *sheet) bottom() tea.Cmd { return s.move(1 << 20) }

func (s *sheet) settled() bool                      { return true }
func (s *sheet) spin() (string, bool)               { return "", false }
func (s *sheet) open() (screen, bool)               { return nil, false }
func (s *sheet) name() (string, bool)               { return "", false }
func (s *sheet) user() (api.User, bool)             { return api.User{}, false }
func (s *sheet) holder() string                     { return "" }
func (s *sheet) revokes() (revocation.Target, bool) { return revocation.Target{}, false }

// note says how many lines do not show.
func (s *sheet) note() string {
	if s.below == 0 {
		return ""
	}
	return say.Count(s.below, "more line") + " below: j"
}

// window returns the lines to draw in height lines.
func (s *sheet) window(lines []string, height int) []string {
	s.height = height
	s.top = min(s.top, max(len(lines)-height, 0))
	s.below = max(len(lines)-s.top-height, 0)
	return lines[s.top:min(s.top+height, len(lines))]
}
