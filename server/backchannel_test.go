package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/oauth/oauthtest"
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

// TestLogoutSuspends: tokens stop until the next login, except for those of too many
// people.
func TestLogoutSuspends(t *testing.T) {
	h, s, v := logoutHouse(t, func(c *config.OAuth) { c.LogoutSuspends = true })
	token := h.ask("POST", "/api/token").cookie(v.cookies[h.cookieName()]).send().newToken().Secret
	logOut := func(n int64) {
		t.Helper()
		h.sendLogout(s.LogoutToken(func(c, _ claims) { c["sub"] = fmt.Sprint(n) })).want(http.StatusOK, "")
	}
	logOut(17)
	h.ask("GET", "/api/token").token(token).send().want(http.StatusUnauthorized)
	h.byCorp(s, ada())
	h.alive(token)

	var tokens []string
	for n := range 6 {
		a := &oauthtest.Account{ID: int64(20 + n), Emails: oauthtest.Verified(fmt.Sprintf("p%d@example.com", n))}
		v := h.byCorp(s, a)
		tokens = append(tokens, h.ask("POST", "/api/token").cookie(v.cookies[h.cookieName()]).send().newToken().Secret)
	}
	for n := range tokens {
		logOut(int64(20 + n))
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
