package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// setPassword asks for another password.
func (h *house) setPassword(cookie, current, next string) answer {
	return h.ask("POST", "/api/password").cookie(cookie).json(toJSON(map[string]string{"current": current, "new": next})).send()
}

// TestChangePassword: the new one counts, the other sessions end, the tokens go on.
func TestChangePassword(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	cookie, other, bobs, token := h.login(alice, password), h.login(alice, password), h.login("bob@example.com", password), h.token()
	got := h.setPassword(cookie, password, "another").want(http.StatusNoContent, "").wantHeader("Cache-Control", "no-store")
	got.wantHeader("Set-Cookie", "")
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusOK)
	h.ask("GET", "/api/tokens").cookie(other).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("GET", "/api/tokens").cookie(bobs).send().want(http.StatusOK)
	h.alive(token)
	h.userpass(alice, password).want(http.StatusUnauthorized, invalidCredentials)
	h.userpass(alice, "another").want(http.StatusOK)
	h.setPassword(cookie, "another", password).want(http.StatusNoContent)
	if n := h.happened(storage.ActionUserPassword); n != 2 {
		t.Errorf("got %d events, want 2", n)
	}
	h.restart()
	h.ask("GET", "/api/tokens").cookie(other).send().want(http.StatusUnauthorized)
	h.userpass(alice, password).want(http.StatusOK)
}

// TestChangePasswordRefuses: without the cookie and the current password nothing
// changes, and no session ends.
func TestChangePasswordRefuses(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 3 })
	cookie, other, token := h.login(alice, password), h.login(alice, password), h.token()
	body := toJSON(map[string]string{"current": password, "new": "another"})
	ask := func() *ask { return h.ask("POST", "/api/password") }
	ask().json(body).send().want(http.StatusUnauthorized, credentialsRequired)
	ask().token(token).json(body).send().want(http.StatusUnauthorized, credentialsRequired)
	ask().token(token).cookie(cookie).json(body).send().want(http.StatusUnauthorized, credentialsRequired)
	ask().cookie(cookie).header("Origin", "https://evil.example").json(body).send().want(http.StatusForbidden)
	ask().cookie(cookie).header("Sec-Fetch-Site", "cross-site").json(body).send().want(http.StatusForbidden)
	ask().cookie(cookie).form("current=" + password + "&new=another").send().want(http.StatusUnsupportedMediaType)
	for _, bad := range []string{``, `{}`, `{"current":"` + password + `"}`, `{"new":"another"}`, `{"current":"` + password + `","new":null}`, `{"current":1,"new":"x"}`,
		`{"current":"` + password + `","new":"x","uid":"bob@example.com"}`,
		`{"current":"` + password + `","new":""}`, `{"current":"` + password + `","new":"` + strings.Repeat("x", 257) + `"}`} {
		ask().cookie(cookie).json(bad).send().want(http.StatusBadRequest)
	}
	h.ask("GET", "/api/password").cookie(cookie).send().want(http.StatusMethodNotAllowed).wantHeader("Allow", "POST")
	h.setPassword(cookie, "wrong", "another").want(http.StatusUnauthorized, invalidCredentials)
	h.setPassword(cookie, "", "another").want(http.StatusUnauthorized, invalidCredentials)
	for _, c := range []string{cookie, other} {
		h.ask("GET", "/api/tokens").cookie(c).send().want(http.StatusOK)
	}
	h.userpass(alice, "another").want(http.StatusUnauthorized) // the third

	// Guesses here and at the login are counted together.
	h.ask("POST", "/api/password").cookie(cookie).from("198.51.100.1:5").json(body).send().want(http.StatusTooManyRequests).wantHeader("Retry-After", "1")
	h.clock.Move(2 * time.Second)
	h.setPassword(cookie, password, "another").want(http.StatusNoContent)
}

