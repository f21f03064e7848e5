package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest/must"
)

type claims = map[string]any

// sendLogout posts a logout token.
func (h *house) sendLogout(token string) answer {
	return h.ask("POST", "/api/backchannel-logout/corp").form(url.Values{"logout_token": {token}}.Encode()).send()
}

// logoutHouse opens a house beside an issuer, and logs a person in by browser.
func logoutHouse(t *testing.T, change ...func(*config.OAuth)) (*house, *oauthtest.Server, *visitor) {
	t.Helper()
	s := oauthtest.New(t, "oidc")
	s.Claims = func(c map[string]any) { c["sid"] = fmt.Sprint("sid-", c["sub"]) }
	h := newHouse(t, public, withProvider(s, "corp", change...))
	s.Now = h.clock.Now
	return h, s, h.byCorp(s, ada())
}

func (h *house) byCorp(s *oauthtest.Server, a *oauthtest.Account) *visitor {
	h.Helper()
	v := h.visitor()
	v.visit(s.Agree(v.begin("/login/corp"), a))
	return v
}

func (v *visitor) sessionCode() int {
	return v.h.ask("GET", "/api/sessions").cookie(v.cookies[v.h.cookieName()]).send().code
}

// TestLogoutChecks: each check of section 2.6. Nothing ends.
func TestLogoutChecks(t *testing.T) {
	h, s, v := logoutHouse(t)
	sub := func(c, _ claims) { c["sub"] = "17" }
	with := func(name string, value any) string {
		return s.LogoutToken(func(c, _ claims) { c["sub"] = "17"; c[name] = value })
	}
	without := func(name string) string {
		return s.LogoutToken(func(c, _ claims) { c["sub"] = "17"; delete(c, name) })
	}
	now := h.clock.Now()
	good := s.LogoutToken(sub)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"none":            "",
		"no token":        "x.y.z",
		"no signature":    parts[0] + "." + parts[1] + ".",
		"another body":    parts[0] + "." + strings.Split(s.LogoutToken(func(c, _ claims) { c["sub"] = "18" }), ".")[1] + "." + parts[2],
		"alg none":        "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"issuer":          with("iss", "https://evil.example"),
		"audience":        with("aud", "another"),
		"no audience":     without("aud"),
		"no iat":          without("iat"),
		"old":             with("iat", now.Add(-10*time.Minute).Unix()),
		"not yet":         with("iat", now.Add(3*time.Minute).Unix()),
		"expired":         with("exp", now.Add(-2*time.Minute).Unix()),
		"no jti":          without("jti"),
		"jti is no text":  with("jti", 7),
		"nonce":           with("nonce", "n"),
		"empty nonce":     with("nonce", nil),
		"no event":        without("events"),
		"another event":   with("events", claims{"http://schemas.openid.net/event/other": claims{}}),
		"event no object": with("events", claims{"http://schemas.openid.net/event/backchannel-logout": "x"}),
		"nobody":          s.LogoutToken(nil),
		"an ID token":     s.LogoutToken(func(c, h claims) { sub(c, h); delete(c, "events"); h["typ"] = "JWT" }),
		"another type":    s.LogoutToken(func(c, h claims) { sub(c, h); h["typ"] = "at+jwt" }),
	} {
		if got := h.sendLogout(token); got.code != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", name, got.code, got.text)
		}
	}
	if got := v.sessionCode(); got != http.StatusOK {
		t.Fatalf("the session has ended: %d", got)
	}
	for _, token := range []string{
		with("iat", now.Add(-30*time.Second).Unix()), with("iat", now.Add(50*time.Second).Unix()),
		with("exp", now.Add(-30*time.Second).Unix()), with("aud", []string{"x", oauthtest.Client}),
		s.LogoutToken(func(c, h claims) { sub(c, h); delete(h, "typ") }),
		s.LogoutToken(func(c, _ claims) { c["sub"] = "4711" }), s.LogoutToken(func(c, _ claims) { c["sid"] = "unknown" }),
	} {
		if got := h.sendLogout(token); got.code != http.StatusOK {
			t.Errorf("got %d %s\n%s", got.code, got.text, h.log)
		} else {
			got.wantHeader("Cache-Control", "no-store")
		}
	}
	if !strings.Contains(h.log.String(), "logged out a person who is not known here") {
		t.Error("the log does not tell of an unknown person")
	}
	h.ask("POST", "/api/backchannel-logout/corp").json(`{"logout_token":"` + good + `"}`).send().want(http.StatusUnsupportedMediaType)
	h.ask("POST", "/api/backchannel-logout/github").form("logout_token=x").send().want(http.StatusNotFound)
	h.ask("POST", "/api/backchannel-logout/corp").form("logout_token=" + strings.Repeat("x", 70<<10)).send().want(http.StatusRequestEntityTooLarge)
}

