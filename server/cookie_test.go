package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage"
)

func TestCookieAttributes(t *testing.T) {
	for _, c := range []struct {
		public, cert, name string
		secure             bool
	}{
		{"", "", "gatehouse", false},
		{"http://tokens.example.com", "", "gatehouse", false},
		{"https://tokens.example.com", "", "__Host-gatehouse", true},
		{"HTTPS://tokens.example.com/", "", "__Host-gatehouse", true},
		{"", "cert.pem", "__Host-gatehouse", true},
	} {
		h := newHouse(t, func(cfg *config.Config) { cfg.PublicURL, cfg.TLS = c.public, config.TLS{Cert: c.cert, Key: c.cert} })
		got := h.ask("POST", "/api/login").form("username=alice@example.com&password=correct+horse+battery+staple").send().want(http.StatusNoContent)
		cookies := (&http.Response{Header: got.header}).Cookies()
		if len(cookies) != 1 {
			t.Fatalf("got %d cookies, want 1", len(cookies))
		}
		k := cookies[0]
		if k.Name != c.name || k.Secure != c.secure {
			t.Errorf("%+v: got %s", c, k)
		}
		if !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/" || k.Domain != "" || len(k.Value) < 43 || k.MaxAge != int(storage.SessionLife.Seconds()) {
			t.Errorf("%+v: got %s, want HttpOnly, SameSite=Strict, Path=/, no Domain and 32 random bytes", c, k)
		}
		h.ask("GET", "/api/tokens").cookie(k.Value).send().want(http.StatusOK)
		for _, other := range []string{"gatehouse", "__Host-gatehouse", "__host-gatehouse", "__Secure-gatehouse"} {
			if other != c.name {
				h.ask("GET", "/api/tokens").header("Cookie", other+"="+k.Value).send().want(http.StatusUnauthorized, credentialsRequired)
			}
		}
	}
}

func TestSessionOfEachLogin(t *testing.T) {
	h := newHouse(t)
	seen := map[string]bool{}
	for range 5 {
		c := h.login(alice, password)
		if seen[c] {
			t.Fatal("a session id was given twice")
		}
		seen[c] = true
	}
	for c := range seen {
		h.ask("GET", "/api/tokens").cookie(c).send().want(http.StatusOK)
	}
	planted := "planted-by-somebody-else-planted-by-somebody"
	got := h.ask("POST", "/api/login").cookie(planted).form("username=alice@example.com&password=correct+horse+battery+staple").send().session()
	if got == planted {
		t.Error("the session that was brought was taken over")
	}
	h.ask("GET", "/api/tokens").cookie(planted).send().want(http.StatusUnauthorized)

	again := h.ask("POST", "/api/login").cookie(got).form("username=alice@example.com&password=correct+horse+battery+staple").send().session()
	h.ask("GET", "/api/tokens").cookie(got).send().want(http.StatusUnauthorized)
	h.ask("POST", "/api/login").cookie(again).form("username=alice@example.com&password=wrong").send().want(http.StatusUnauthorized)
	h.ask("GET", "/api/tokens").cookie(again).send().want(http.StatusOK)
}

func TestLogout(t *testing.T) {
	h := newHouse(t)
	mine, other := h.login(alice, password), h.login(alice, password)
	token := h.token()
	h.ask("POST", "/api/logout").send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("POST", "/api/logout").token(token).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("POST", "/api/logout").token(token).cookie(mine).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("POST", "/api/logout").cookie(mine).header("Origin", "https://evil.example").send().want(http.StatusForbidden)
	h.ask("GET", "/api/tokens").cookie(mine).send().want(http.StatusOK)

	got := h.ask("POST", "/api/logout").cookie(mine).send().want(http.StatusNoContent, "")
	if k := got.header.Get("Set-Cookie"); !strings.HasPrefix(k, "gatehouse=;") || !strings.Contains(k, "Max-Age=0") {
		t.Errorf("got Set-Cookie %q, want the cookie gone", k)
	}
	for range 2 {
		h.ask("GET", "/api/tokens").cookie(mine).send().want(http.StatusUnauthorized, credentialsRequired)
		h.ask("POST", "/api/logout").cookie(mine).send().want(http.StatusUnauthorized, credentialsRequired)
	}
	h.ask("GET", "/api/tokens").cookie(other).send().want(http.StatusOK)
	h.alive(token)
}

