// Package box has the boxes of the terminal UI: a question before a change, a form, an
// export, a revocation and its progress, and text to read.
//
// A box lies above a screen, and takes every key while it is open. It owns the answer to
// what it asks: nothing is changed by a paste, a held key, or a key that was pressed before
// the question could be read. A box knows nothing of the screen below. The program, its
// Host, opens and closes boxes, draws them, and passes keys and messages on.
package box

import (
	"context"
	"iter"
	"regexp"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/plain"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// Box takes every key while it is open, and all messages, also those for others. Body
// returns what it draws.
type Box interface {
	Key(Key) tea.Cmd
	Answer(tea.Msg) tea.Cmd
	Body(width, height int) []string
	Kind() plain.Kind // how it is answered without a screen
}

// Key is one key that was pressed, or a paste.
type Key struct {
	Name   string // "j", "enter", "ctrl+c"
	Text   string // what it types
	Merged bool   // came together with others: held, or pasted without saying so
	Paste  bool
}

// Host is the program that a box is part of.
type Host interface {
	listing.Host
	Server() Server
	May(least api.Role) error // why the role is not enough; nil: it is
	Paint() Paint
	Files() *sync.WaitGroup // the files that are being written

	Next() int // an id for a box
	Open(Box)  // in place of the one that is open
	Close()
	Say(string)     // a sentence about what happened
	Complain(error) // and about what failed
	Heard(error)    // what an answer says of the connection
	Copy(string) tea.Cmd
	Changed() tea.Cmd // asks again for what the screen shows
	Revoked() tea.Cmd // the same, after a revocation
	Unmark()          // what was marked is revoked
}

// Server is what boxes ask of the server.
type Server interface {
	revocation.Server
	StopRevocation(ctx context.Context, job string) error
	AddUser(context.Context, api.NewUser) (api.Password, error)
	AddService(context.Context, api.NewService) (api.Service, error)
}

// Paint colours what is drawn.
type Paint struct{ Title, Heads, Warn func(...string) string }

// Glance is the shortest time in which somebody can have seen a question. A key that
// comes sooner was pressed before the question was there.
const Glance = 150 * time.Millisecond

func seen(h Host, asked time.Time) bool { return h.Now().Sub(asked) >= Glance }

// confirms reports whether k is a y that somebody typed on its own: not one of
// several keys that came in one message, as from a held key or a paste.
func confirms(k Key) bool { return k.Name == "y" && !k.Merged && !k.Paste }

// callMsg is the answer to the one call of an Ask or a Form.
type callMsg struct {
	box      int
	password string
	err      error
}

// NoPasswords warns of a password that the configuration makes useless.
const NoPasswords = "logins.local is false: nobody can log in with it."

// Call makes a change on the server. It may return a new password.
type Call func(context.Context) (password string, err error)

func perform(h Host, id int, do Call) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(h.Context(), listing.Patience)
		defer cancel()
		p, err := do(ctx)
		return callMsg{id, p, err}
	}
}

// performed closes the box of a call: with the password, if one was made, in a
// box of its own.
func performed(h Host, uid, done string, msg callMsg) tea.Cmd {
	h.Close()
	h.Heard(msg.err)
	if msg.err != nil {
		h.Complain(msg.err)
		return nil
	}
	h.Say(done)
	if msg.password != "" {
		h.Open(&secret{host: h, uid: uid, password: msg.password})
	}
	return h.Changed()
}

// Question is what an Ask asks.
type Question struct {
	UID      string // of the user whose password is made
	Question string
	Verb     string // for the y
	Lines    []string
	Do       Call
	Done     string // what to say afterwards
}

// Ask asks before a change of a user.
type Ask struct {
	Question
	host    Host
	id      int
	asked   time.Time
	working bool
}

// NewAsk returns the box of a question.
func NewAsk(h Host, q Question) *Ask {
	return &Ask{Question: q, host: h, id: h.Next(), asked: h.Now()}
}

func (b *Ask) Key(k Key) tea.Cmd {
	switch {
	case b.working: // what was asked for cannot be taken back
		return nil
	case confirms(k) && seen(b.host, b.asked):
		b.working = true
		return perform(b.host, b.id, b.Do)
	}
	b.host.Close()
	b.host.Say("Cancelled: nothing was changed.")
	return nil
}

