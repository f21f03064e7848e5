// Package tui is the terminal UI for an administrator on the host: it shows who holds
// tokens, which of them are stale and which was used last, and revokes them.
//
// It owns the screens and the rules that keep a slip of the finger from
// revoking anything. It sees the product through the few calls of its client
// alone: it never opens the store, never holds a token's secret, and keeps a
// window of a listing in memory, however long the listing is.
//
// Run is all that others call. Inside, model (model.go, drawn by draw.go) takes the
// messages and routes them:
//
//   - keys, by a table (keys.go, actions.go), to the screen that is shown. A screen
//     is a table of rows from the server (users, tokens, stale, user, events) or a sheet
//     of lines (token, status). A table has a list with a cursor, which keeps a window of
//     the rows (window.go) and asks for more (question.go).
//   - while a box is open (a question, a form, a text; box.go, form.go, revoke_box.go),
//     all keys to that.
//   - answers of the server, to whoever asked. Each question carries a number, and an
//     answer to any but the latest is dropped.
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
var ErrNoTerminal = errors.New("the terminal UI needs a terminal; `gatehouse user list --json` and `gatehouse token list --json` say the same to a pipe")

// Options of Run. The zero value works on the process's own terminal.
type Options struct {
	ReadOnly bool   // no key changes anything
	Offline  bool   // the client works on the store, without a server
	Version  string // of this binary, to compare with the server's
	ASCII    bool   // draw with nothing else
	In       io.Reader
	Out      io.Writer
	Now      func() time.Time // also decides in which zone times are shown
}

// Run shows the UI until the administrator quits or ctx ends, which is no
// error. It returns ErrNoTerminal when In or Out is a file but no terminal.
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
	// which nobody takes any more, and wait for that for ever.
	p := tea.NewProgram(m, tea.WithInput(o.In), tea.WithOutput(o.Out), tea.WithAltScreen(), tea.WithoutSignalHandler())
	// Quit, not tea.WithContext: a killed program closes its input while the
	// reading goroutine is still in it, and leaves the last frame half drawn.
	defer context.AfterFunc(ctx, p.Quit)()
	if _, err := p.Run(); err != nil && ctx.Err() == nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("run the terminal UI: %w", err)
	}
	return nil
}
