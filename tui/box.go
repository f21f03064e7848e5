package tui

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/tui/listing"
	"gatehouse/tui/text"
)

// box lies above the screens and takes every key while it is open. It closes
// by m.close.
type box interface {
	key(key) tea.Cmd
	answer(tea.Msg) tea.Cmd
	body(width, height int) []string
}

// glance is the shortest time in which somebody can have seen a question. A key that
// comes sooner was pressed before the question was there.
const glance = 150 * time.Millisecond

func (m *model) seen(asked time.Time) bool { return m.now().Sub(asked) >= glance }

// confirms reports whether k is a y that somebody typed on its own: not one of
// several keys that came in one message, as from a held key or a paste.
func confirms(k key) bool { return k.name == "y" && !k.merged && !k.paste }

// callMsg is the answer to the one call of an askBox or a formBox.
type callMsg struct {
	box      int
	password string
	err      error
}

// call makes a change on the server. It may return a new password.
type call func(context.Context) (password string, err error)

func (m *model) perform(id int, do call) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
		defer cancel()
		p, err := do(ctx)
		return callMsg{id, p, err}
	}
}

// performed closes the box of a call: with the password, if one was made, in a
// box of its own.
func (m *model) performed(uid, done string, msg callMsg) tea.Cmd {
	m.close()
	m.heard(msg.err)
	if msg.err != nil {
		m.complain(msg.err)
		return nil
	}
	m.say(done)
	if msg.password != "" {
		m.box = &secretBox{m: m, uid: uid, password: msg.password}
	}
	return m.screen().refresh()
}

// askBox asks before a change of a user.
type askBox struct {
	m              *model
	id             int
	asked          time.Time
	uid            string
	question, verb string
	lines          []string
	do             call
	done           string // what to say afterwards
	working        bool
}

func (b *askBox) key(k key) tea.Cmd {
	switch {
	case b.working: // what was asked for cannot be taken back
		return nil
	case confirms(k) && b.m.seen(b.asked):
		b.working = true
		return b.m.perform(b.id, b.do)
	}
	b.m.close()
	b.m.say("Cancelled: nothing was changed.")
	return nil
}

func (b *askBox) answer(msg tea.Msg) tea.Cmd {
	if msg, ok := msg.(callMsg); ok && msg.box == b.id {
		return b.m.performed(b.uid, b.done, msg)
	}
	return nil
}

func (b *askBox) body(width, height int) []string {
	out := []string{" " + b.m.st.title.Render(text.Cut(b.question, width-1))}
	for _, l := range b.lines {
		out = append(out, "   "+text.Cut(l, width-3))
	}
	if b.working {
		return append(out, "", " working …")
	}
	return append(out, "", " > [ Cancel ]    y "+b.verb)
}

// secretBox shows a new password, this once. Only esc closes it: a key still
// held from the question before must not.
type secretBox struct {
	m             *model
	uid, password string
	sent          bool
}

func (b *secretBox) key(k key) tea.Cmd {
	switch {
	case k.name == "esc":
		b.m.close()
	case k.name == "y" && !k.paste:
		b.sent = true
		return b.m.copy(b.password)
	}
	return nil
}

func (b *secretBox) answer(tea.Msg) tea.Cmd { return nil }

func (b *secretBox) body(width, height int) []string {
	sent := ""
	if b.sent {
		sent = "   sent to the clipboard"
	}
	return []string{
		" The new password of " + text.Cut(b.uid, width-23) + ":",
		"",
		"   " + text.Escape(b.password),
		"",
		" It is shown only once.",
		" y copy   esc close" + sent,
	}
}

// textBox shows lines, and scrolls when there are many.
type textBox struct {
	m           *model
	title       string
	lines       []string
	open        func() tea.Cmd // what enter does; nil: it closes, as other keys do
	top, height int
}

func (b *textBox) key(k key) tea.Cmd {
	switch k.name {
	case "j", "down":
		b.top++
	case "k", "up":
		b.top--
	case "pgdown", "space":
		b.top += b.height
	case "pgup":
		b.top -= b.height
	case "g", "home":
		b.top = 0
	case "G", "end":
		b.top = len(b.lines)
	default:
		b.m.close()
		if k.name == "enter" && b.open != nil {
			return b.open()
		}
	}
	return nil
}

func (b *textBox) answer(tea.Msg) tea.Cmd { return nil }

func (b *textBox) body(width, height int) []string {
	b.height = max(height-3, 1)
	b.top = max(min(b.top, len(b.lines)-b.height), 0)
	out := []string{" " + b.m.st.title.Render(text.Cut(b.title, width-1))}
	for _, l := range b.lines[b.top:min(b.top+b.height, len(b.lines))] {
		out = append(out, "   "+text.Cut(l, width-3))
	}
	more := ""
	if len(b.lines) > b.height {
		more = "j k scroll   "
	}
	if b.open != nil {
		more += "enter open   "
	}
	return append(out, "", " "+more+"esc close")
}
