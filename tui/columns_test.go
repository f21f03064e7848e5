package tui

import (
	"slices"
	"strings"
	"testing"
	"time"

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

// underState checks one width. Below the narrowest, no state fits.
func underState[T any](t *testing.T, what string, cols []listing.Column[T], width int, row T, narrowest int) {
	t.Helper()
	if width < narrowest {
		return
	}
	cols = listing.Fit(cols, width)
	w := listing.Widths(cols, width)
	heads, line := listing.Heads(cols, w), listing.Line(cols, w, row, false, false, nil)
	at := strings.LastIndex(line, api.StateSuspended)
	if at < 0 {
		t.Errorf("%s at %d: no state\n%s\n%s", what, width, heads, line)
		return
	}
	head, _, _ := strings.Cut(heads[min(at, len(heads)):], "  ")
	if !strings.Contains(head, "STATE") || heads[at-1] != ' ' {
		t.Errorf("%s at %d: the state stands under %q\n%s\n%s", what, width, head, heads, line)
	}
}
