package tui

import (
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/tui/text"
)

// on clicks where a text is on the screen.
func (d *driver) on(what string, button tea.MouseButton) {
	d.t.Helper()
	for y, l := range strings.Split(d.View(), "\n") {
		if before, _, ok := strings.Cut(l, what); ok && text.Width(before) < 80 { // not in the pane
			d.send(tea.MouseMsg{X: text.Width(before), Y: y, Action: tea.MouseActionPress, Button: button})
			return
		}
	}
	d.t.Errorf("there is no %q to click on\n%s", what, d.View())
}

// TestMouse clicks rows by what they say, at every size, with dividers, a banner, a pane and
// the lines above a user's tokens.
func TestMouse(t *testing.T) {
	for _, size := range [][2]int{{60, 12}, {80, 24}, {140, 40}} {
		for _, c := range []struct {
			keys, row string
			o         Options
		}{
			{"m", "alice@example", Options{}},
			{"m2", "014b2277", Options{}},
			{"m2", "012c624232", Options{Offline: true}},
			{"ms", "alina@ex", Options{}},
			{"mj<enter>", "01d4735e3a", Options{}},
			{"m3", "01d4735e3a", Options{}},
			{"m4", "user.suspend", Options{}},
			{"m2/alice<enter>", "014e074085", Options{}},
		} {
			d := drive(t, people(), c.o)
			d.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			d.press(c.keys)
			before := d.screen()
			d.on(c.row, tea.MouseButtonLeft)
			line := ""
			for l := range strings.Lines(d.View()) {
				if strings.HasPrefix(l, " >") {
					line = l
				}
			}
			if !strings.Contains(line, c.row) || d.screen() != before || d.box != nil {
				t.Errorf("%s at %v: the cursor is on %q\n%s", c.keys, size, line, d.View())
				continue
			}
			d.tick(2 * time.Second)
			d.on(c.row, tea.MouseButtonLeft) // too late to be a second click
			if d.screen() != before || d.box != nil {
				t.Errorf("%s at %v: it is opened by a click that comes late", c.keys, size)
			}
			d.on(c.row, tea.MouseButtonLeft)
			if d.screen() == before && d.box == nil {
				t.Errorf("%s at %v: a second click does not open it\n%s", c.keys, size, d.View())
			}
		}
	}
}

// TestMouseChangesNothing: it is off until m, moves by the wheel, and answers no question.
func TestMouseChangesNothing(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.on("alina@ex", tea.MouseButtonLeft)
	if u, _ := d.screen().user(); u.UID != "ali.baba@corp.example" {
		t.Errorf("a click moves to %s before m", u.UID)
	}
	d.press("m")
	d.on("alina@ex", tea.MouseButtonWheelDown)
	if u, _ := d.screen().user(); u.UID != "alistair@example.com" {
		t.Errorf("the wheel moves to %s", u.UID)
	}
	d.press("2R")
	for _, b := range []tea.MouseButton{tea.MouseButtonLeft, tea.MouseButtonRight, tea.MouseButtonMiddle, tea.MouseButtonWheelUp} {
		d.on("y revoke", b)
		d.on("Cancel", b)
	}
	if d.box == nil || len(f.changes) > 0 {
		t.Errorf("a click answers: %q\n%s", f.changes, d.View())
	}
	for y := range 30 { // anywhere
		for x := 0; x < 100; x += 7 {
			d.send(tea.MouseMsg{X: x, Y: y, Action: tea.MouseActionPress, Button: tea.MouseButtonLeft})
		}
	}
	d.press("<esc>")
	for y := -1; y < 32; y++ {
		d.send(tea.MouseMsg{X: 200, Y: y, Action: tea.MouseActionPress, Button: tea.MouseButtonLeft})
	}
	if len(f.changes) > 0 {
		t.Errorf("changed %q", f.changes)
	}
}
