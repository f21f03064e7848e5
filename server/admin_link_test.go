package server_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// link links a user, and returns the status that an error came with.
func (h *house) link(uid, source, subject string, unchecked bool) (made api.Linked, status int) {
	h.Helper()
	made, err := h.admin.LinkUser(h.Context(), uid, api.Link{Identity: api.Identity{Source: source, Subject: subject}, Unchecked: unchecked})
	var refusal *api.Error
	switch {
	case err == nil:
		return made, http.StatusOK
	case errors.As(err, &refusal):
		return made, refusal.Status
	}
	h.Fatal(err)
	return made, 0
}

// An identity that its source can't have is linked only if the administrator insists. One
// that nothing can be found out about is linked, with a word about that.
func TestLinkChecks(t *testing.T) {
	change := []func(*config.Config){withProvider(oauthtest.New(t, "github"), "github")}
	for _, kind := range []string{"gitlab", "google", "gitea", "oidc"} {
		change = append(change, withProvider(oauthtest.New(t, kind), kind))
	}
	h := newHouse(t, change...)
	const nowhere = "not checked, because the configuration has no source"
	said := map[string]string{
		"github": "only the form was checked", "gitlab": "only the form was checked", "gitea": "only the form was checked", "google": "only the form was checked",
		"oidc": "not checked, because oidc can't be asked", "gihub": nowhere + " gihub; it has gitea, github, gitlab, google, oidc. Unlink it if that is a typo", "ldap": nowhere,
	}
	for _, test := range []struct {
		source, subject string
		want            int
	}{
		{"github", "583231", 200}, {"gitlab", "1", 200}, {"gitea", "77", 200}, {"google", "110169484474386276334", 200},
		{"github", "octocat", 404}, {"github", "0", 404}, {"github", "-1", 404}, {"github", "1.5", 404}, {"github", "１７", 404}, {"github", "17 ", 404},
		{"github", strings.Repeat("9", 20), 404}, {"gitlab", "ada", 404}, {"gitea", "ada@example.com", 404}, {"google", "ada@gmail.com", 404},
		{"oidc", "17", 200}, {"oidc", "8f2c", 200},
		{"gihub", "17", 200}, {"ldap", "6f1d5a52-5c1e-4c0a-9d5e-0d5c3f1f7a10", 200},
		{"local", "17", 400}, {"LOCAL", "17", 400}, {"GitHub", "17", 400}, {"service", "17", 400}, {"userpass", "17", 400}, {" ", "17", 400}, {"", "17", 400}, {"github", "", 400}, {"github", "a\nb", 400},
	} {
		made, got := h.link(alice, test.source, test.subject, false)
		if got != test.want {
			t.Errorf("%s %q: got %d, want %d", test.source, test.subject, got, test.want)
		}
		if got == http.StatusOK && !strings.Contains(made.Checked, said[test.source]) {
			t.Errorf("%s %q: got %+v, want %q", test.source, test.subject, made, said[test.source])
		}
		if test.want == http.StatusNotFound {
			if made, got := h.link(alice, test.source, test.subject, true); got != http.StatusOK || made.Checked != "" {
				t.Errorf("%s %q, unchecked: got %d %+v", test.source, test.subject, got, made)
			}
		}
		if test.want == http.StatusBadRequest {
			if _, got := h.link(alice, test.source, test.subject, true); got != http.StatusBadRequest {
				t.Errorf("%s %q, unchecked: got %d", test.source, test.subject, got)
			}
		}
	}
	if made, got := h.link(alice, "gihub", "18", true); got != http.StatusOK || !strings.Contains(made.Checked, nowhere) {
		t.Errorf("a source that is not there, unchecked: got %d %+v", got, made)
	}
	if _, got := h.link("nobody@example.com", "github", "18", false); got != http.StatusNotFound {
		t.Errorf("a user who is not there: got %d", got)
	}
}

// The directory is asked for a subject, and says which person it is.
func TestLinkLooksUp(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.addUser("victim@example.com", password)
	subject := s.Subject(ldaptest.Person("bob"))
	for _, unknown := range []string{"22222222-2222-2222-2222-222222222222", "deadbeef", "bob", "bob@example.org", "*", subject[:35], ldaptest.Person("bob")} {
		if made, got := h.link("victim@example.com", "ldap", unknown, false); got != http.StatusNotFound {
			t.Errorf("%s: got %d %+v, want 404", unknown, got, made)
		}
	}
	h.sweep(3)
	h.wantUsers("victim@example.com local active")

	s.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime", "000001010000Z")
	made, got := h.link("victim@example.com", "LDAP", strings.ToUpper(subject), false)
	if got != http.StatusOK || made.Subject != subject || !strings.Contains(made.Checked, ldaptest.Person("bob")) || !strings.Contains(made.Checked, "disabled") {
		t.Errorf("got %d %+v", got, made)
	}
	s.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime")

	// While a part of the directory is elsewhere, people who are here can be linked. For
	// the others, the error says why they can't.
	s.Add("ou=branch,"+ldaptest.People, map[string][]string{"objectClass": {"referral", "extensibleObject"}, "ou": {"branch"}, "ref": {"ldap://branch.example.org/" + ldaptest.People}})
	h.addUser("other@example.com", password)
	if _, got := h.link("other@example.com", "ldap", s.Subject(ldaptest.Person("alice")), false); got != http.StatusOK {
		t.Errorf("beside a referral: got %d", got)
	}
	_, err := h.admin.LinkUser(t.Context(), alice, api.Link{Identity: api.Identity{Source: "ldap", Subject: "22222222-2222-2222-2222-222222222222"}})
	if err == nil || !strings.Contains(err.Error(), "ldap://branch.example.org/") || !strings.Contains(err.Error(), "--unchecked") {
		t.Errorf("perhaps behind a referral: got %v", err)
	}

	// A directory that can't be asked has not said no.
	s.Stop()
	if _, got := h.link(alice, "ldap", "22222222-2222-2222-2222-222222222222", false); got != http.StatusServiceUnavailable {
		t.Errorf("without the directory: got %d, want 503", got)
	}
}

// A user who is linked to a subject that the directory does not have is at worst
// suspended, never removed, and comes back by an unlink.
func TestLinkedToNobody(t *testing.T) {
	h, _ := newDirectoryHouse(t)
	h.ldapToken("alice") // somebody has to be there
	hub, typo := storage.Identity{Source: "github", Subject: "17"}, api.Identity{Source: "ldap", Subject: "22222222-2222-2222-2222-222222222222"}
	must.Get(h.store.LogIn(storage.Actor{}, storage.Login{Identity: hub, Addresses: []string{"hub@example.com"}}))(t)
	h.addUser("victim@example.com", password)
	for _, uid := range []string{"hub@example.com", "victim@example.com"} {
		u := must.Get(h.store.User(uid))(t)
		_, secret := must.Get2(h.store.CreateToken(storage.Actor{}, u.ID, storage.TokenSpec{}))(t)
		token := secret.Reveal()
		if _, got := h.link(uid, typo.Source, typo.Subject, true); got != http.StatusOK {
			t.Fatalf("%s: got %d", uid, got)
		}
		h.sweep(1)
		h.alive(token)
		h.sweep(3)
		h.dead(token)
		if got := h.users(); !slices.Contains(got, uid+" "+u.Source+" suspended") {
			t.Errorf("got users %q", got)
		}
		must.Do(t, errors.Join(h.admin.UnlinkUser(t.Context(), uid, typo), h.admin.EnableUser(t.Context(), uid)))
		h.sweep(3)
		h.alive(token)
	}
	h.wantTold(storage.ActionUserRemove)
}