func (b *Ask) Answer(msg tea.Msg) tea.Cmd {
	if msg, ok := msg.(callMsg); ok && msg.box == b.id {
		return performed(b.host, b.UID, b.Done, msg)
	}
	return nil
}

func (b *Ask) Kind() plain.Kind { return plain.YesOrNo }

func (b *Ask) Body(width, height int) []string {
	out := []string{" " + b.host.Paint().Title(text.Cut(b.Question.Question, width-1))}
	for _, l := range b.Lines {
		out = append(out, "   "+text.Cut(l, width-3))
	}
	if b.working {
		return append(out, "", " working …")
	}
	return append(out, "", " > [ Cancel ]    y "+b.Verb)
}

// secret shows a new password, this once. Only esc closes it: a key still
// held from the question before must not.
type secret struct {
	host          Host
	uid, password string
	sent          bool
}

func (b *secret) Key(k Key) tea.Cmd {
	switch {
	case k.Name == "esc":
		b.host.Close()
	case k.Name == "y" && !k.Paste:
		b.sent = true
		return b.host.Copy(b.password)
	}
	return nil
}

func (b *secret) Answer(tea.Msg) tea.Cmd { return nil }
func (b *secret) Kind() plain.Kind       { return plain.Shown }

func (b *secret) Body(width, height int) []string {
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

// Text shows lines, and scrolls when there are many.
type Text struct {
	Title       string
	Lines       []string
	Enter       func() tea.Cmd // what enter does; nil: it closes, as other keys do
	host        Host
	top, height int
}

// NewText returns a box of lines.
func NewText(h Host, title string, lines ...string) *Text {
	return &Text{host: h, Title: title, Lines: lines}
}

func (b *Text) Key(k Key) tea.Cmd {
	switch k.Name {
	case "j", "down":
		b.top++
	case "k", "up":
		b.top--
	case "pgdown", "space", "ctrl+d":
		b.top += b.height
	case "pgup", "ctrl+u":
		b.top -= b.height
	case "g", "home":
		b.top = 0
	case "G", "end":
		b.top = 1 << 20
	default:
		b.host.Close()
		if k.Name == "enter" && b.Enter != nil {
			return b.Enter()
		}
	}
	return nil
}

func (b *Text) Answer(tea.Msg) tea.Cmd { return nil }
func (b *Text) Kind() plain.Kind       { return plain.Shown }

func (b *Text) Body(width, height int) []string {
	lines := fitting(b.Lines, width-3)
	b.height = max(height-3, 1)
	b.top = max(min(b.top, len(lines)-b.height), 0)
	out := []string{" " + b.host.Paint().Title(text.Cut(b.Title, width-1))}
	for _, l := range lines[b.top:min(b.top+b.height, len(lines))] {
		out = append(out, "   "+l)
	}
	keys := ""
	if below := len(lines) - b.top - b.height; below > 0 {
		keys = say.Count(below, "more line") + " below: j   "
	} else if len(lines) > b.height {
		keys = "k scrolls up   "
	}
	if b.Enter != nil {
		keys += "enter open   "
	}
	return append(out, "", " "+keys+"esc close")
}

// fitting returns lines in at most so many columns. It cuts them, but a command, a line that
// begins with "= ", goes on in the next line: without its last filter it would select more.
func fitting(lines []string, width int) (out []string) {
	for _, l := range lines {
		margin, command, ok := strings.Cut(l, "= ")
		if l = text.Escape(l); ok && strings.TrimSpace(margin) == "" && text.Width(l) > width {
			out = append(out, folded(margin, text.Escape(command), width)...)
			continue
		}
		out = append(out, text.Cut(l, width))
	}
	return out
}

// word is a word of a command, with what is in quotation marks.
var word = regexp.MustCompile(`(\\.|'[^']*'|[^' ])+`)

// folded divides a command between words, as a shell takes it: \ ends a line that goes on.
func folded(margin, command string, width int) (out []string) {
	line, start := margin+"=", margin+"   "
	for _, w := range word.FindAllString(command, -1) {
		if text.Width(start+" "+w+` \`) > width {
			return []string{margin + "= (too long for this screen)"}
		}
		if text.Width(line+" "+w+` \`) > width {
			out = append(out, line+` \`)
			line = start
		}
		line += " " + w
	}
	return append(out, line)
}

// counted counts the rows that pass.
func counted[T any](rows iter.Seq2[T, error], add func()) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			add()
			if !yield(row, err) {
				return
			}
		}
	}
}
