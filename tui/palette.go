package tui

import (
	"cmp"
	"context"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/plain"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// choice is something that the palette offers.
type choice struct {
	name string // what the typed letters are compared with
	hint string // its key, or its command twin
	dim  bool   // the role does not allow it
	do   func(*model) tea.Cmd
}

const (
	paletteNames = 5 // users, and tokens, that are offered by their name
	nameLetters  = 2 // from which on they are looked for
)

// palette offers by name what can be done here, where one can go, and users and tokens.
type palette struct {
	m       *model
	id, seq int
	typed   text.Field
	fixed   []choice // actions, screens, presets
	named   []choice // users and tokens
	at      int
	cancel  context.CancelFunc
}

// namedMsg brings users and tokens with names that contain what was typed.
type namedMsg struct {
	box, seq int
	choices  []choice
	err      error
}

func paletteKey(m *model) tea.Cmd {
	m.boxes++
	m.box = &palette{m: m, id: m.boxes, fixed: m.choices()}
	return nil
}

// choices returns what the palette offers without a look at the server: the actions of
// the screen, the other screens, and the questions of Review.
func (m *model) choices() (list []choice) {
	for _, b := range m.keys {
		if b.on&m.screen().place() == 0 || b.moves || b.has("ctrl+p") {
			continue
		}
		hint := b.show
		switch {
		case !m.may(b):
			hint = m.forbidden(b)
		case b.twin != "":
			hint += "   " + b.twin
		}
		list = append(list, choice{b.help, hint, !m.may(b), func(m *model) tea.Cmd { return m.act(b) }})
	}
	for n, p := range presets {
		list = append(list, choice{"review: " + p.tab + ", " + p.question(), "3   gatehouse " + p.twin, false, func(m *model) tea.Cmd {
			return tea.Batch(m.goTo(2), m.tabs[2].(*review).show(n))
		}})
	}
	return list
}

// found returns the choices that fit what is typed, the best first.
func (b *palette) found() []choice {
	type scored struct {
		choice
		score int
	}
	var list []scored
	for _, c := range b.fixed {
		if s, ok := text.Fuzzy(b.typed.Value, c.name+" "+c.hint); ok {
			list = append(list, scored{c, s})
		}
	}
	slices.SortStableFunc(list, func(x, y scored) int { return cmp.Compare(y.score, x.score) })
	var out []choice
	for _, s := range list {
		out = append(out, s.choice)
	}
	return append(out, b.named...)
}

func (b *palette) Key(k key) tea.Cmd {
	switch k.Name {
	case "esc":
		b.leave()
	case "up", "ctrl+p", "shift+tab":
		b.at = max(b.at-1, 0)
	case "down", "ctrl+n", "tab":
		b.at = min(b.at+1, max(len(b.found())-1, 0))
	case "enter":
		if list := b.found(); b.at < len(list) {
			b.leave()
			return list[b.at].do(b.m)
		}
	default:
		if b.typed.Key(k.Name, k.Text) {
			b.at, b.named = 0, nil
			return b.look()
		}
	}
	return nil
}

// Kind is never asked: without a screen its words are typed.
func (b *palette) Kind() plain.Kind { return plain.Shown }

func (b *palette) leave() {
	if b.cancel != nil {
		b.cancel()
	}
	b.m.box = nil
}

// look asks the server for users and tokens by what is typed.
func (b *palette) look() tea.Cmd {
	b.seq++
	if b.cancel != nil {
		b.cancel()
	}
	typed := strings.TrimSpace(strings.ReplaceAll(b.typed.Value, `"`, ""))
	if len(typed) < nameLetters {
		return nil
	}
	ctx, cancel := context.WithTimeout(b.m.ctx, listing.Patience)
	b.cancel = cancel
	c, msg := b.m.client, namedMsg{box: b.id, seq: b.seq}
	return func() tea.Msg {
		defer cancel()
		for u, err := range c.Users(ctx, api.UserQuery{Filters: api.Where("search", typed), Limit: paletteNames}) {
			if err != nil {
				msg.err = err
				return msg
			}
			msg.choices = append(msg.choices, choice{"user " + u.UID, u.Name, false, func(m *model) tea.Cmd { return m.push(newUserTokens(m, u)) }})
		}
		for t, err := range c.Tokens(ctx, api.TokenQuery{Filters: api.Where("search", typed), Limit: paletteNames}) {
			if err != nil {
				msg.err = err
				return msg
			}
			msg.choices = append(msg.choices, choice{"token " + t.ID[:min(10, len(t.ID))] + " " + t.Name, t.UID, false, func(m *model) tea.Cmd { return m.push(newToken(m, t)) }})
		}
		return msg
	}
}

func (b *palette) Answer(msg tea.Msg) tea.Cmd {
	if n, ok := msg.(namedMsg); ok && n.box == b.id && n.seq == b.seq {
		b.m.heard(n.err)
		b.named = n.choices
	}
	return nil
}

func (b *palette) Body(width, height int) []string {
	list := b.found()
	b.at = min(b.at, max(len(list)-1, 0))
	out := []string{" > " + b.typed.View(width-4, true)}
	room := max(height-3, 1)
	top := max(min(b.at-room/2, len(list)-room), 0)
	for n, c := range list[top:min(top+room, len(list))] {
		mark := "   "
		if top+n == b.at {
			mark = " > "
		}
		name := text.Escape(c.name)
		if c.dim { // why must be seen
			name = text.Cut(c.name, max(width-7-text.Width(c.hint), 10))
		}
		s := mark + text.Left(say.Fitting(width-4, name, text.Escape(c.hint)), width-4)
		switch {
		case top+n == b.at:
			s = b.m.st.cursor.Render(s)
		case c.dim:
			s = b.m.st.tones[listing.Dim].Render(s)
		}
		out = append(out, s)
	}
	if len(list) == 0 {
		out = append(out, "   Nothing has this name.")
	}
	return append(out, "", " enter does it   ↑ ↓ choose   esc close")
}
