package tui

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

func openRow(m *model) tea.Cmd {
	if s, ok := m.screen().(*events); ok {
		s.show()
		return nil
	}
	if s, ok := m.screen().open(); ok {
		return m.push(s)
	}
	return nil
}

func filter(m *model) tea.Cmd {
	m.screen().(rows).edit()
	return nil
}

func revokeKey(m *model) tea.Cmd {
	r, ok := m.screen().doomed()
	if !ok {
		return nil
	}
	b, cmd := newRevokeBox(m, r)
	m.box = b
	return cmd
}

func revokeAllKey(m *model) tea.Cmd {
	b, cmd := newRevokeBox(m, m.screen().(*stale).matching())
	m.box = b
	return cmd
}

// pauseKey stops the refresh. Going on, what was missed comes at once.
func pauseKey(m *model) tea.Cmd {
	m.paused = !m.paused
	if m.paused {
		if s, ok := m.screen().(*events); ok {
			return s.follow()
		}
		return nil
	}
	return tea.Batch(m.askStatus(), m.screen().refresh())
}

func newUserKey(m *model) tea.Cmd {
	m.boxes++
	m.box = &formBox{m: m, id: m.boxes}
	return nil
}

// ask opens a question about the user.
func (m *model) ask(b *askBox) {
	m.boxes++
	b.m, b.id, b.asked = m, m.boxes, m.now()
	m.box = b
}

func lockKey(m *model) tea.Cmd {
	u, ok := m.screen().user()
	if !ok {
		return nil
	}
	name := text.Escape(u.UID)
	if u.State == api.StateDisabled {
		m.ask(&askBox{
			question: "Unlock " + name + "?", verb: "unlock", done: "Unlocked " + name + ".",
			lines: []string{count(u.Tokens, "token") + " will work again."},
			do:    func(ctx context.Context) (string, error) { return "", m.client.EnableUser(ctx, u.UID) },
		})
		return nil
	}
	m.ask(&askBox{
		question: "Lock " + name + "?", verb: "lock", done: "Locked " + name + ".",
		lines: []string{
			count(u.Tokens, "token") + " and all sessions stop at once.",
			"The latest use: " + lastUse(m.now(), u),
			"Unlocking brings the tokens back.",
		},
		do: func(ctx context.Context) (string, error) { return "", m.client.DisableUser(ctx, u.UID) },
	})
	return nil
}

func unlockKey(m *model) tea.Cmd {
	u, ok := m.screen().user()
	if !ok {
		return nil
	}
	name := text.Escape(u.UID)
	m.ask(&askBox{
		question: "Let " + name + " log in again?", verb: "lift", done: name + " may log in again.",
		lines: []string{"Lifts the delay after too many bad passwords."},
		do:    func(ctx context.Context) (string, error) { return "", m.client.UnlockUser(ctx, u.UID) },
	})
	return nil
}

func passwordKey(m *model) tea.Cmd {
	u, ok := m.screen().user()
	if !ok {
		return nil
	}
	name := text.Escape(u.UID)
	m.ask(&askBox{
		uid: u.UID, question: "Make a new password for " + name + "?", verb: "make", done: "The password of " + name + " is changed.",
		lines: []string{"The old password and all sessions end at once.", "Tokens go on working."},
		do:    func(ctx context.Context) (string, error) { return m.client.SetPassword(ctx, u.UID, "") },
	})
	return nil
}

func copyKey(m *model) tea.Cmd {
	s, ok := m.screen().name()
	if !ok {
		return nil
	}
	m.say(text.Escape(s) + " sent to the clipboard (Y shows it)")
	return m.copy(s)
}

func showKey(m *model) tea.Cmd {
	s, ok := m.screen().name()
	if !ok {
		return nil
	}
	m.box = &textBox{m: m, title: "To select and copy:", lines: []string{"", s}}
	return nil
}

func helpKey(m *model) tea.Cmd {
	var lines []string
	for _, b := range m.keys {
		if b.on&m.screen().place() == 0 {
			continue
		}
		s := text.Left(b.show, 10) + b.help
		lines = append(lines, s)
		if b.twin != "" {
			lines = append(lines, "          = "+b.twin)
		}
	}
	m.box = &textBox{m: m, title: "Keys of this screen, and the commands that do the same", lines: lines}
	return nil
}
