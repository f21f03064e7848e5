package tui

import (
	"context"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
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
	d.want("Not all is well: look at orphaned.", "2 service accounts without an owner", "gatehouse service list shows them")
}

// TestNewServiceAccount: the form makes service accounts too, for every role that may, and
// a local user for no role that may not.
func TestNewServiceAccount(t *testing.T) {
	for _, c := range []struct {
		role api.Role
		keys string
		want string // the change; empty: none
		says string
	}{
		{"", "n<right>robot<enter>a@x.org<enter>b@x.org<enter>backups<enter>", "service robot of a@x.org, then b@x.org: backups", "Added robot."},
		{api.Operator, "nrobot<enter>a@x.org<enter><enter><enter>", "service robot of a@x.org, then : ", "Added robot."},
		{api.Admin, "nrobot<right><enter>a@x.org<enter><enter><enter>", "service robot of a@x.org, then : ", "Added robot."},
		{api.Admin, "n<right>robot<left><enter><enter>", "", "A uid is an e-mail address"},
		{"", "n<right>robot<enter><enter><enter><enter>", "", "> owner"},
		{"", "n<right>robot@x<enter>a@x.org<enter><enter><enter>", "", "! A name has no @"},
		{api.Operator, "n<left>a@x.org<enter><enter>", "", "not as operator: it needs the role admin"},
		{api.Auditor, "n", "", "not as auditor: it needs the role operator"},
	} {
		f := people()
		f.status.Role = c.role
		d := drive(t, f, Options{})
		d.press(c.keys)
		d.want(c.says)
		if d.box != nil && c.want != "" {
			t.Errorf("%s as %q: the form is still open", c.keys, c.role)
		}
		if got := strings.Join(f.changes, "; "); got != c.want {
			t.Errorf("%s as %q: changed %q, want %q", c.keys, c.role, got, c.want)
		}
	}
}

// TestNewServiceAccountPlainly: the same in lines.
func TestNewServiceAccountPlainly(t *testing.T) {
	f := people()
	out := converse(t, f, Options{}, 0, "new service robot a@x.org b@x.org", "new service", "new new@x.org New Person")
	if want := "service robot of a@x.org, then b@x.org: ; add new@x.org New Person"; strings.Join(f.changes, "; ") != want {
		t.Errorf("changed %q, want %q\n%s", f.changes, want, out)
	}
}

// TestNewServiceAccountForReal: a server makes the account that the form asks for.
func TestNewServiceAccountForReal(t *testing.T) {
	_, c := real(t, 3, 3)
	var uids []string
	for u := range must.All(c.Users(t.Context(), api.UserQuery{Limit: 2}))(t) {
		uids = append(uids, u.UID)
	}
	d := drive(t, unfollowed{c}, Options{})
	d.press("n<right>robot<enter>nobody@x.org<enter><enter><enter>")
	d.want("! No such user: nobody@x.org", "robot_")
	d.press("<esc>n<right>robot<enter>" + uids[0] + "<enter>" + uids[1] + "<enter>backups<enter>")
	d.want("Added robot.")
	s, err := c.Service(t.Context(), "robot")
	if err != nil || s.Owner != uids[0] || s.Successor != uids[1] || s.Description != "backups" {
		t.Errorf("made %+v, %v", s, err)
	}
}
