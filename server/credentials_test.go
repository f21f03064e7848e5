package server_test

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse/server/route"
)

// TestOriginsOfEveryRoute: every route that changes something and takes the cookie
// refuses requests that another site's page made the browser send, before it looks at
// anything else.
func TestOriginsOfEveryRoute(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	id := h.create(`{"name":"a"}`).ID
	tried := 0
	for _, rt := range append(h.Routes(), h.Site().Routes()...) {
		method, path, _ := strings.Cut(rt.Pattern, " ")
		if rt.Who != route.ByCookie && rt.Who != route.ByEither || method == http.MethodGet {
			continue
		}
		tried++
		path = strings.ReplaceAll(path, "{id}", id)
		for what, sent := range map[string]credentials{
			"another site":                {"Sec-Fetch-Site": {"cross-site"}},
			"a neighbour":                 {"Sec-Fetch-Site": {"same-site"}},
			"an older browser":            {"Origin": {"https://evil.example"}},
			"a sandbox":                   {"Origin": {"null"}},
			"another port":                {"Origin": {"http://example.com:81"}},
			"another scheme":              {"Origin": {"https://example.com.evil.example"}},
			"two origins":                 {"Origin": {"https://evil.example", "http://example.com"}},
			"a site that says it is ours": {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://example.com"}},
		} {
			got := sent.on(h.ask(method, path).cookie(cookie).json(`{"name":"b"}`)).send()
			if got.code != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
				t.Errorf("%s from %s: got %d %.100s, want 403", rt.Pattern, what, got.code, got.text)
			}
		}
	}
	if tried < 10 {
		t.Errorf("%d routes were tried", tried)
	}
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusOK)
	if got := adminToken(h, id); got.Name != "a" || got.State != "live" {
		t.Errorf("got %+v, want the token as it was", got)
	}
}