func TestBadCookies(t *testing.T) {
	h := newHouse(t)
	good := h.login(alice, password)
	ended := h.login(alice, password)
	h.ask("POST", "/api/logout").cookie(ended).send().want(http.StatusNoContent)
	for what, cookies := range map[string][]string{
		"none":                {},
		"empty":               {"gatehouse="},
		"ended":               {"gatehouse=" + ended},
		"two headers":         {"gatehouse=" + good, "gatehouse=" + good},
		"two in one header":   {"gatehouse=" + good + "; gatehouse=x"},
		"a planted one first": {"gatehouse=x; gatehouse=" + good},
		"one flipped":         {"gatehouse=" + flip(good, 10)},
		"truncated":           {"gatehouse=" + good[:42]},
		"one more":            {"gatehouse=" + good + "A"},
		"padded":              {"gatehouse=" + good + "="},
		"10,000 characters":   {"gatehouse=" + strings.Repeat("a", 10_000)},
		"another name":        {"Gatehouse=" + good},
	} {
		for _, route := range []string{"GET /api/tokens", "GET /api/getApiTokens", "GET /api/createApiToken", "POST /api/token", "POST /api/logout", "PATCH /api/token/x", "DELETE /api/token/x", "GET /api/getUserRecentFiles"} {
			method, path, _ := strings.Cut(route, " ")
			got := h.ask(method, path).header("Cookie", cookies...).send()
			if got.code != http.StatusUnauthorized || got.text != credentialsRequired {
				t.Errorf("%s, %s: got %d %s", route, what, got.code, got.text)
			}
		}
	}
	h.ask("GET", "/api/token").cookie(good).send().want(http.StatusUnauthorized, credentialsRequired)
}

// TestTokenAloneCounts: with a token, good or bad, the cookie is not looked at.
func TestTokenAloneCounts(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	cookie, token := h.login(alice, password), h.userpass("bob@example.com", password).newToken().Secret
	for id, seen := range h.listed(token) {
		var list []struct{ ID, UID string }
		h.ask("GET", "/api/tokens").token(token).cookie(cookie).send().want(http.StatusOK).into(&list)
		if len(list) != 1 || list[0].ID != id || seen.UID != "bob@example.com" {
			t.Errorf("got %v, want bob's token", list)
		}
	}
	for _, c := range []credentials{{"X-Auth-Token": {""}}, {"X-Auth-Token": {"bad"}}, {"X-Auth-Token": {token, token}}, {"Authorization": {"Bearer"}}, {"Authorization": {"Bearer bad"}}} {
		c.on(h.ask("GET", "/api/tokens").cookie(cookie)).send().want(http.StatusUnauthorized, credentialsRequired)
	}
	for _, route := range []string{"POST /api/token", "GET /api/createApiToken", "PATCH /api/token/x"} {
		method, path, _ := strings.Cut(route, " ")
		h.ask(method, path).token(token).cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
	}
}

func TestSessionEnds(t *testing.T) {
	h := newHouse(t)
	idle := h.login(alice, password)
	h.clock.Move(storage.SessionIdle - time.Millisecond)
	h.ask("GET", "/api/tokens").cookie(idle).send().want(http.StatusOK)
	h.clock.Move(storage.SessionIdle - time.Millisecond)
	h.ask("GET", "/api/tokens").cookie(idle).send().want(http.StatusOK)
	h.clock.Move(storage.SessionIdle)
	h.ask("GET", "/api/tokens").cookie(idle).send().want(http.StatusUnauthorized, credentialsRequired)

	used := h.login(alice, password)
	began := h.clock.Now()
	for h.clock.Now().Sub(began) < storage.SessionLife-6*time.Hour {
		h.clock.Move(6 * time.Hour)
		if left := storage.SessionLife - h.clock.Now().Sub(began); left > 0 {
			h.ask("GET", "/api/tokens").cookie(used).send().want(http.StatusOK)
		}
	}
	h.clock.Move(6*time.Hour - time.Millisecond)
	h.ask("GET", "/api/tokens").cookie(used).send().want(http.StatusOK)
	h.clock.Move(time.Millisecond)
	h.ask("GET", "/api/tokens").cookie(used).send().want(http.StatusUnauthorized, credentialsRequired)
}

