package box

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/plain"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// account is what a Form makes.
type account struct {
	title  string
	arrow  string // leads to the other kind, in words
	names  []string
	needed int // how many of the fields must not be empty
	least  api.Role
	make   func(context.Context, Server, [4]text.Field) (password string, err error)
}

var (
	localUser = &account{
		title: "New local user: a password is made and shown", arrow: "→ service account",
		names: []string{"uid", "name"}, needed: 1, least: api.Admin,
		make: func(ctx context.Context, c Server, v [4]text.Field) (string, error) {
			p, err := c.AddUser(ctx, api.NewUser{UID: v[0].Value, Name: v[1].Value})
			return p.Password, err
		},
	}
	service = &account{
		title: "New service account, for a program", arrow: "← local user",
		names: []string{"name", "owner", "successor", "about"}, needed: 2, least: api.Operator,
		make: func(ctx context.Context, c Server, v [4]text.Field) (string, error) {
			_, err := c.AddService(ctx, api.NewService{Name: v[0].Value, Owner: v[1].Value, Successor: v[2].Value, Description: v[3].Value})
			return "", err
		},
	}
)

// Form asks for a new local user, whose password the server makes, or for a new service
// account.
type Form struct {
	host    Host
	id      int
	account *account
	fields  [4]text.Field // in the order of account.names
	at      int
	working bool
	err     error
	useless bool // nobody can log in with a password kept here
}

// NewForm returns the form of the first kind that the role allows. It warns if nobody can log
// in with the password of a local user.
func NewForm(h Host, useless bool) *Form {
	b := &Form{host: h, id: h.Next(), account: localUser, useless: useless}
	if b.refused() != nil {
		b.account = service
	}
	return b
}

// refused says why the role may not make such an account.
func (b *Form) refused() error { return b.host.May(b.account.least) }

func (b *Form) Key(k Key) tea.Cmd {
	if b.working {
		return nil
	}
	fields := len(b.account.names)
	switch k.Name {
	case "esc":
		b.host.Close()
		b.host.Say("Cancelled: no user was made.")
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
		b.fields[b.at].Key(k.Name, k.Text)
	}
	return nil
}

// to asks for another kind of account. Only what is in the first field stays.
func (b *Form) to(a *account) {
	if a == b.account {
		return
	}
	b.account, b.at, b.fields = a, 0, [4]text.Field{b.fields[0]}
	b.err = b.refused()
}

// make makes the account, unless a field is missing.
func (b *Form) make() tea.Cmd {
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
	c, v, do := b.host.Server(), b.fields, b.account.make
	return perform(b.host, b.id, func(ctx context.Context) (string, error) { return do(ctx, c, v) })
}

func (b *Form) Answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(callMsg)
	if !ok || a.box != b.id {
		return nil
	}
	if a.err != nil { // the form stays, to be corrected
		b.host.Heard(a.err)
		b.working, b.err, b.at = false, a.err, 0
		return nil
	}
	uid := b.fields[0].Value
	return performed(b.host, uid, "Added "+text.Escape(uid)+".", a)
}

func (b *Form) Kind() plain.Kind { return plain.Shown }

// Fill types the values into the fields, and sends the form.
func (b *Form) Fill(values ...string) tea.Cmd {
	for n, v := range values {
		b.fields[n].Value = ""
		b.fields[n].Add(v)
	}
	b.at = len(b.account.names) - 1
	return b.Key(Key{Name: "enter"})
}

// Err returns why the form was refused.
func (b *Form) Err() error { return b.err }

func (b *Form) Body(width, height int) []string {
	out := []string{" " + b.host.Paint().Title(b.account.title)}
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
		out = append(out, " "+b.host.Paint().Warn("! "+text.Cut(say.Error(b.err), width-4)))
	case b.useless && b.account == localUser:
		out = append(out, " "+b.host.Paint().Warn("! "+text.Cut(NoPasswords, width-4)))
	default:
		out = append(out, "")
	}
	return append(out, " enter next, then make   esc cancel   "+b.account.arrow)
}