// TestChangePasswordBudget: it is one of the changes that a user may make in an hour.
func TestChangePasswordBudget(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 3 })
	cookie := h.login(alice, password)
	h.setPassword(cookie, password, "1").want(http.StatusNoContent)
	h.setPassword(cookie, "wrong", "2").want(http.StatusUnauthorized)
	h.setPassword(cookie, "1", "").want(http.StatusBadRequest)
	h.setPassword(cookie, "1", "2").want(http.StatusNoContent)
	h.ask("DELETE", "/api/sessions").cookie(cookie).send().want(http.StatusNoContent) // there is no other
	h.setPassword(cookie, "2", "3").want(http.StatusTooManyRequests)
	h.ask("DELETE", "/api/sessions").cookie(cookie).send().want(http.StatusTooManyRequests)
	other := h.login(alice, "2")
	h.ask("DELETE", "/api/sessions").cookie(cookie).send().want(http.StatusNoContent) // what ends something is not refused
	h.ask("GET", "/api/tokens").cookie(other).send().want(http.StatusUnauthorized)
}

// TestNoOwnPassword: somebody whose password is kept elsewhere can't set one here, and
// nobody can where passwords are not taken.
func TestNoOwnPassword(t *testing.T) {
	h := newHouse(t)
	hub := storage.Identity{Source: "github", Subject: "17"}
	u := must.Get(h.store.LogIn(storage.Actor{}, storage.Login{Identity: hub, Addresses: []string{"ada@example.com"}}))(t)
	cookie := must.Get(h.store.CreateSession(storage.Actor{}, u.ID, hub.Source, ""))(t)
	h.setPassword(cookie.Reveal(), "", "x").want(http.StatusConflict)
	h.ask("GET", "/account").cookie(cookie.Reveal()).send().page(http.StatusOK).shows("Where you are logged in").lacks("password")
	local := h.login(alice, password)
	cfg := h.cfg
	cfg.Logins.Local = false
	h.Reload(cfg)
	h.setPassword(local, password, "x").want(http.StatusForbidden)
	h.ask("GET", "/account").cookie(local).send().page(http.StatusOK).lacks("password")
}

// TestOwnSessions: a user sees only the user's own sessions, and ends all but one.
func TestOwnSessions(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	begin := func(uid, from, agent string) string {
		t.Helper()
		h.clock.Move(time.Minute)
		return h.ask("POST", "/api/login").from(from).header("User-Agent", agent).json(toJSON(map[string]string{"username": uid, "password": password})).send().session()
	}
	first := begin(alice, "192.0.2.1:5", "curl/8")
	began := h.clock.Milli()
	bobs := begin("bob@example.com", "192.0.2.9:5", "x")
	second := begin(alice, "[2001:db8::1]:5", "<b>Firefox")
	list := func(cookie string) (list []api.Session) {
		t.Helper()
		h.ask("GET", "/api/sessions").cookie(cookie).send().want(http.StatusOK).into(&list)
		return list
	}
	got := list(first)
	if len(got) != 2 {
		t.Fatalf("got %d sessions, want 2", len(got))
	}
	if want := (api.Session{Created: h.clock.Milli(), LastUsed: h.clock.Milli(), Method: "userpass", Address: "2001:db8::1", Agent: "<b>Firefox"}); got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	if want := (api.Session{Created: began, LastUsed: h.clock.Milli(), Method: "userpass", Address: "192.0.2.1", Agent: "curl/8", Current: true}); got[1] != want {
		t.Errorf("got %+v, want %+v", got[1], want)
	}
	if got := list(bobs); len(got) != 1 || !got[0].Current || got[0].Address != "192.0.2.9" {
		t.Errorf("bob sees %+v", got)
	}
	token := h.token()
	for _, method := range []string{"GET", "DELETE"} {
		h.ask(method, "/api/sessions").send().want(http.StatusUnauthorized, credentialsRequired)
		h.ask(method, "/api/sessions").token(token).send().want(http.StatusUnauthorized, credentialsRequired)
		h.ask(method, "/api/sessions").token(token).cookie(first).send().want(http.StatusUnauthorized, credentialsRequired)
	}
	h.ask("DELETE", "/api/sessions").cookie(first).header("Origin", "https://evil.example").send().want(http.StatusForbidden)

	h.ask("DELETE", "/api/sessions").cookie(second).send().want(http.StatusNoContent, "").wantHeader("Set-Cookie", "")
	h.ask("GET", "/api/sessions").cookie(first).send().want(http.StatusUnauthorized, credentialsRequired)
	if got := list(second); len(got) != 1 || !got[0].Current {
		t.Errorf("got %+v, want the one that asks", got)
	}
	h.ask("GET", "/api/sessions").cookie(bobs).send().want(http.StatusOK)
	h.alive(token)
	h.restart()
	h.ask("GET", "/api/sessions").cookie(first).send().want(http.StatusUnauthorized)
	h.ask("POST", "/api/logout").cookie(second).send().want(http.StatusNoContent)
	third := h.login(alice, password)
	if got := list(third); len(got) != 1 {
		t.Errorf("after a logout: got %+v", got)
	}
}

