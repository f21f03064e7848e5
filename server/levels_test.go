package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/ldap/ldaptest"
)

// leaver is a client that goes away when the first part of an answer has come.
type leaver struct {
	*httptest.ResponseRecorder
	leave context.CancelFunc
}

func (l leaver) Write(b []byte) (int, error) {
	l.leave()
	return l.ResponseRecorder.Write(b)
}

// TestClientsThatLeave: an operator need not act on a client that goes away, for any
// request.
func TestClientsThatLeave(t *testing.T) {
	h := newHouse(t)
	for range 5 {
		h.create(`{}`)
	}
	admin := h.AdminHandler("tester")
	for _, path := range []string{
		"/admin/tokens?limit=1000", "/admin/users?limit=1000", "/admin/events", "/admin/events/history?limit=1000", "/admin/events/verify", "/admin/backup", "/admin/status",
	} {
		for what, before := range map[string]bool{"before": true, "during": false} {
			ctx, cancel := context.WithCancel(t.Context())
			if before {
				cancel()
			}
			func() {
				defer func() {
					if p := recover(); p != nil && p != http.ErrAbortHandler {
						t.Errorf("%s: panic: %v", path, p)
					}
				}()
				admin.ServeHTTP(leaver{httptest.NewRecorder(), cancel}, httptest.NewRequest("GET", path, nil).WithContext(ctx))
			}()
			cancel()
			if strings.Contains(h.log.String(), "level=ERROR") || strings.Contains(h.log.String(), "level=WARN") {
				t.Fatalf("%s %s: the log has\n%s", path, what, h.log)
			}
		}
	}
	for _, path := range []string{"/", "/api/tokens", "/api/getApiTokens", "/api/getUserRecentFiles", "/metrics", "/readyz"} {
		ctx, cancel := context.WithCancel(t.Context())
		r := h.ask("GET", path).cookie(h.login(alice, password)).r.WithContext(ctx)
		cancel()
		h.web.ServeHTTP(leaver{httptest.NewRecorder(), cancel}, r)
		if strings.Contains(h.log.String(), "level=ERROR") {
			t.Fatalf("%s: the log has\n%s", path, h.log)
		}
	}
}

// count returns how many lines of the log have all of the words.
func (h *house) count(words ...string) (n int) {
	for line := range strings.Lines(h.log.String()) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			n++
		}
	}
	return n
}

// TestDirectoryOutage: an outage is logged once when it begins and once when it ends,
// however many logins fail.
func TestDirectoryOutage(t *testing.T) {
	h, s := newDirectoryHouse(t)
	t.Cleanup(h.StopLooking)
	h.ldapToken("alice")
	h.Look()
	s.Stop()
	for range 20 {
		h.ldap("alice", "alice-secret").want(http.StatusServiceUnavailable)
		h.Look()
	}
	if began, all := h.count("level=ERROR", "no server of the directory answers"), h.count("level=ERROR"); began != 1 || all != 1 {
		t.Errorf("got %d lines of the outage and %d errors, want 1 of each:\n%s", began, all, h.log)
	}
	// A reload proves nothing: nobody has asked the directory since.
	wantEnds := func(when string, want int) {
		t.Helper()
		h.Look()
		h.Look()
		if ended := h.count("level=INFO", "the directory answers again", "lasted="); ended != want {
			t.Errorf("%s: got %d lines of an end, want %d:\n%s", when, ended, want, h.log)
		}
	}
	h.Reload(h.cfg)
	wantEnds("after a reload", 0)
	s.Start()
	h.ldapToken("alice")
	wantEnds("after a login", 1)
	s.Stop()
	h.ldap("alice", "alice-secret").want(http.StatusServiceUnavailable)
	h.Look()
	// Nothing is known of other servers until they are asked.
	elsewhere, other := h.cfg, *h.cfg.LDAP
	other.URLs = []string{"ldaps://127.0.0.1:1"}
	elsewhere.LDAP = &other
	began := h.count("level=ERROR", "no server of the directory answers")
	h.Reload(elsewhere)
	wantEnds("with another server", 1)
	h.ldap("alice", "alice-secret").want(http.StatusServiceUnavailable)
	h.Look()
	if n := h.count("level=ERROR", "no server of the directory answers"); n != began+1 {
		t.Errorf("got %d lines that another server does not answer, want 1:\n%s", n-began, h.log)
	}
	without := h.cfg
	without.LDAP = nil
	h.Reload(without)
	wantEnds("without a directory", 1)
	s.Start()
	h.Reload(h.cfg)
	h.ldapToken("alice")
	wantEnds("with it again", 1)

	// Neither is there an end of a doubt about a directory that is gone.
	doubtful, section := h.cfg, *h.cfg.LDAP
	section.RequiredGroup = "cn=nowhere," + ldaptest.People
	doubtful.LDAP = &section
	h.Reload(doubtful)
	h.ldap("alice", "alice-secret").want(http.StatusServiceUnavailable)
	if h.count("level=ERROR", "can't say who may log in") != 1 {
		t.Errorf("no doubt:\n%s", h.log)
	}
	h.Reload(without)
	h.Look()
	h.Reload(h.cfg)
	h.ldapToken("alice")
	if h.count("says again who may log in") > 0 {
		t.Errorf("a directory that was gone says again who may log in:\n%s", h.log)
	}
}

// TestSweepLines: each user whom a sweep of the directory stops, lets in again or
// removes has a line.
func TestSweepLines(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.ldapToken("alice")
	lines := func(action string) int { return h.count("level=INFO", "msg=off-boarding", "uid=", "action="+action) }
	for _, step := range []struct {
		action string
		do     func()
	}{
		{"suspend", func() { s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime", "000001010000Z") }},
		{"resume", func() { s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime") }},
		{"remove", func() { s.Remove(ldaptest.Person("alice")) }},
	} {
		step.do()
		h.sweep(2) // somebody must be missed twice
		if n := lines(step.action); n != 1 {
			t.Errorf("%s: got %d lines, want 1:\n%s", step.action, n, h.log)
		}
	}
}
