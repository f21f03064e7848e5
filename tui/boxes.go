package tui

import (
	"errors"
	"sync"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/revocation"
)

// host is the model as boxes see it.
type host struct{ *model }

var _ box.Host = host{}

func (h host) Server() box.Server     { return h.client }
func (h host) Files() *sync.WaitGroup { return &h.files }
func (h host) Open(b box.Box)         { h.box = b }
func (h host) Close()                 { h.box = nil }
func (h host) Say(s string)           { h.say(s) }
func (h host) Complain(err error)     { h.complain(err) }
func (h host) Heard(err error)        { h.heard(err) }
func (h host) Copy(s string) tea.Cmd  { return h.copy(s) }
func (h host) Changed() tea.Cmd       { return h.screen().refresh() }
func (h host) Revoked() tea.Cmd       { return tea.Batch(h.askStatus(), h.Changed()) }

func (h host) Next() int {
	h.boxes++
	return h.boxes
}

func (h host) Paint() box.Paint {
	return box.Paint{Title: h.st.title.Render, Heads: h.st.heads.Render, Warn: h.st.warn.Render}
}

func (h host) May(least api.Role) error {
	if need := (binding{changes: true, least: least}); !h.may(need) {
		return errors.New(h.refusal(need))
	}
	return nil
}

func (h host) Unmark() {
	if r, ok := h.screen().(rows); ok {
		r.unmark()
	}
}

// revoke asks before a revocation.
func (m *model) revoke(t revocation.Target) tea.Cmd {
	b, cmd := box.NewRevoke(host{m}, t)
	m.box = b
	return cmd
}