// TestAccountPage does the same without JavaScript.
func TestAccountPage(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	other := h.ask("POST", "/api/login").header("User-Agent", "<b>Fire\u202efox").json(toJSON(map[string]string{"username": alice, "password": password})).send().session()
	const path, form = "/account", "/account/password"
	h.home(cookie).page(http.StatusOK).shows(`href="/account"`)
	h.ask("GET", path).send().page(http.StatusUnauthorized).shows("Log in to go on.", `name="next" value="/account"`)
	h.ask("GET", path).cookie(cookie).send().page(http.StatusOK).
		shows("Change your password", "this session", "192.0.2.1", `&lt;b&gt;Fire\u202efox`, "Log out everywhere else", `action="/account/sessions"`)

	h.post(form, cookie, "current", "wrong", "new", "another", "again", "another").page(http.StatusUnauthorized).shows("The current password is wrong.").lacks("another")
	h.post(form, cookie, "current", password, "new", "another", "again", "other").page(http.StatusBadRequest).shows("passwords differ")
	h.post(form, cookie, "current", password, "new", "", "again", "").page(http.StatusBadRequest).shows("A password must have 1 to 256 bytes.")
	h.post(form, cookie, "current", password, "new", "another").page(http.StatusBadRequest)
	h.post(form, "", "current", password, "new", "another", "again", "another").page(http.StatusUnauthorized)
	h.ask("POST", form).cookie(cookie).header("Origin", "https://evil.example").form("current=x&new=y&again=y").send().page(http.StatusForbidden)
	h.ask("GET", path).cookie(other).send().page(http.StatusOK)
	h.post(form, cookie, "current", password, "new", "another", "again", "another").goesTo("/account?changed")
	h.ask("GET", "/account?changed").cookie(cookie).send().page(http.StatusOK).
		shows(`role="status"`, "Your password is changed.").lacks("Log out everywhere else", "another")
	h.ask("GET", path).cookie(other).send().page(http.StatusUnauthorized)
	other = h.login(alice, "another")

	h.ask("POST", "/account/sessions").cookie(cookie).header("Origin", "https://evil.example").form("").send().page(http.StatusForbidden)
	h.post("/account/sessions", cookie).goesTo("/account")
	h.ask("GET", path).cookie(other).send().page(http.StatusUnauthorized)
	h.ask("GET", path).cookie(cookie).send().page(http.StatusOK).lacks("Log out everywhere else")
	for _, p := range []string{"/account/password", "/account/sessions"} {
		h.ask("GET", p).cookie(cookie).send().goesTo(path)
	}
	for range h.cfg.Logins.AccountFailures {
		h.userpass(alice, "wrong")
	}
	h.ask("POST", form).cookie(cookie).from("198.51.100.1:5").form("current=another&new=b&again=b").send().page(http.StatusTooManyRequests).
		shows("Too many failed logins").wantHeader("Retry-After", "1")
}
