package tui

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

const (
	minWidth, minHeight = 60, 12

	noticeFor = 6 * time.Second
)

// key is one key that was pressed, or a paste.
type key = box.Key

// model is the Bubble Tea model. It owns the tabs and the stack of screens opened from
// one, the box in front of them, and what is known of the connection.
type model struct {
	ctx    context.Context
	client client
	o      Options
	st     styles

	width, height int
	tabs          [5]screen
	tab           int
	stack         []screen // the tab's screen and what was opened from there
	box           box.Box
	pane          pane
	keys          []binding

	status    api.Status
	known     bool      // status has come at least once
	asking    bool      // for the status
	heardAt   time.Time // when the status last came
	statusErr error     // of the last question for the status
	lost      error     // why no server answers; nil: one does
	tries     int       // to reach a server since then
	retryAt   time.Time // of the next one
	paused    bool      // by p: nothing is refreshed
	due       time.Time // of the next refresh
	notice    string    // in the bottom line, from noticeAt on
	bad       bool      // the notice is an error
	noticeAt  time.Time
	refused   string // why the A that was pressed last did nothing

	files        sync.WaitGroup // being written
	mouse        bool           // it is on
	clicked      time.Time      // the latest click on a row
	bodyAt       int            // the line in which the body begins
	lists, boxes int            // the last id given to a list, and to a box

	now       func() time.Time
	later     func(time.Duration, tea.Msg) tea.Cmd
	clipboard func(string) error
}

// tickMsg comes every second: the clock, the refresh, the retries.
type tickMsg struct{}

// copiedMsg is what became of sending text to the clipboard.
type copiedMsg struct{ err error }

func newModel(ctx context.Context, c client, o Options, st styles) *model {
	m := &model{ctx: ctx, client: c, o: o, st: st, now: o.Now, clipboard: func(string) error { return nil }}
	m.later = func(d time.Duration, msg tea.Msg) tea.Cmd {
		return tea.Tick(d, func(time.Time) tea.Msg { return msg })
	}
	m.keys = bindings()
	if o.ReadOnly {
		m.keys = slices.DeleteFunc(m.keys, func(b binding) bool { return b.changes || b.writes })
	}
	m.pane.m = m
	m.tabs = [5]screen{newUsers(m), newTokens(m), newReview(m), newEvents(m, nil), &status{m: m}}
	m.stack = []screen{m.tabs[0]}
	return m
}

// Context, Now and Later make the model a listing.Host.
func (m *model) Context() context.Context                   { return m.ctx }
func (m *model) Now() time.Time                             { return m.now() }
func (m *model) Later(d time.Duration, msg tea.Msg) tea.Cmd { return m.later(d, msg) }

// screen returns the screen that is shown.
func (m *model) screen() screen { return m.stack[len(m.stack)-1] }

func (m *model) Init() tea.Cmd {
	m.due = m.now().Add(refreshEvery)
	return tea.Batch(m.screen().start(), m.askStatus(), m.later(time.Second, tickMsg{}))
}

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.take(msg)
	if next := m.pane.follow(); next != nil {
		cmd = tea.Batch(cmd, next)
	}
	return m, cmd
}

// take handles a message.
func (m *model) take(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		// A terminal that does not know its size, such as a serial line, says 0.
		m.width, m.height = cmp.Or(msg.Width, 80), cmp.Or(msg.Height, 24)
		return nil
	case tea.KeyMsg:
		var cmds []tea.Cmd
		for _, k := range split(msg) {
			cmds = append(cmds, m.key(k))
		}
		return tea.Batch(cmds...)
	case tea.MouseMsg:
		return m.pointed(msg)
	case tickMsg:
		return m.tick()
	case statusMsg:
		return m.tookStatus(msg)
	case copiedMsg:
		if msg.err != nil {
			m.complain(msg.err)
		}
		return nil
	}
	cmds := []tea.Cmd{m.pane.answer(msg)}
	if m.box != nil {
		cmds = append(cmds, m.box.Answer(msg))
	}
	for _, s := range m.stack {
		cmds = append(cmds, s.answer(msg))
	}
	return tea.Batch(cmds...)
}

