package tui

import (
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// TestRoles presses every key that changes something as each role, where the key is.
func TestRoles(t *testing.T) {
	for _, c := range []struct {
		keys  string
		least api.Role
	}{
		{"jR", api.Operator}, {"jl", api.Operator}, {"jU", api.Operator}, {"jjP", api.Operator}, {"n", api.Operator},
		{"2R", api.Operator}, {"2/alice<enter>AR", api.Operator}, {"3AR", api.Operator}, {"3R", api.Operator},
		{"j<enter>l", api.Operator}, {"j<enter>R", api.Operator}, {"2<enter>R", api.Operator},
	} {
		for _, role := range append([]api.Role{""}, api.Roles...) {
			f := people()
			f.status.Role = role
			d := drive(t, f, Options{})
			d.press(c.keys)
			may := role == "" || role.Covers(c.least)
			if (d.box != nil) != may {
				t.Errorf("%s as %q:\n%s", c.keys, role, d.View())
			}
			if !may {
				d.want("not as " + string(role) + ": it needs the role " + string(c.least))
			}
		}
	}
}

// TestWhoOneIs: every screen says who acts, and what the role may not do, at every width.
func TestWhoOneIs(t *testing.T) {
	for i := range scenes {
		for _, size := range [][2]int{{60, 12}, {80, 24}, {200, 60}} {
			d := play(t, i, size[0], size[1], 0)
			if !d.known {
				continue
			}
			d.status.Actor, d.status.Role = "ali\x1b[2J\u202e名前", api.Auditor
			first, _, _ := strings.Cut(d.View(), "\n")
			if !strings.Contains(first, `as ali\x1b[2J`) || !strings.Contains(first, ", auditor") {
				t.Errorf("%s at %v: %s", scenes[i].name, size, first)
			}
		}
	}
	f := people()
	f.status.Role = api.Auditor
	f.status.Groups = map[string]api.Role{"helpdesk": api.Operator, "audit": api.Auditor, "chiefs": api.Admin}
	d := drive(t, f, Options{})
	d.press("R")
	d.want("R does nothing, not as auditor: it needs the role operator (group chiefs, group helpdesk, root, th…")
	d.send(tea.WindowSizeMsg{Width: 130, Height: 40})
	d.press("R")
	d.want("operator (group chiefs, group helpdesk, root, the data directory's owner).")
	d.want("(R revoke)", "(l lock)", "(n new)")
	d.press("?")
	d.want("not as auditor: it needs the role operator")
	d.press("<esc><ctrl+p>revoke")
	d.want("not as auditor: it needs the role operator")
}