// TestLogoutOnce: by person and by session, sessions end and tokens go on; a token counts
// once.
func TestLogoutOnce(t *testing.T) {
	h, s, v := logoutHouse(t)
	token := h.ask("POST", "/api/token").cookie(v.cookies[h.cookieName()]).send().newToken().Secret
	for name, value := range map[string]string{"sub": "17", "sid": "sid-17"} {
		v := h.byCorp(s, ada())
		logout := s.LogoutToken(func(c, _ claims) { c[name] = value })
		h.sendLogout(logout).want(http.StatusOK, "")
		if got := v.sessionCode(); got != http.StatusUnauthorized {
			t.Errorf("%s: the session goes on: %d", name, got)
		}
		v = h.byCorp(s, ada())
		h.sendLogout(logout).want(http.StatusBadRequest)
		if got := v.sessionCode(); got != http.StatusOK {
			t.Errorf("%s: used twice, it ended the session: %d", name, got)
		}
	}
	h.alive(token)
}

// TestLogoutKeys: keys are fetched again when they have changed, and not for each token
// that names another one.
func TestLogoutKeys(t *testing.T) {
	h, s, v := logoutHouse(t)
	s.Asked()
	for n := range 20 {
		h.sendLogout(s.LogoutToken(func(c, header claims) { c["sub"], header["kid"] = "17", fmt.Sprint("made-up-", n) })).want(http.StatusBadRequest)
	}
	fetched := 0
	for _, asked := range s.Asked() {
		if asked == "GET /keys" {
			fetched++
		}
	}
	if fetched > 1 {
		t.Errorf("the keys were fetched %d times", fetched)
	}
	if got := v.sessionCode(); got != http.StatusOK {
		t.Errorf("the session has ended: %d", got)
	}
}

// logOut logs a person out at the provider.
func (h *house) logOut(s *oauthtest.Server, id int64) {
	h.Helper()
	h.sendLogout(s.LogoutToken(func(c, _ claims) { c["sub"] = fmt.Sprint(id) })).want(http.StatusOK, "")
}

// tokenOf logs a person in by browser, and makes a token.
func (h *house) tokenOf(s *oauthtest.Server, id int64) string {
	h.Helper()
	v := h.byCorp(s, &oauthtest.Account{ID: id, Emails: oauthtest.Verified(fmt.Sprintf("p%d@example.com", id))})
	return h.ask("POST", "/api/token").cookie(v.cookies[h.cookieName()]).send().newToken().Secret
}

// TestLogoutSuspends: tokens stop until the next login, except for those of too many
// people.
func TestLogoutSuspends(t *testing.T) {
	h, s, v := logoutHouse(t, func(c *config.OAuth) { c.LogoutSuspends = true })
	token := h.ask("POST", "/api/token").cookie(v.cookies[h.cookieName()]).send().newToken().Secret
	h.logOut(s, 17)
	h.ask("GET", "/api/token").token(token).send().want(http.StatusUnauthorized)
	h.byCorp(s, ada())
	h.alive(token)

	var tokens []string
	for n := range 6 {
		tokens = append(tokens, h.tokenOf(s, int64(20+n)))
	}
	for n := range tokens {
		h.logOut(s, int64(20+n))
	}
	stopped := 0
	for _, one := range tokens {
		if h.ask("GET", "/api/token").token(one).send().code == http.StatusUnauthorized {
			stopped++
		}
	}
	held := h.held()
	if stopped != 4 || len(held.Changes) != 2 { // with the first person, five
		t.Errorf("%d are stopped, and held: %+v", stopped, held)
	}
}

