package tui

import (
	"context"
	"strings"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// formBox asks for a new user. The server makes the password.
type formBox struct {
	m       *model
	id      int
	fields  [2]field // uid, name
	at      int
	working bool
	err     error
}

func (b *formBox) key(k key) tea.Cmd {
	if b.working {
		return nil
	}
	switch k.name {
	case "esc":
		b.m.close()
		b.m.say("Cancelled: no user was made.")
	case "tab", "down", "shift+tab", "up":
		b.at = 1 - b.at
	case "enter":
		if b.at == 0 {
			b.at = 1
			return nil
		}
		if b.fields[0].value == "" {
			b.at = 0
			return nil
		}
		b.working, b.err = true, nil
		n := api.NewUser{UID: b.fields[0].value, Name: b.fields[1].value}
		return b.m.perform(b.id, func(ctx context.Context) (string, error) { return b.m.client.AddUser(ctx, n) })
	default:
		b.fields[b.at].key(k)
	}
	return nil
}

func (b *formBox) answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(callMsg)
	if !ok || a.box != b.id {
		return nil
	}
	if a.err != nil { // the form stays, to be corrected
		b.m.heard(a.err)
		b.working, b.err, b.at = false, a.err, 0
		return nil
	}
	uid := b.fields[0].value
	return b.m.performed(uid, "Added "+text.Escape(uid)+".", a)
}

func (b *formBox) body(width, height int) []string {
	line := func(i int, name string) string {
		cursor := " "
		if b.at == i {
			cursor = ">"
		}
		return " " + cursor + " " + text.Left(name, 8) + b.fields[i].view(width-12, b.at == i && !b.working)
	}
	out := []string{
		" " + b.m.st.title.Render("New local user: a password is made and shown"),
		line(0, "uid"),
		line(1, "name"),
	}
	switch {
	case b.working:
		return append(out, "", " working …")
	case b.err != nil:
		out = append(out, " "+b.m.st.warn.Render("! "+text.Cut(explain(b.err), width-4)))
	default:
		out = append(out, "")
	}
	return append(out, " enter next, then make the user   esc cancel")
}

const fieldMax = 320 // runes: no uid and no name is longer

// field is a line of text being typed.
type field struct{ value string }

// key edits the line and reports whether it changed. A paste counts as text. Control
// characters, which no name has, are left out.
func (f *field) key(k key) bool {
	before := f.value
	switch {
	case k.text != "":
		f.add(k.text)
	case k.name == "backspace", k.name == "ctrl+h":
		r := []rune(f.value)
		f.value = string(r[:max(len(r)-1, 0)])
	case k.name == "ctrl+u":
		f.value = ""
	case k.name == "ctrl+w":
		s := strings.TrimRight(f.value, " ")
		f.value = s[:strings.LastIndexByte(s, ' ')+1]
	}
	return f.value != before
}

func (f *field) add(s string) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(f.value + s); len(r) <= fieldMax {
		f.value = string(r)
	}
}

// view shows the end of the line, where typing happens, in at most width
// columns.
func (f *field) view(width int, editing bool) string {
	s := text.Escape(f.value)
	if editing {
		s += "_"
	}
	if over := text.Width(s) - width; over > 0 {
		s = ansi.TruncateLeft(s, over+1, "…")
	}
	return s
}
