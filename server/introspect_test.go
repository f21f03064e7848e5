package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// introspected is what POST /api/introspect says of a token.
func (h *house) introspected(by, text string) (v api.Introspection) {
	h.Helper()
	h.ask("POST", "/api/introspect").token(by).form("token="+text).send().
		want(http.StatusOK).wantHeader("Cache-Control", "no-store").into(&v)
	return v
}

func TestIntrospect(t *testing.T) {
	h := newHouse(t)
	asker := h.create(`{"scopes":["introspect"]}`).Secret
	free := h.create(`{}`)
	limited := h.create(`{"scopes":["files","a:b"],"expiresIn":"2h","addresses":["198.51.100.0/24"]}`)
	now := h.clock.Milli() / 1000
	if got, want := h.introspected(asker, free.Secret), (api.Introspection{
		Active: true, Username: alice, Subject: alice, ID: free.ID, TokenType: "Bearer", IssuedAt: now}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := h.introspected(free.Secret, limited.Secret+"&address=198.51.100.7"), (api.Introspection{
		Active: true, Username: alice, Subject: alice, ID: limited.ID, TokenType: "Bearer", IssuedAt: now, Expires: now + 7200, Scope: "files a:b"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	h.clock.Move(time.Minute)
	h.introspected(asker, free.Secret+"&token_type_hint=refresh_token")
	h.ask("POST", "/api/introspect").token(asker).json(toJSON(map[string]string{"token": limited.Secret, "address": "198.51.100.7"})).send().want(http.StatusOK)
	if got := adminToken(h, limited.ID); got.LastUsed != got.Created {
		t.Error("asking about a token counts as a use of it")
	}
	for what, c := range badCredentials(h) {
		for _, text := range c["X-Auth-Token"] {
			if strings.Contains(what, "two headers") || what == "both headers" {
				continue // one of the two may be good
			}
			h.ask("POST", "/api/introspect").token(asker).form("token="+url.QueryEscape(text)).send().want(http.StatusOK, `{"active":false}`)
		}
	}
}

func TestIntrospectRefuses(t *testing.T) {
	h := newHouse(t)
	free := h.token()
	scoped := h.create(`{"scopes":["files"]}`).Secret
	form := "token=" + free
	h.ask("POST", "/api/introspect").form(form).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("POST", "/api/introspect").cookie(h.login(alice, password)).form(form).send().want(http.StatusUnauthorized)
	h.ask("POST", "/api/introspect").header("Authorization", basic("x", free)).form(form).send().want(http.StatusUnauthorized)
	if !h.introspected(scoped, free).Active { // any token may ask about those of its user
		t.Error("a token with another scope is told nothing")
	}
	h.ask("POST", "/api/introspect").token(free).form("x=y").send().want(http.StatusBadRequest)
	h.ask("POST", "/api/introspect").token(free).form(form + "&" + form).send().want(http.StatusBadRequest)
	h.ask("POST", "/api/introspect?"+form).token(free).form("").send().want(http.StatusBadRequest)
	h.ask("POST", "/api/introspect").token(free).body("text/plain", form).send().want(http.StatusUnsupportedMediaType)
	h.ask("GET", "/api/introspect?"+form).token(free).send().want(http.StatusMethodNotAllowed)
}

// TestIntrospectForeign: only a token with the scope learns about another user's token.
// For the others it looks like text that is not a token.
func TestIntrospectForeign(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	cookie := h.login("bob@example.com", password)
	bobs := func(options string) string {
		t.Helper()
		return h.ask("POST", "/api/token").cookie(cookie).json(options).send().newToken().Secret
	}
	live, dead := h.create(`{"name":"ci"}`), h.token()
	narrow := h.create(`{"addresses":["198.51.100.0/24"]}`)
	h.ask("GET", "/api/revokeApiToken").token(dead).send().want(http.StatusOK)
	ask := func(by, form string) answer {
		t.Helper()
		return h.ask("POST", "/api/introspect").token(by).form(form).send().want(http.StatusOK)
	}
	for options, told := range map[string]bool{
		`{}`:                             false,
		`{"expiresIn":"1h"}`:             false,
		`{"addresses":["192.0.2.0/24"]}`: false,
		`{"scopes":["files"]}`:           false,
		`{"scopes":["introspect2","Introspect"]}`:    false,
		`{"scopes":["introspect"]}`:                  true,
		`{"scopes":["files","introspect"]}`:          true,
		`{"scopes":["introspect"],"expiresIn":"1h"}`: true,
	} {
		by := bobs(options)
		unknown := ask(by, "token="+flip(live.Secret, 200))
		for what, text := range map[string]string{"live": live.Secret, "with an address": narrow.Secret + "&address=198.51.100.7"} {
			got := ask(by, "token="+text)
			got.header.Del("X-Request-Id") // each request's own
			unknown.header.Del("X-Request-Id")
			if !told && (got.text != unknown.text || !maps.EqualFunc(got.header, unknown.header, slices.Equal)) {
				t.Errorf("%s, %s: got %s %v, want %s %v as for an unknown token", options, what, got.text, got.header, unknown.text, unknown.header)
			}
			if told && !strings.Contains(got.text, `"active":true`) {
				t.Errorf("%s, %s: got %s, want it active", options, what, got.text)
			}
		}
		for what, text := range map[string]string{"revoked": dead, "unknown": flip(live.Secret, 200), "empty": "", "not from there": narrow.Secret} {
			if got := ask(by, "token="+text); got.text != `{"active":false}` {
				t.Errorf("%s, %s: got %s", options, what, got.text)
			}
		}
		if got := ask(by, "token="+by); !strings.Contains(got.text, `"active":true`) {
			t.Errorf("%s: about itself, got %s", options, got.text)
		}
	}
}

// TestIntrospectAddress: a token with addresses is active where it could be used: from
// the address that the caller passes on, or else from the caller's own.
func TestIntrospectAddress(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
	asker := h.create(`{}`).Secret
	narrow := h.create(`{"addresses":["198.51.100.0/24","2001:db8::/32"]}`).Secret
	for _, c := range []struct {
		peer, forwarded, address string
		active                   bool
	}{
		{"198.51.100.7:9", "", "", true},
		{"192.0.2.1:9", "", "", false},
		{"127.0.0.1:9", "198.51.100.7", "", true},
		{"127.0.0.1:9", "unknown", "", false},
		{"192.0.2.1:9", "", "198.51.100.7", true},
		{"192.0.2.1:9", "", "198.51.100.7:443", true},
		{"192.0.2.1:9", "", "::ffff:198.51.100.7", true},
		{"192.0.2.1:9", "", "[2001:db8::1]:443", true},
		{"198.51.100.7:9", "", "192.0.2.1", false},
	} {
		form := "token=" + narrow
		if c.address != "" {
			form += "&address=" + url.QueryEscape(c.address)
		}
		a := h.ask("POST", "/api/introspect").token(asker).from(c.peer).form(form)
		if c.forwarded != "" {
			a.header("X-Forwarded-For", c.forwarded)
		}
		if got := a.send().want(http.StatusOK).text; strings.Contains(got, `"active":true`) != c.active {
			t.Errorf("%+v: got %s", c, got)
		}
	}
	for _, bad := range []string{"", "unknown", "198.51.100.0/24", "198.51.100.7, 192.0.2.1"} {
		h.ask("POST", "/api/introspect").token(asker).form("token=" + narrow + "&address=" + url.QueryEscape(bad)).send().want(http.StatusBadRequest)
	}
}

// TestIntrospectEvents: a lookup of another user's token leaves an event, with or
// without the scope, and a flood of lookups leaves few.
func TestIntrospectEvents(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	cookie := h.login("bob@example.com", password)
	plain := h.ask("POST", "/api/token").cookie(cookie).json(`{}`).send().newToken().Secret
	given := h.ask("POST", "/api/token").cookie(cookie).json(`{"scopes":["introspect"]}`).send().newToken().Secret
	first, second := h.create(`{}`), h.create(`{}`)
	for range 3 {
		h.introspected(plain, first.Secret)
		h.introspected(given, first.Secret)
		h.introspected(given, second.Secret)
		h.introspected(first.Secret, second.Secret) // one's own
		h.introspected(given, plain)
		h.introspected(given, flip(first.Secret, 200))
	}
	events := func() (list []string) {
		t.Helper()
		h.token() // a change is written after what was noted before it
		for e := range must.All(h.admin.Events(t.Context(), api.EventQuery{}))(t) {
			if e.Action == storage.ActionTokenIntrospect {
				list = append(list, strings.Join([]string{e.Actor, e.Address, e.UID, e.Token, e.Detail}, " | "))
			}
		}
		return list
	}
	want := []string{
		"bob@example.com | 192.0.2.1 | " + alice + " | " + first.ID + " | refused: without the scope introspect",
		"bob@example.com | 192.0.2.1 | " + alice + " | " + first.ID + " | ",
		"bob@example.com | 192.0.2.1 | " + alice + " | " + second.ID + " | ",
	}
	if got := events(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	h.clock.Move(time.Hour)
	h.introspected(given, first.Secret)
	if got := events(); len(got) != 4 {
		t.Errorf("an hour later: got %q, want one more", got)
	}
}

// TestRevokePosted follows RFC 7009: the holder of a token revokes it, and no text is an error.
func TestRevokePosted(t *testing.T) {
	h := newHouse(t)
	token, other := h.token(), h.token()
	h.ask("POST", "/api/revoke").form("token="+flip(token, 255)).send().want(http.StatusOK, "{}")
	h.alive(token)
	h.ask("POST", "/api/revoke").token(other).cookie(h.login(alice, password)).form("token="+token+"&token_type_hint=access_token").send().want(http.StatusOK, "{}")
	h.dead(token)
	h.alive(other)
	h.ask("POST", "/api/revoke").form("token="+token).send().want(http.StatusOK, "{}")
	h.ask("POST", "/api/revoke").form("token=").send().want(http.StatusOK, "{}")
	h.ask("POST", "/api/revoke").form("token_type_hint=x").send().want(http.StatusBadRequest)
	h.ask("POST", "/api/revoke?token="+other).form("").send().want(http.StatusBadRequest)
	h.ask("GET", "/api/revoke?token="+other).send().want(http.StatusMethodNotAllowed)
	h.alive(other)
	h.close()
	h.ask("POST", "/api/revoke").form("token=" + other).send().want(http.StatusServiceUnavailable)
	h.ask("POST", "/api/revoke").form("token=x").send().want(http.StatusOK, "{}")
	h.open()
}
