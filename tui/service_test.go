package tui

import (
	"context"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/say"
)

// robots knows who answers for the service accounts among its users.
type robots struct {
	*fake
	answering map[string]*api.Answering
}

func (r robots) User(ctx context.Context, uid string) (api.UserDetail, error) {
	u, err := r.fake.User(ctx, uid)
	u.Service = r.answering[uid]
	return u, err
}

// TestServiceAccounts: the list of users, a user's screen and Status tell which service
// accounts nobody owns, and who owns the others.
func TestServiceAccounts(t *testing.T) {
	r := robots{people(), map[string]*api.Answering{"a@service": {}, "b@service": {Owner: "\u202eowner@example.com", Successor: "heir@example.com"}}}
	r.users = append(r.users,
		api.User{UID: "a@service", Source: "service", State: api.StateActive, Created: before(say.Day), Orphaned: true},
		api.User{UID: "b@service", Source: "service", State: api.StateActive, Created: before(say.Day)},
		api.User{UID: "c@service", Source: "service", State: api.StateDisabled, Created: before(say.Day), Orphaned: true})
	r.status.Orphaned = 2
	d := drive(t, r, Options{})
	d.send(tea.WindowSizeMsg{Width: 160, Height: 40})
	d.press("1")
	d.want("-             2026-03-13  orphaned  │", "c@service")
	d.tick(paneAfter)
	d.want("│ Users > a@service   orphaned", "│  owned by  nobody: gatehouse service transfer gives")
	d.press("jjjjj")
	d.tick(paneAfter)
	d.want("│ Users > b@service   active", `│  owned by  \u202eowner@example.com, then heir@`)
	d.press("5")
	d.want("Not all is well: look at orphaned.", "2 service accounts without an owner: gatehouse service list shows them")
}
