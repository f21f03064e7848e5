package tui

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// formBox asks for a new user. The server makes the password.
type formBox struct {
	m       *model
	id      int
	fields  [2]text.Field // uid, name
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
		if b.fields[0].Value == "" {
			b.at = 0
			return nil
		}
		b.working, b.err = true, nil
		n := api.NewUser{UID: b.fields[0].Value, Name: b.fields[1].Value}
		return b.m.perform(b.id, func(ctx context.Context) (string, error) { return b.m.client.AddUser(ctx, n) })
	default:
		b.fields[b.at].Key(k.name, k.text)
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
	uid := b.fields[0].Value
	return b.m.performed(uid, "Added "+text.Escape(uid)+".", a)
}

func (b *formBox) body(width, height int) []string {
	line := func(i int, name string) string {
		cursor := " "
		if b.at == i {
			cursor = ">"
		}
		return " " + cursor + " " + text.Left(name, 8) + b.fields[i].View(width-12, b.at == i && !b.working)
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
