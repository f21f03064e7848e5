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
	hint string // its key, or what else is known of it; they are compared with this, too
	twin string // its command
	kind kind
	dim  bool // the role does not allow it
	do   func(*model) tea.Cmd
}

// kind is what a choice is. Of choices that fit alike, a screen stands first, and what
// changes something last.
type kind int

const (
	goes     kind = iota // to a screen
	question             // of Review
	acts
	named // a user or a token
	changes
)

const (
	paletteNames = 5 // users, and tokens, that are offered by their name
	nameLetters  = 2 // from which on they are looked for

	paletteLeast = 16 // columns of a name that a command beside it leaves
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
		hint, twin := b.show, m.twinOf(b)
		if !m.may(b) {
			hint, twin = m.forbidden(b), ""
		}
		c := choice{called(b), hint, twin, acts, !m.may(b), func(m *model) tea.Cmd { return m.act(b) }}
		switch {
		case b.tab != "":
			c.kind = goes
		case b.changes:
			c.kind = changes
		}
		list = append(list, c)
	}
	for n, p := range presets {
		twin := ""
		if p.twin != "" {
			twin = "gatehouse " + p.twin
		}
		list = append(list, choice{"review: " + p.tab + ", " + p.question(), "3", twin, question, false, func(m *model) tea.Cmd {
			return tea.Batch(m.goTo(2), m.tabs[2].(*review).show(n))
		}})
	}
	return list
}

// called names what a binding does: by the name of its screen, or by the word in the line
// of keys, and then the help.
func called(b binding) string {
	word := cmp.Or(b.tab, b.short)
	if word == "" || strings.HasPrefix(b.help, word) {
		return b.help
	}
	return word + ": " + b.help
}

// found returns the choices that fit what is typed, the best first.
func (b *palette) found() []choice {
	type scored struct {
		choice
		how, close int
	}
	var list []scored
	for _, c := range slices.Concat(b.fixed, b.named) {
		// The server found what is named, perhaps by something that is not shown here.
		if how, close, ok := text.Fuzzy(b.words(), c.name, c.hint); ok || c.kind == named {
			list = append(list, scored{c, how, close})
		}
	}
	if b.words() != "" {
		slices.SortStableFunc(list, func(x, y scored) int {
			return cmp.Or(cmp.Compare(y.how, x.how), cmp.Compare(y.close, x.close), cmp.Compare(x.kind, y.kind))
		})
	}
	var out []choice
	for _, s := range list {
		out = append(out, s.choice)
	}
	return out
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

// words is what is typed, without quotation marks.
func (b *palette) words() string {
	return strings.TrimSpace(strings.ReplaceAll(b.typed.Value, `"`, ""))
}

// look asks the server for users and tokens by what is typed.
func (b *palette) look() tea.Cmd {
	b.seq++
	if b.cancel != nil {
		b.cancel()
	}
	typed := b.words()
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
			msg.choices = append(msg.choices, choice{"user " + u.UID, u.Name, "", named, false, func(m *model) tea.Cmd { return m.push(newUserTokens(m, u)) }})
		}
		left := paletteNames
		for _, q := range []api.Filters{api.Where("search", typed), api.Where("search", typed, "state", api.StateRevoked)} {
			if left == 0 {
				break
			}
			for t, err := range c.Tokens(ctx, api.TokenQuery{Filters: q, Limit: left}) {
				if err != nil {
					msg.err = err
					return msg
				}
				left--
				msg.choices = append(msg.choices, tokenNamed(t))
			}
		}
		return msg
	}
}

// tokenNamed offers a token.
func tokenNamed(t api.Token) choice {
	name := strings.TrimSpace("token " + t.ID[:min(10, len(t.ID))] + " " + t.Name)
	if t.State != api.StateLive {
		name = t.State + " " + name
	}
	return choice{name, t.UID + "   " + t.ID, "", named, false, func(m *model) tea.Cmd { return m.push(newToken(m, t)) }}
}

func (b *palette) Answer(msg tea.Msg) tea.Cmd {
	if n, ok := msg.(namedMsg); ok && n.box == b.id && n.seq == b.seq {
		b.m.heard(n.err)
		at, before := b.at, b.found()
		b.named = n.choices
		if at > 0 && at < len(before) { // the cursor stays on what was chosen
			b.at = max(slices.IndexFunc(b.found(), func(c choice) bool { return c.name == before[at].name && c.hint == before[at].hint }), 0)
		}
	}
	return nil
}

// line shows the choice in so many columns. The key is seen, even if the command is long.
func (c choice) line(width int) string {
	hint, least := c.hint, width/2
	if c.twin != "" {
		hint += "   " + c.twin
	}
	if c.twin != "" || c.dim { // who may do it is seen
		least = paletteLeast
	}
	hint = text.Cut(hint, width-3-min(text.Width(text.Escape(c.name)), least))
	return say.Fitting(width, text.Cut(c.name, width-3-text.Width(hint)), hint)
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
		s := mark + text.Left(c.line(width-4), width-4)
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
