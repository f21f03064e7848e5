package tui

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/term"

	"gatehouse/tui/box"
	"gatehouse/tui/listing"
	"gatehouse/tui/plain"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

const (
	plainRows  = 20 // listed at a time
	plainWidth = 100
)

// machine is the model for package plain: it waits for every answer, and has no clock.
type machine struct {
	*model
	told time.Time // when progress was last told
}

var _ plain.Machine = (*machine)(nil)

// runPlain is Run without a screen. If the lines do not come from a terminal, nothing can be
// changed, because nobody reads the questions.
func runPlain(ctx context.Context, c client, o Options) error {
	if f, ok := o.In.(*os.File); ok && !term.IsTerminal(int(f.Fd())) && !o.ReadOnly {
		o.ReadOnly = true
		fmt.Fprintln(o.Out, "The input is not a terminal, so nothing can be changed.")
	}
	if o.ASCII {
		o.Out = asciiWriter{o.Out}
	}
	return plain.Run(ctx, o.In, o.Out, newMachine(ctx, c, o))
}

// asciiWriter replaces characters that are not ASCII, for terminals that show nothing else.
type asciiWriter struct{ io.Writer }

func (w asciiWriter) Write(b []byte) (int, error) {
	_, err := io.WriteString(w.Writer, text.ASCII(string(b)))
	return len(b), err
}

func newMachine(ctx context.Context, c client, o Options) *machine {
	o.Plain = true
	m := &machine{model: newModel(ctx, c, o, styles{})}
	m.later = func(time.Duration, tea.Msg) tea.Cmd { return nil }
	m.paused = true // nothing comes by itself
	m.width, m.height = plainWidth, plainRows+6
	m.run(m.Init())
	return m
}

// run waits for the command, and for those that follow from it.
func (m *machine) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			m.run(c)
		}
	default:
		_, next := m.Update(msg)
		if b, ok := m.box.(*box.Work); ok && m.now().Sub(m.told) >= time.Second {
			m.told = m.now()
			n, of := b.Progress()
			fmt.Fprintf(m.o.Out, "revoked %s of %s\n", say.Number(n), say.Number(of))
		}
		m.run(next)
	}
}

func (m *machine) Name() string {
	switch m.screen().place() {
	case onUser:
		return "user"
	case onToken:
		return "token"
	}
	return strings.ToLower(tabNames[m.tab])
}

func (m *machine) Lines() []string {
	s := m.screen()
	out := []string{plain.Spoken(s.title(1 << 10))}
	if b := m.banner(); b != "" {
		out = append([]string{plain.Spoken(b)}, out...)
	}
	if err := s.failure(); err != nil {
		out = append(out, "! "+say.Error(err))
	}
	if r, ok := s.(rows); ok {
		return append(out, r.spoken(plainRows)...)
	}
	for _, l := range s.body(plainWidth, 1<<20) {
		out = append(out, plain.Spoken(l))
	}
	return out
}

func (m *machine) Tab(n int) { m.run(m.goTo(n)) }

func (m *machine) Presets() (names []string) {
	for _, p := range presets {
		names = append(names, p.tab)
	}
	return names
}

func (m *machine) Preset(name string) bool {
	for n, p := range presets {
		if p.tab == strings.ToLower(name) {
			m.run(m.goTo(2))
			m.run(m.tabs[2].(*review).show(n))
			return true
		}
	}
	return false
}

func (m *machine) Filter(words string) {
	if r, ok := m.screen().(rows); ok {
		m.run(r.setFilter(words))
	}
}

// Below goes back from a token that is shown to the rows below it: numbers are theirs.
func (m *machine) Below() {
	if m.screen().place() == onToken && len(m.stack) > 1 {
		m.run(m.back())
	}
}

func (m *machine) Row(n int) bool {
	r, ok := m.screen().(rows)
	if !ok || n < 1 {
		return false
	}
	m.refused = "" // a row is named now
	cmd, ok := r.numbered(n - 1)
	m.run(cmd)
	return ok
}

func (m *machine) Marks() int {
	if r, ok := m.screen().(rows); ok {
		return r.marksSet()
	}
	return 0
}

func (m *machine) Refused() bool { return m.refused != "" }

func (m *machine) All() bool {
	r, ok := m.screen().(rows)
	return ok && r.markedWhole()
}

func (m *machine) Marked(n int) bool {
	r, ok := m.screen().(rows)
	return ok && r.markedAt(n-1)
}

