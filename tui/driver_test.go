package tui

import (
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"gatehouse/tui/box"
)

// driver feeds a model by hand, without a terminal and without waiting.
type driver struct {
	*model
	t     testing.TB
	clock time.Time
	timed []tea.Msg // what the model wants to hear later
	held  []tea.Cmd // commands not run yet, while hold
	hold  bool
	blind bool // draw only when the test looks: thousands of keys are quicker so
	quit  bool
	sent  []string // to the clipboard
}

func drive(t testing.TB, c client, o Options) *driver {
	r := lipgloss.NewRenderer(nil)
	r.SetColorProfile(termenv.Ascii)
	d := &driver{t: t, clock: noon}
	o.Now = func() time.Time { return d.clock }
	d.model = newModel(t.Context(), c, o, newStyles(r))
	d.later = func(_ time.Duration, msg tea.Msg) tea.Cmd {
		d.timed = append(d.timed, msg)
		return nil
	}
	d.clipboard = func(s string) error {
		d.sent = append(d.sent, s)
		return nil
	}
	d.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	d.run(d.Init())
	return d
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.Update(msg)
	d.run(cmd)
	if d.width > 0 && !d.blind {
		d.View() // as the program would, before the next key
	}
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if d.hold {
		d.held = append(d.held, cmd)
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c)
		}
	case tea.QuitMsg:
		d.quit = true
	default:
		d.send(msg)
	}
}

// release runs what was held.
func (d *driver) release() {
	d.hold = false
	held := d.held
	d.held = nil
	for _, c := range held {
		d.run(c)
	}
}

// next runs what was held so far, and holds the commands that result.
func (d *driver) next() {
	held := d.held
	d.held = nil
	for _, c := range held {
		d.hold = false
		msg := c()
		d.hold = true
		d.deliver(msg)
	}
}

// tick lets time pass.
func (d *driver) tick(by time.Duration) {
	d.clock = d.clock.Add(by)
	timed := d.timed
	d.timed = nil
	for _, msg := range timed {
		d.send(msg)
	}
}

// press sends keys, each in its own message: runes, or names in <…>. It types slowly
// enough to have read a question before the answer.
func (d *driver) press(keys string) {
	named := map[string]tea.KeyType{
		"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "backspace": tea.KeyBackspace, "ctrl+c": tea.KeyCtrlC, "ctrl+p": tea.KeyCtrlP, "shift+tab": tea.KeyShiftTab, "left": tea.KeyLeft, "right": tea.KeyRight,
	}
	for keys != "" {
		if d.box != nil {
			d.clock = d.clock.Add(box.Glance)
		}
		if name, rest, ok := strings.Cut(strings.TrimPrefix(keys, "<"), ">"); ok && keys[0] == '<' {
			d.send(tea.KeyMsg{Type: named[name]})
			keys = rest
			continue
		}
		r := []rune(keys)[0]
		keys = keys[len(string(r)):]
		if r == ' ' {
			d.send(tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}})
			continue
		}
		d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
}

// merged sends keys merged in one message.
func (d *driver) merged(keys string) {
	d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(keys)})
}

func (d *driver) paste(s string) {
	d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s), Paste: true})
}

// want fails unless the frame shows all of these.
func (d *driver) want(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if !strings.Contains(d.View(), p) {
			d.t.Errorf("%q is missing from\n%s", p, d.View())
		}
	}
}

func (d *driver) wantNot(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if strings.Contains(d.View(), p) {
			d.t.Errorf("%q is in\n%s", p, d.View())
		}
	}
}
