package tui

import (
	"context"
	"errors"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// account is what a formBox makes.
type account struct {
	title  string
	arrow  string // leads to the other kind, in words
	names  []string
	needed int // how many of the fields must not be empty
	least  api.Role
	make   func(context.Context, client, [4]text.Field) (password string, err error)
}

var (
	localUser = &account{
		title: "New local user: a password is made and shown", arrow: "→ service account",
		names: []string{"uid", "name"}, needed: 1, least: api.Admin,
		make: func(ctx context.Context, c client, v [4]text.Field) (string, error) {
			return c.AddUser(ctx, api.NewUser{UID: v[0].Value, Name: v[1].Value})
		},
	}
	service = &account{
		title: "New service account, for a program", arrow: "← local user",
		names: []string{"name", "owner", "successor", "about"}, needed: 2, least: api.Operator,
		make: func(ctx context.Context, c client, v [4]text.Field) (string, error) {
			_, err := c.AddService(ctx, api.NewService{Name: v[0].Value, Owner: v[1].Value, Successor: v[2].Value, Description: v[3].Value})
			return "", err
		},
	}
)

// formBox asks for a new local user, whose password the server makes, or for a new service
// account.
type formBox struct {
	m       *model
	id      int
	account *account
	fields  [4]text.Field // in the order of account.names
	at      int
	working bool
	err     error
}

func newForm(m *model) *formBox {
	m.boxes++
	b := &formBox{m: m, id: m.boxes, account: localUser}
	if b.refused() != nil {
		b.account = service
	}
	return b
}

// refused says why the role may not make such an account.
func (b *formBox) refused() error {
	if need := (binding{changes: true, least: b.account.least}); !b.m.may(need) {
		return errors.New(b.m.forbidden(need))
	}
	return nil
}

func (b *formBox) key(k key) tea.Cmd {
	if b.working {
		return nil
	}
	fields := len(b.account.names)
	switch k.name {
	case "esc":
		b.m.close()
		b.m.say("Cancelled: no user was made.")
	case "tab", "down":
		b.at = (b.at + 1) % fields
	case "shift+tab", "up":
		b.at = (b.at + fields - 1) % fields
	case "left":
		b.to(localUser)
	case "right":
		b.to(service)
	case "enter":
		if b.at < fields-1 {
			b.at++
			return nil
		}
		return b.make()
	default:
		b.fields[b.at].Key(k.name, k.text)
	}
	return nil
}

// to asks for another kind of account. Only what is in the first field stays.
func (b *formBox) to(a *account) {
	if a == b.account {
		return
	}
	b.account, b.at, b.fields = a, 0, [4]text.Field{b.fields[0]}
	b.err = b.refused()
}

// make makes the account, unless a field is missing.
func (b *formBox) make() tea.Cmd {
	for n := range b.account.needed {
		if b.fields[n].Value == "" {
			b.at = n
			return nil
		}
	}
	if b.err = b.refused(); b.err != nil {
		return nil
	}
	b.working = true
	c, v, do := b.m.client, b.fields, b.account.make
	return b.m.perform(b.id, func(ctx context.Context) (string, error) { return do(ctx, c, v) })
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
	out := []string{" " + b.m.st.title.Render(b.account.title)}
	label := 8
	for _, name := range b.account.names {
		label = max(label, len(name)+2)
	}
	for n, name := range b.account.names {
		cursor := " "
		if b.at == n {
			cursor = ">"
		}
		out = append(out, " "+cursor+" "+text.Left(name, label)+b.fields[n].View(width-label-4, b.at == n && !b.working))
	}
	switch {
	case b.working:
		return append(out, "", " working …")
	case b.err != nil:
		out = append(out, " "+b.m.st.warn.Render("! "+text.Cut(explain(b.err), width-4)))
	default:
		out = append(out, "")
	}
	return append(out, " enter next, then make   esc cancel   "+b.account.arrow)
}
