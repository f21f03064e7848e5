package server_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// TestNoStore: no cache may keep the reply to a request that carries a credential, valid
// or not, for any reply.
func TestNoStore(t *testing.T) {
	h := newHouse(t)
	var token, cookie string // of this path: some end them
	narrow := h.create(`{"scopes":["x"]}`).Secret
	credential := map[string]func(*ask) *ask{
		"token":       func(a *ask) *ask { return a.token(token) },
		"bearer":      func(a *ask) *ask { return a.header("Authorization", "Bearer "+token) },
		"basic":       func(a *ask) *ask { return a.header("Authorization", basic("git", token)) },
		"cookie":      func(a *ask) *ask { return a.cookie(cookie) },
		"narrow":      func(a *ask) *ask { return a.token(narrow) },
		"both":        func(a *ask) *ask { return a.token(token).cookie(cookie) },
		"bad token":   func(a *ask) *ask { return a.token("x") },
		"bad bearer":  func(a *ask) *ask { return a.header("Authorization", "Bearer") },
		"bad cookie":  func(a *ask) *ask { return a.cookie("x") },
		"two cookies": func(a *ask) *ask { return a.cookie("x").cookie("y") },
	}
	asset := regexp.MustCompile(`/web/style-[0-9a-f]+\.css`).FindString(h.ask("GET", "/").send().want(http.StatusOK).text)
	paths := []string{
		asset, "/", "/?next=/api/createApiToken", "/api/verify?scope=x", "/api/verify/", "//api/token", "/api/nothing", "/nothing", "/web/nothing",
		"/login/nobody", "/login/nobody/callback", "/tokens/x/revoke", "/api/authenticate/nobody",
	}
	for _, rt := range append(h.Routes(), h.Site().Routes()...) {
		_, path, ok := strings.Cut(rt.Pattern, " ")
		if !ok {
			path = rt.Pattern
		}
		paths = append(paths, strings.NewReplacer("{$}", "", "{id}", "x", "{provider}", "x", "{file}", "x", "{topic}", "start").Replace(path))
	}
	statuses := map[int]bool{}
	for _, path := range paths {
		token, cookie = h.token(), h.login(alice, password)
		for what, add := range credential {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
				a := add(h.ask(method, path))
				if method == "POST" {
					a.form("token=c&name=d")
				} else if strings.HasSuffix(what, "cookie") {
					a.header("Accept", "text/html")
				}
				got := a.send()
				statuses[got.code] = true
				if v := got.header.Values("Cache-Control"); len(v) != 1 || v[0] != "no-store" {
					t.Errorf("%s %s with %s: got %d with Cache-Control %q", method, path, what, got.code, v)
				}
			}
		}
	}
	for _, status := range []int{200, 303, 400, 401, 403, 404, 405, 415} {
		if !statuses[status] {
			t.Errorf("no reply had the status %d", status)
		}
	}

	// Without a credential, replies that contain one or depend on the caller are not kept
	// either.
	h.userpass(alice, password).want(http.StatusOK).wantHeader("Cache-Control", "no-store")
	h.ask("GET", "/api/token").send().want(http.StatusUnauthorized).wantHeader("Cache-Control", "no-store")
	h.ask("GET", "/web/nothing").send().page(http.StatusNotFound) // which looks for no-store
	h.ask("GET", asset).header("Cookie", "other=x").send().want(http.StatusOK).wantHeader("Cache-Control", "public, max-age=31536000, immutable")
}

// TestNoStoreInTrouble: the same when the store is closed, and when a handler panics.
func TestNoStoreInTrouble(t *testing.T) {
	h := newHouse(t)
	token, cookie := h.token(), h.login(alice, password)
	h.close()
	for _, path := range []string{"/", "/api/token", "/api/tokens", "/api/createApiToken", "/api/revokeApiToken", verifyPath, "/readyz"} {
		h.ask("GET", path).token(token).send().wantHeader("Cache-Control", "no-store")
		h.ask("GET", path).cookie(cookie).send().wantHeader("Cache-Control", "no-store")
	}
	h.open()
	panics := route.Route{Pattern: "GET /", Serve: func(http.ResponseWriter, *route.Request) error { panic("by the test") }}
	w := httptest.NewRecorder()
	reply.Unstored(h.Mux(panics)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	answer{t, w.Code, w.Header(), w.Body.String(), "a panic"}.want(http.StatusInternalServerError).wantHeader("Cache-Control", "no-store")
}
