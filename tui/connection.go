package tui

import (
	"context"
	"iter"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/health"
	"gatehouse/tui/say"
	"gatehouse/tui/trail"
)

const (
	refreshEvery = 2 * time.Second
	retryMax     = 15 * time.Second
)

// statusMsg is what the server says of itself.
type statusMsg struct {
	status api.Status
	err    error
}

// tick does what is due each second: a refresh or, without a connection, a retry.
func (m *model) tick() tea.Cmd {
	now := m.now()
	cmds := []tea.Cmd{m.later(time.Second, tickMsg{})}
	switch {
	case m.lost != nil:
		if !now.Before(m.retryAt) {
			cmds = append(cmds, m.askStatus())
		}
	case !m.paused && !now.Before(m.due):
		m.due = now.Add(refreshEvery)
		cmds = append(cmds, m.askStatus())
		if m.screen().rested() {
			cmds = append(cmds, m.screen().refresh())
		}
		cmds = append(cmds, m.pane.refresh())
	}
	return tea.Batch(cmds...)
}

func (m *model) askStatus() tea.Cmd {
	if m.asking {
		return nil
	}
	m.asking = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, retryMax)
		defer cancel()
		s, err := m.client.Status(ctx)
		return statusMsg{s, err}
	}
}

// tookStatus takes the answer to askStatus.
func (m *model) tookStatus(msg statusMsg) tea.Cmd {
	m.asking, m.statusErr = false, msg.err
	was := m.lost != nil
	if m.heard(msg.err); msg.err != nil {
		return nil
	}
	m.status, m.known, m.heardAt = msg.status, true, m.now()
	if was {
		m.say("Connected again.")
		return m.screen().refresh()
	}
	return nil
}

// heard records what the error of any answer, or nil, says about the connection.
func (m *model) heard(err error) {
	if !say.Unreachable(err) {
		if err == nil {
			m.lost, m.tries = nil, 0
		}
		return
	}
	again := m.lost != nil && m.now().Before(m.retryAt)
	if m.lost = err; again {
		return // a key asked for something: that was no retry
	}
	wait := min(time.Second<<min(m.tries, 4), retryMax)
	m.tries++
	m.retryAt = m.now().Add(wait)
}

// client is what the screens ask of the server. *api.Client is one.
type client interface {
	box.Server
	trail.Log
	health.Counter
	Status(context.Context) (api.Status, error)
	Users(context.Context, api.UserQuery) iter.Seq2[api.User, error]
	UserCount(context.Context, api.UserQuery) (api.Count, error)
	User(ctx context.Context, uid string) (api.UserDetail, error)
	SetPassword(ctx context.Context, uid, password string) (api.Password, error)
	DisableUser(ctx context.Context, uid string) error
	EnableUser(ctx context.Context, uid string) error
	UnlockUser(ctx context.Context, uid string) error
}

var _ client = (*api.Client)(nil)
