package tui

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
)

// TestStateUnderItsHead: at every width, a state that must not be missed stands whole
// under a head that says so.
func TestStateUnderItsHead(t *testing.T) {
	m := newModel(t.Context(), nil, Options{Now: func() time.Time { return noon }}, styles{})
	token, user := api.Token{ID: "01ab", State: api.StateSuspended}, api.User{UID: "ada", State: api.StateSuspended}
	ofUser := slices.DeleteFunc(tokenColumns(m), func(c listing.Column[api.Token]) bool { return c.Head == "USER" })
	for width := 35; width <= 220; width++ {
		underState(t, "tokens", tokenColumns(m), width, token, 60)
		underState(t, "a user's tokens", ofUser, width, token, 35)
		underState(t, "users", userColumns(m), width, user, 60)
	}
}

// TestColumnsDropFromTheRight: a wider terminal never shows fewer columns, and beside the
// pane of a terminal of 200 columns all are there.
func TestColumnsDropFromTheRight(t *testing.T) {
	m := newModel(t.Context(), nil, Options{Now: func() time.Time { return noon }}, styles{})
	shown := [2]int{}
	for width := 59; width <= 220; width++ {
		for n, w := range [2][]int{listing.Widths(userColumns(m), width), listing.Widths(tokenColumns(m), width)} {
			if len(w) < shown[n] {
				t.Errorf("at %d, there are %d columns, and at %d were %d", width, len(w), width-1, shown[n])
			}
			shown[n] = len(w)
		}
	}
	for _, c := range []struct {
		width int
		want  string
	}{{60, "PERSON"}, {80, "LAST USED|USED/STATE"}, {100, "MADE/STATE"}, {120, "PERSON"}, {200, "CREATED"}, {200, "SOURCE"}} {
		d := drive(t, people(), Options{})
		d.send(tea.WindowSizeMsg{Width: c.width, Height: 30})
		if !regexp.MustCompile(c.want).MatchString(d.View()) {
			t.Errorf("at %d, %s is missing:\n%s", c.width, c.want, d.View())
		}
	}
	d := drive(t, people(), Options{})
	d.send(tea.WindowSizeMsg{Width: 200, Height: 50})
	d.press("2")
	for _, c := range tokenColumns(m) {
		d.want(" " + c.Head)
	}
	d.want("│ Token ")
}

// underState checks one width. Below the narrowest, no state fits.
func underState[T any](t *testing.T, what string, cols []listing.Column[T], width int, row T, narrowest int) {
	t.Helper()
	if width < narrowest {
		return
	}
	w := listing.Widths(cols, width)
	heads, line := listing.Heads(cols, w), listing.Line(cols, w, row, listing.Signs{}, nil)
	at := strings.LastIndex(line, api.StateSuspended)
	if at < 0 {
		t.Errorf("%s at %d: no state\n%s\n%s", what, width, heads, line)
		return
	}
	start := strings.LastIndex(strings.TrimRight(heads, " "), "  ") + 2
	head := strings.TrimRight(heads[start:], " ")
	ends := at+len(api.StateSuspended) == start+len(head) // under a number's head
	if !strings.HasSuffix(head, "STATE") || at != start && !(at > start && ends) {
		t.Errorf("%s at %d: the state stands under %q\n%s\n%s", what, width, head, heads, line)
	}
}