// TestOrigins: who may send what with a cookie.
func TestOrigins(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.PublicURL = "http://Tokens.Example.com:80" })
	cookie := h.login(alice, password)
	site := func(v string) credentials { return credentials{"Sec-Fetch-Site": {v}} }
	from := func(v string) credentials { return credentials{"Origin": {v}} }
	for _, c := range []struct {
		what   string
		sent   credentials
		passes bool
	}{
		{"no browser", credentials{}, true},
		{"same origin", site("same-origin"), true},
		{"typed in", site("none"), true},
		{"same site", site("same-site"), false},
		{"cross-site", site("cross-site"), false},
		{"nonsense", site("x"), false},
		{"own origin", from("http://example.com"), true},
		{"the public address", from("http://tokens.example.com"), true},
		{"another origin", from("https://evil.example"), false},
		{"a port of ours", from("http://example.com:8081"), false},
		{"null", from("null"), false},
		{"own name in another's", from("https://example.com.evil.example"), false},
		{"says same origin, cross-site", credentials{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://example.com"}}, false},
		{"cross-site from the public address", credentials{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://tokens.example.com"}}, true},
	} {
		for _, route := range []struct {
			method, path, body string
			ok                 int
		}{
			{"POST", "/api/token", `{}`, http.StatusOK},
			{"GET", "/api/createApiToken", "", http.StatusOK},
			{"PATCH", "/api/token/0", `{"name":"a"}`, http.StatusNotFound},
			{"DELETE", "/api/token/0", "", http.StatusNotFound},
			{"POST", "/api/userRecentFiles", `{"id":1,"name":"a","revision":1,"path":"/a"}`, http.StatusNoContent},
			{"POST", "/api/login", `{"username":"alice@example.com","password":"correct horse battery staple"}`, http.StatusNoContent},
		} {
			a := h.ask(route.method, route.path)
			if route.path != "/api/login" {
				a.cookie(cookie)
			}
			if route.body != "" {
				a.json(route.body)
			}
			want := route.ok
			if !c.passes {
				want = http.StatusForbidden
			}
			got := c.sent.on(a).send()
			if got.code != want {
				t.Errorf("%s %s, %s: got %d %s, want %d", route.method, route.path, c.what, got.code, got.text, want)
			}
		}
	}
	h.ask("DELETE", "/api/token/0").token(h.token()).header("Origin", "https://evil.example").send().want(http.StatusNotFound)
}

// TestCreateByGetRefuses requests that do not come from a person who goes there.
func TestCreateByGetRefuses(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	const path = "/api/createApiToken"
	for _, c := range []credentials{
		{"Sec-Purpose": {"prefetch"}}, {"Sec-Purpose": {"prefetch;prerender"}}, {"Purpose": {"prefetch"}}, {"X-Purpose": {"preview"}},
		{"X-Moz": {"prefetch"}}, {"Purpose": {"PREFETCH"}}, {"Purpose": {"x", "prefetch"}}, {"Sec-Fetch-Site": {"cross-site"}},
	} {
		c.on(h.ask("GET", path).cookie(cookie)).send().want(http.StatusForbidden)
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		got := h.ask(method, path).cookie(cookie).send()
		if got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET" {
			t.Errorf("%s: got %d, Allow %q", method, got.code, got.header.Get("Allow"))
		}
		h.ask(method, "/api/revokeApiToken").send().want(http.StatusMethodNotAllowed).wantHeader("Allow", "GET")
	}
	var list []struct{}
	if h.ask("GET", "/api/tokens").cookie(cookie).send().into(&list); len(list) != 0 {
		t.Errorf("got %d tokens, want none", len(list))
	}
	h.ask("GET", path).cookie(cookie).header("Sec-Fetch-Site", "same-origin").send().newToken()
}
