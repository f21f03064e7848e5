// Package darkbackground tells Lip Gloss that the terminal is dark, so that
// nobody asks the terminal.
//
// The init of Bubble Tea v1 asks for the background colour. On a terminal that
// does not answer, that stalls every command of the binary for five seconds,
// and even `serve` writes escape bytes. Go initialises the packages that are
// ready in the order of their import paths, and "gatehouse/…" sorts before
// "github.com/charmbracelet/bubbletea": both wait for Lip Gloss, then this
// package comes first. Whoever imports Bubble Tea imports this package too.
//
// Nothing of ours draws by the background: the sixteen colours of the
// terminal's own theme serve both.
package darkbackground

import "github.com/charmbracelet/lipgloss"

func init() { lipgloss.SetHasDarkBackground(true) }
