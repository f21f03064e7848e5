package tui

import (
	"context"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// binding is what a key does, where, and which command does the same.
type binding struct {
	keys    []string
	show    string // the keys as the help writes them
	short   string // for the bottom line; empty: only in the help
	help    string
	on      place
	aims    bool   // is about the row under the cursor, which must be there
	changes bool   // not with --read-only
	twin    string // the command that does the same
	do      func(*model) tea.Cmd
}

func (b binding) has(name string) bool { return slices.Contains(b.keys, name) }

// bindings returns the keys of all screens, the most wanted first.
func bindings(readOnly bool) []binding {
	all := slices.Concat(changeKeys(), moveKeys(), otherKeys())
	if readOnly {
		all = slices.DeleteFunc(all, func(b binding) bool { return b.changes })
	}
	return all
}

func changeKeys() []binding {
	return []binding{
		{keys: []string{"enter"}, show: "enter", short: "open", help: "open what the cursor is on", on: onUsers, aims: true, twin: "gatehouse user show UID", do: openRow},
		{keys: []string{"enter"}, show: "enter", short: "open", help: "open what the cursor is on", on: onTokens | onStale | onUser, aims: true, twin: "gatehouse token list --json", do: openRow},
		{keys: []string{"/"}, show: "/", short: "filter", help: "filter by prefix as you type; enter keeps it, esc clears it", on: onUsers, twin: "gatehouse user list --prefix P", do: filter},
		{keys: []string{"/"}, show: "/", short: "filter", help: "filter by prefix of user, id or name; enter keeps it, esc clears it", on: onTokens | onStale | onUser, do: filter},
		{keys: []string{"R"}, show: "R", short: "revoke", help: "revoke all tokens of the marked users, or of the one under the cursor", on: onUsers, aims: true, changes: true, twin: "gatehouse token revoke --user UID", do: revokeKey},
		{keys: []string{"R"}, show: "R", short: "revoke", help: "revoke the marked tokens, or the one under the cursor", on: onTokens | onStale | onUser | onToken, aims: true, changes: true, twin: "gatehouse token revoke ID", do: revokeKey},
		{keys: []string{"space"}, show: "space", short: "mark", help: "mark or unmark the row under the cursor", on: onLists, aims: true,
			do: func(m *model) tea.Cmd { return m.screen().(rows).toggle() }},
		{keys: []string{"a"}, show: "a", help: "mark all rows on the screen; esc unmarks", on: onLists, aims: true,
			do: func(m *model) tea.Cmd { m.screen().(rows).markShown(); return nil }},
		{keys: []string{"l"}, show: "l", short: "lock", help: "lock the user: tokens and sessions stop; or unlock", on: onUsers | onUser, aims: true, changes: true, twin: "gatehouse user disable UID", do: lockKey},
		{keys: []string{"n"}, show: "n", short: "new", help: "make a local user", on: onUsers, changes: true, twin: "gatehouse user add UID", do: newUserKey},
		{keys: []string{"P"}, show: "P", help: "make a new password for the user", on: onUsers | onUser, aims: true, changes: true, twin: "gatehouse user passwd UID", do: passwordKey},
		{keys: []string{"tab"}, show: "tab", short: "next preset", help: "the next preset: 30d 90d 180d 1y never; shift+tab the one before", on: onStale, twin: "gatehouse token list --idle 90d",
			do: func(m *model) tea.Cmd { return m.screen().(*stale).cycle(1) }},
		{keys: []string{"shift+tab"}, show: "shift+tab", help: "the preset before", on: onStale,
			do: func(m *model) tea.Cmd { return m.screen().(*stale).cycle(-1) }},
	}
}

func moveKeys() []binding {
	move := func(n int) func(*model) tea.Cmd { return func(m *model) tea.Cmd { return m.screen().move(n) } }
	page := func(n int) func(*model) tea.Cmd { return func(m *model) tea.Cmd { return m.screen().page(n) } }
	return []binding{
		{keys: []string{"j", "down"}, show: "j ↓", help: "down", on: anywhere, do: move(1)},
		{keys: []string{"k", "up"}, show: "k ↑", help: "up", on: anywhere, do: move(-1)},
		{keys: []string{"pgdown", "ctrl+d", "ctrl+f"}, show: "pgdn", help: "a page down", on: anywhere, do: page(1)},
		{keys: []string{"pgup", "ctrl+u", "ctrl+b"}, show: "pgup", help: "a page up", on: anywhere, do: page(-1)},
		{keys: []string{"g", "home"}, show: "g", help: "to the first row", on: anywhere, do: func(m *model) tea.Cmd { return m.screen().home() }},
		{keys: []string{"G", "end"}, show: "G", help: "to the last row", on: anywhere, do: func(m *model) tea.Cmd { return m.screen().bottom() }},
		{keys: []string{"esc"}, show: "esc", help: "unmark; else clear the filter", on: onUsers | onTokens | onStale, do: (*model).back},
		{keys: []string{"esc"}, show: "esc", short: "back", help: "unmark; else clear the filter; else go back", on: onUser | onToken, do: (*model).back},
		{keys: []string{"1"}, show: "1", help: "all users", on: anywhere, twin: "gatehouse user list", do: func(m *model) tea.Cmd { return m.goTo(0) }},
		{keys: []string{"2"}, show: "2", help: "all tokens, the longest unused first", on: anywhere, twin: "gatehouse token list", do: func(m *model) tea.Cmd { return m.goTo(1) }},
		{keys: []string{"3"}, show: "3", help: "stale tokens", on: anywhere, twin: "gatehouse token list --idle 90d", do: func(m *model) tea.Cmd { return m.goTo(2) }},
	}
}

func otherKeys() []binding {
	return []binding{
		{keys: []string{"y"}, show: "y", short: "copy", help: "copy the id or uid to the clipboard (OSC 52)", on: anywhere, aims: true, do: copyKey},
		{keys: []string{"Y"}, show: "Y", help: "show the id or uid in full, to select it", on: anywhere, aims: true, do: showKey},
		{keys: []string{"r"}, show: "r", help: "refresh now", on: anywhere, do: func(m *model) tea.Cmd { return tea.Batch(m.askStatus(), m.screen().refresh()) }},
		{keys: []string{"p"}, show: "p", help: "pause the refresh, and go on", on: anywhere, do: func(m *model) tea.Cmd { m.paused = !m.paused; return nil }},
		{keys: []string{"?"}, show: "?", short: "help", help: "all keys of this screen", on: anywhere, do: helpKey},
		{keys: []string{"q"}, show: "q", short: "quit", help: "quit; ctrl+c does so anywhere", on: anywhere, do: func(*model) tea.Cmd { return tea.Quit }},
	}
}

func openRow(m *model) tea.Cmd {
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

func newUserKey(m *model) tea.Cmd {
	m.boxes++
	m.box = &formBox{m: m, id: m.boxes}
	return nil
}

// ask opens a question about the user.
func (m *model) ask(b *askBox) {
	m.boxes++
	b.m, b.id = m, m.boxes
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
			"The latest use: " + ago(m.now(), u.LastUsed),
			"Unlocking brings the tokens back.",
		},
		do: func(ctx context.Context) (string, error) { return "", m.client.DisableUser(ctx, u.UID) },
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
	m.say("Sent to the clipboard (Y shows it): " + text.Escape(s))
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