// TestLogoutOver: a logout no longer counts after its user has logged in or was enabled. It
// is not made later, and does not count with the logouts of others.
func TestLogoutOver(t *testing.T) {
	h, s, _ := logoutHouse(t, func(c *config.OAuth) { c.LogoutSuspends = true })
	const people = 7
	tokens := make([]string, people)
	for n := range tokens {
		tokens[n] = h.tokenOf(s, int64(n))
	}
	enable := func(n int) { must.Do(t, h.admin.EnableUser(t.Context(), fmt.Sprintf("p%d@example.com", n))) }
	for name, back := range map[string]func(n int){
		"a login":          func(n int) { h.tokenOf(s, int64(n)) },
		"an administrator": enable,
		"disabled": func(n int) {
			must.Do(t, h.admin.DisableUser(t.Context(), fmt.Sprintf("p%d@example.com", n)))
			h.logOut(s, int64(n))
			enable(n)
		},
	} {
		for n := range people - 1 {
			h.clock.Pass(2 * time.Hour)
			h.logOut(s, int64(n))
			h.dead(tokens[n])
			h.logOut(s, int64(n))
			h.clock.Pass(time.Second)
			back(n)
			h.alive(tokens[n])
		}
		h.clock.Pass(2 * time.Hour)
		h.logOut(s, people-1)
		if held := h.held(); len(held.Changes) > 0 {
			t.Errorf("%s: a single logout is held: %+v", name, held)
		}
		h.dead(tokens[people-1])
		for _, token := range tokens[:people-1] {
			h.alive(token)
		}
		h.tokenOf(s, people-1)
	}
	// So it is with those that are held.
	h.clock.Pass(2 * time.Hour)
	for n := range people {
		h.logOut(s, int64(n))
	}
	if held := h.held(); len(held.Changes) != 2 {
		t.Fatalf("held: %+v", held)
	}
	for n := range people {
		h.clock.Pass(2 * time.Hour)
		h.tokenOf(s, int64(n))
	}
	h.logOut(s, 0)
	h.dead(tokens[0])
	for _, token := range tokens[1:] {
		h.alive(token)
	}
	if held := h.held(); len(held.Changes) > 0 {
		t.Errorf("still held: %+v", held)
	}
	h.clock.Pass(2 * time.Hour)
	for n := range people {
		h.tokenOf(s, int64(n))
		h.logOut(s, int64(n))
	}
	if held := h.held(); len(held.Changes) != 2 {
		t.Fatalf("held: %+v", held)
	}
	h.clock.Pass(time.Second)
	for n := range people {
		h.tokenOf(s, int64(n))
	}
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	if held := h.held(); len(held.Changes) > 0 {
		t.Errorf("confirmed, and still held: %+v", held)
	}
}

// TestLogoutReload: logouts that a server has taken count in the one that takes its place,
// even if the request came before the reload and is served after it.
func TestLogoutReload(t *testing.T) {
	h, s, _ := logoutHouse(t, func(c *config.OAuth) { c.LogoutSuspends = true })
	for n := range 8 {
		h.tokenOf(s, int64(n))
	}
	for n := range 6 {
		h.logOut(s, int64(n))
	}
	if held := h.held(); len(held.Changes) != 1 {
		t.Fatalf("held: %+v", held)
	}
	cfg, now := h.cfg, h.web
	cfg.Tokens.Reveal = !cfg.Tokens.Reveal
	if !h.Reload(cfg) {
		t.Fatal("not taken")
	}
	h.admin = api.InProcess(h.Latest().AdminHandler("tester"), func() error { return nil })
	h.web = *h.Main() // of the server before
	h.logOut(s, 6)
	h.web = now
	if held := h.held(); len(held.Changes) != 2 {
		t.Errorf("held after the reload: %+v", held)
	}
	h.logOut(s, 7)
	if held := h.held(); len(held.Changes) != 3 {
		t.Errorf("held: %+v", held)
	}
}