// TestTwoCredentials: if there are two tokens, neither counts, even if they are the same.
// With a token the cookie does not count, whether the token is good or bad.
func TestTwoCredentials(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	as, bs := h.token(), h.userpass("bob@example.com", password).newToken().Secret
	cookie := h.login(alice, password)
	bearer := func(text string) string { return "Bearer " + text }
	kinds := []struct {
		method, path string
		who          route.Credential
		ok           int
	}{
		{"GET", "/api/token", route.ByToken, http.StatusOK},
		{"POST", "/api/introspect", route.ByToken, http.StatusOK},
		{"GET", "/api/getApiTokens", route.ByEither, http.StatusOK},
		{"GET", "/api/tokens", route.ByEither, http.StatusOK},
		{"GET", "/api/getUserRecentFiles", route.ByEither, http.StatusOK},
		{"POST", "/api/token", route.ByCookie, http.StatusOK},
		{"GET", "/api/createApiToken", route.ByCookie, http.StatusOK},
		{"GET", "/api/sessions", route.ByCookie, http.StatusOK},
		{"GET", verifyPath, route.ByGate, http.StatusOK},
	}
	for _, c := range []struct {
		what string
		sent credentials
		good []route.Credential // the routes that it opens
		uid  string             // the owner then
	}{
		{"a token", credentials{"X-Auth-Token": {as}}, []route.Credential{route.ByToken, route.ByEither, route.ByGate}, alice},
		{"a bearer", credentials{"Authorization": {bearer(bs)}}, []route.Credential{route.ByToken, route.ByEither, route.ByGate}, "bob@example.com"},
		{"a basic", credentials{"Authorization": {basic("x", bs)}}, []route.Credential{route.ByGate}, "bob@example.com"},
		{"a cookie", credentials{"Cookie": {"gatehouse=" + cookie}}, []route.Credential{route.ByCookie, route.ByEither}, alice},
		{"one's token and another's cookie", credentials{"X-Auth-Token": {bs}, "Cookie": {"gatehouse=" + cookie}}, []route.Credential{route.ByToken, route.ByEither, route.ByGate}, "bob@example.com"},
		{"one's bearer and another's cookie", credentials{"Authorization": {bearer(bs)}, "Cookie": {"gatehouse=" + cookie}}, []route.Credential{route.ByToken, route.ByEither, route.ByGate}, "bob@example.com"},
		{"a basic and a cookie", credentials{"Authorization": {basic("x", bs)}, "Cookie": {"gatehouse=" + cookie}}, []route.Credential{route.ByCookie, route.ByEither, route.ByGate}, ""},
		{"an empty token and a cookie", credentials{"X-Auth-Token": {""}, "Cookie": {"gatehouse=" + cookie}}, nil, ""},
		{"a bad token and a cookie", credentials{"X-Auth-Token": {"x"}, "Cookie": {"gatehouse=" + cookie}}, nil, ""},
		{"a bad bearer and a cookie", credentials{"Authorization": {"Bearer x"}, "Cookie": {"gatehouse=" + cookie}}, nil, ""},
		{"two tokens", credentials{"X-Auth-Token": {as, bs}}, nil, ""},
		{"the same token twice", credentials{"X-Auth-Token": {as, as}}, nil, ""},
		{"two in one header", credentials{"X-Auth-Token": {as + "," + as}}, nil, ""},
		{"a good and an empty one", credentials{"X-Auth-Token": {as, ""}}, nil, ""},
		{"a token and a bearer", credentials{"X-Auth-Token": {as}, "Authorization": {bearer(bs)}}, nil, ""},
		{"the same as both", credentials{"X-Auth-Token": {as}, "Authorization": {bearer(as)}}, nil, ""},
		{"a token and a bad bearer", credentials{"X-Auth-Token": {as}, "Authorization": {"Bearer x"}}, nil, ""},
		{"two bearers", credentials{"Authorization": {bearer(as), bearer(bs)}}, nil, ""},
		{"a token and a basic", credentials{"X-Auth-Token": {as}, "Authorization": {basic("x", bs)}}, []route.Credential{route.ByToken, route.ByEither}, alice},
		{"a bearer and a basic", credentials{"Authorization": {bearer(as), basic("x", bs)}}, []route.Credential{route.ByToken, route.ByEither}, alice},
		{"two tokens and a cookie", credentials{"X-Auth-Token": {as, bs}, "Cookie": {"gatehouse=" + cookie}}, nil, ""},
		{"two cookies", credentials{"Cookie": {"gatehouse=" + cookie, "gatehouse=" + cookie}}, nil, ""},
		{"a planted cookie beside a good one", credentials{"Cookie": {"gatehouse=x; gatehouse=" + cookie}}, nil, ""},
	} {
		for _, k := range kinds {
			a := h.ask(k.method, k.path)
			if k.method == "POST" {
				a.json(`{}`)
				if k.who == route.ByToken {
					a = h.ask(k.method, k.path).form("token=x")
				}
			}
			want := http.StatusUnauthorized
			for _, who := range c.good {
				if who == k.who {
					want = k.ok
				}
			}
			got := c.sent.on(a).send()
			if got.code != want || want == http.StatusUnauthorized && got.text != credentialsRequired {
				t.Errorf("%s %s with %s: got %d %.100s, want %d", k.method, k.path, c.what, got.code, got.text, want)
			}
			if got.code == http.StatusOK && c.uid != "" && k.path == "/api/token" && !strings.Contains(got.text, `"uid":"`+c.uid+`"`) {
				t.Errorf("%s %s with %s: got %.300s, want %s", k.method, k.path, c.what, got.text, c.uid)
			}
			if got.code == http.StatusOK && c.uid != "" && k.who == route.ByGate && got.header.Get("X-Auth-User") != c.uid {
				t.Errorf("%s with %s: got %s, want %s", k.path, c.what, got.header.Get("X-Auth-User"), c.uid)
			}
		}
	}
}
