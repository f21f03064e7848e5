// Package darkbackground tells Lip Gloss that the terminal is dark, so that
// nobody asks the terminal.
//
// The init of Bubble Tea v1 asks for the background colour. On a terminal that
// does not answer, that stalls every command of the binary for five seconds,
// and even `serve` writes escape bytes. Go initialises the packages that are
// ready in the order of their import paths. Both this package and Bubble Tea
// wait for Lip Gloss, and "gatehouse/…" sorts before
// "github.com/charmbracelet/bubbletea", so this package comes first. Every
// package that imports Bubble Tea must import this one too.
//
// Our screens never depend on the background: they use the sixteen colours of
// the terminal's own theme, which suit both.
package darkbackground

import "github.com/charmbracelet/lipgloss"

func init() { lipgloss.SetHasDarkBackground(true) }