// Does looks the key up. On the screen of a user, l, U and P act on that user, not on a
// row.
func (m *machine) Does(key string) (aims, ok bool) {
	p := m.screen().place()
	for _, b := range m.keys {
		if b.on&p != 0 && b.has(key) {
			return b.aims && p&onRows != 0 && !(p == onUser && b.ofUser), true
		}
	}
	return false, false
}

func (m *machine) Press(name string) {
	k := key{Name: name}
	if len(name) == 1 {
		k.Text = name
	}
	m.run(m.key(k))
}

func (m *machine) State() (string, bool) {
	u, ok := m.screen().user()
	return u.State, ok
}

func (m *machine) Question() ([]string, plain.Kind) {
	if m.box == nil {
		return nil, plain.None
	}
	kind, room := m.box.Kind(), 40
	switch b := m.box.(type) {
	case interface{ Err() error }: // a form: it is filled in with the line that opens it
		return wrong(b.Err()), kind
	case *box.Text:
		room = 1 << 10
	case *box.Revoke:
		if kind != plain.Shown {
			body := b.Body(plainWidth, room)
			return slices.Concat([]string{plain.Spoken(body[0])}, b.Spoken(m.now(), plainRows), []string{plain.Spoken(body[len(body)-1])}), kind
		}
	}
	var lines []string
	for _, l := range m.box.Body(plainWidth, room) {
		lines = append(lines, plain.Spoken(l))
	}
	if n := len(lines) - 1; kind == plain.Shown && n >= 0 { // its keys
		lines = lines[:n]
	}
	return lines, kind
}

// wrong returns the lines that say why a form was refused.
func wrong(err error) []string {
	if err == nil {
		return nil
	}
	return []string{"! " + say.Error(err)}
}

// Answer types a line into the box, and enter. Any line that is not a number cancels.
func (m *machine) Answer(line string) {
	if _, err := strconv.Atoi(line); err != nil {
		m.Press("esc")
		return
	}
	for _, r := range line {
		if m.box == nil {
			return // the box has closed: the rest must not press keys of the screen
		}
		m.Press(string(r))
	}
	if m.box != nil {
		m.Press("enter")
	}
}

func (m *machine) Fill(values ...string) {
	if f, ok := m.box.(interface{ Fill(...string) tea.Cmd }); ok {
		m.run(f.Fill(values...))
	}
}

func (m *machine) Said() string {
	s := m.notice
	if m.bad && s != "" {
		s = "! " + s
	}
	m.notice = ""
	return s
}

// What package plain needs of a table.

func (t *table[T]) setFilter(words string) tea.Cmd {
	t.filter.Value, t.hint = "", ""
	t.filter.Add(words)
	return t.ask()
}

func (t *table[T]) marksSet() int {
	if n, _ := t.total(); t.whole {
		return n
	}
	return len(t.marks)
}

// numbered puts the cursor on the row to which spoken gave this number, from 0, even if
// other rows have come or gone since.
func (t *table[T]) numbered(n int) (tea.Cmd, bool) {
	if n < 0 || n >= len(t.told) {
		return nil, false
	}
	return t.list.To(t.told[n])
}

func (t *table[T]) markedWhole() bool { return t.whole }

func (t *table[T]) markedAt(n int) bool {
	if n < 0 || n >= len(t.told) {
		return false
	}
	_, ok := t.marks[t.told[n]]
	return ok || t.whole
}

// spoken returns the rows in words, with their numbers.
func (t *table[T]) spoken(height int) []string {
	shown, _ := t.list.Visible(height)
	out := []string{t.position(1 << 10)}
	if t.filter.Value != "" {
		out = append(out, "filter: "+text.Escape(t.filter.Value)+"; filter alone lists all again")
	}
	t.told = nil
	for n, row := range shown {
		t.told = append(t.told, t.id(row))
		mark := ""
		if t.marked(row) {
			mark = "marked, "
		}
		out = append(out, fmt.Sprintf("%d. %s%s", n+1, mark, listing.Spoken(t.cols, row)))
	}
	for _, l := range t.remark(1 << 10) {
		out = append(out, plain.Spoken(l))
	}
	if s := plain.Spoken(t.silence()); len(shown) == 0 && s != "" {
		out = append(out, s)
	}
	if s := t.below(height); s != "" {
		out = append(out, s)
	}
	return out
}
