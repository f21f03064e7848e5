// Package tui is the terminal UI for an administrator on the host: it shows who holds
// tokens, which of them are stale and which was used last, and revokes them.
//
// It owns the screens, and the rules that keep a slip of the finger from revoking
// anything. It sees the product only through the few calls of its client. It never
// opens the store, never holds a token's secret, and never keeps a whole listing in
// memory: only a window of it, the marked rows (A marks at most 1,000 users; for tokens it
// keeps the filter instead), and the tokens in a revocation (of a filter's, the first 100).
//
// Other packages call only Run. From a key to a revocation, the path is:
//
//	key     model.go      take splits the message into keys (split); model.key gives each
//	                      to the open box, else to the query line, else to the table of
//	                      keys; model.act refuses what the role may not do, and what acts
//	                      on a row while rows are being loaded
//	  |     keys.go       bindings: what R does, where, and its command twin; without R if
//	  |                   --read-only; revokeKey asks the screen what R revokes
//	  v     boxes.go      model.revoke opens the box
//	screen  users.go, tokens.go, token.go
//	  |                   revokes names the tokens: the marked ones, or the row under the
//	  v                   cursor; after A, all that match (a revocation.Target)
//	box     box/revoke.go asks the server what these tokens are now (revocation.LookUp),
//	  |                   lists them with Cancel chosen, and waits for y or for the typed
//	  v                   number (MustType in revocation/ask.go says which)
//	work    box/work.go   has package revocation send it in batches, or as one job of the
//	  |                   server, shows the progress, and stops at esc; the answer comes to
//	  v                   Work.heard
//	server  package server/admin: its comment has the rest of the path
//
// A screen is a table of rows from the server or a sheet of lines (screen.go). A table
// (table.go) has marks and a query: filter, order and count (query.go). Package listing
// has its columns and its list, which has the cursor and a window of the rows, and asks
// for more; an answer to an older question is dropped. On a wide terminal a pane beside
// the rows shows what enter would open (pane.go). connection.go knows whether a server
// answers; draw.go puts the frame together. Package box has the boxes; boxes.go implements
// box.Host, the program as boxes see it. Package health says what Status shows.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	osc52 "github.com/aymanbagabas/go-osc52/v2"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"

	"gatehouse/server/api"
	_ "gatehouse/tui/darkbackground" // before Bubble Tea's init
)

// ErrNoTerminal says that there is nothing to draw on.
var ErrNoTerminal = errors.New("the terminal UI needs a terminal; `gatehouse user list --json` and `gatehouse token list --json` print the same to a pipe")

// Options of Run. The zero value works on the process's own terminal.
type Options struct {
	ReadOnly bool   // no key changes anything
	Offline  bool   // the client works on the store, without a server
	Version  string // of this binary, to compare with the server's
	ASCII    bool   // draw with nothing else
	Plain    bool   // lines instead of a screen
	In       io.Reader
	Out      io.Writer
	Now      func() time.Time // also decides in which zone times are shown
}

// Run shows the UI until the administrator quits or ctx ends, which is not an error. It
// returns ErrNoTerminal if In or Out is a file but not a terminal.
func Run(ctx context.Context, c *api.Client, o Options) error {
	if o.In == nil {
		o.In = os.Stdin
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Plain {
		return runPlain(ctx, c, o)
	}
	for _, end := range []any{o.In, o.Out} {
		if f, ok := end.(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
			return ErrNoTerminal
		}
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(run, c, o, newStyles(lipgloss.NewRenderer(o.Out)))
	m.clipboard = func(s string) error {
		_, err := osc52.New(s).WriteTo(o.Out)
		return err
	}
	// Signals end ctx. Bubble Tea's own handler would send a second farewell,
	// which nobody receives, and wait for it forever.
	p := tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithAltScreen(), tea.WithoutSignalHandler())
	// Quit, not tea.WithContext: a killed program closes its input while the
	// reading goroutine is still in it, and leaves the last frame half drawn.
	defer context.AfterFunc(ctx, p.Quit)()
	defer func() { // a file that is half written is removed
		cancel()
		m.files.Wait()
	}()
	if _, err := p.Run(); err != nil && ctx.Err() == nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("run the terminal UI: %w", err)
	}
	return nil
}