// split returns the keys of one message: terminals send fast and held keys together.
func split(msg tea.KeyMsg) []key {
	switch {
	case msg.Paste:
		return []key{{Name: "paste", Text: string(msg.Runes), Paste: true}}
	case msg.Alt:
		return []key{{Name: msg.String()}}
	case msg.Type == tea.KeySpace:
		return []key{{Name: "space", Text: " "}}
	case msg.Type != tea.KeyRunes:
		return []key{{Name: msg.String()}}
	}
	keys := make([]key, 0, len(msg.Runes))
	for _, r := range msg.Runes {
		k := key{Name: string(r), Text: string(r), Merged: len(msg.Runes) > 1}
		if r == ' ' {
			k.Name = "space"
		}
		keys = append(keys, k)
	}
	return keys
}

func (m *model) key(k key) tea.Cmd {
	switch k.Name {
	case "ctrl+c":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	}
	if m.tooSmall() { // nothing is done that cannot be seen
		if k.Name == "q" {
			return tea.Quit
		}
		return nil
	}
	if m.box != nil {
		return m.box.Key(k)
	}
	defer m.quiet(m.notice)
	if r, ok := m.screen().(rows); ok && r.filtering() {
		return r.filterKey(k)
	}
	for _, b := range m.keys {
		if b.on&m.screen().place() != 0 && b.has(k.Name) {
			return m.act(b)
		}
	}
	m.idle(k.Name)
	return nil
}

// idle says why a key does nothing here, if it does something elsewhere.
func (m *model) idle(name string) {
	for _, b := range bindings() {
		switch here := b.on&m.screen().place() != 0; {
		case !b.has(name):
		case here && m.o.ReadOnly:
			m.say(b.show + " does nothing: this is --read-only.")
			return
		default:
			m.say(b.show + " does nothing on this screen: ? lists the keys.")
		}
	}
}

// quiet removes what was said before a box was opened: it is not about that box.
func (m *model) quiet(before string) {
	if m.box != nil && m.notice == before {
		m.notice = ""
	}
}

// act does what a binding does, if the role allows it. What is about the row under the
// cursor has to wait until the rows are loaded.
func (m *model) act(b binding) tea.Cmd {
	if !m.may(b) {
		m.say(text.Cut(b.show+" does nothing, "+m.refusal(b)+".", m.width))
		return nil
	}
	if b.aims && !m.screen().settled() {
		m.say("The rows are still being loaded.")
		return nil
	}
	if r, ok := m.screen().(rows); ok && b.aims && !b.all && !(b.marked && r.marksSet() > 0) {
		_, there := r.name()
		if b.ofUser {
			_, there = r.user()
		}
		if !there {
			m.say("There is no row to act on.")
			return nil
		}
	}
	if !b.marked {
		m.refused = ""
	}
	return b.do(m)
}

// goTo shows the first screen of a tab, as it was left.
func (m *model) goTo(tab int) tea.Cmd {
	if m.tab == tab && len(m.stack) == 1 {
		return nil
	}
	for _, s := range m.stack {
		s.stop()
	}
	m.tab, m.stack, m.notice = tab, []screen{m.tabs[tab]}, ""
	return m.screen().start()
}

// push opens a screen from the screen that is shown.
func (m *model) push(s screen) tea.Cmd {
	m.screen().stop()
	m.stack, m.notice = append(m.stack, s), ""
	return s.start()
}

// back undoes the last thing: it clears the marks, else the filter, else it closes the
// screen.
func (m *model) back() tea.Cmd {
	if r, ok := m.screen().(rows); ok {
		switch {
		case r.unmark():
			return nil
		case r.filtered():
			return r.clearFilter()
		}
	}
	if len(m.stack) == 1 {
		return nil
	}
	m.screen().stop()
	m.stack, m.notice = m.stack[:len(m.stack)-1], ""
	return m.screen().start()
}

// copy sends text to the clipboard of the terminal.
func (m *model) copy(s string) tea.Cmd {
	return func() tea.Msg { return copiedMsg{m.clipboard(s)} }
}

// say and complain put a sentence into the bottom line for a while.
func (m *model) say(s string) { m.notice, m.bad, m.noticeAt = s, false, m.now() }

func (m *model) complain(err error) {
	m.notice, m.bad, m.noticeAt = say.Error(err), true, m.now()
}

func (m *model) tooSmall() bool { return m.width < minWidth || m.height < minHeight }
