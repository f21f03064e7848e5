package server_test

import (
	"net/http"
	"testing"
)

// TestTypedIn: a person who goes to createApiToken with a browser and is not logged in
// gets the login, and then the token.
func TestTypedIn(t *testing.T) {
	h := newHouse(t)
	const path = "/api/createApiToken"
	browser := credentials{"Accept": {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}}
	modern := credentials{"Accept": browser["Accept"], "Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
	const login = "/?next=%2Fapi%2FcreateApiToken"
	browser.on(h.ask("GET", path)).send().goesTo(login)
	modern.on(h.ask("GET", path)).send().goesTo(login)
	modern.on(h.ask("GET", path).cookie("ended")).send().goesTo(login)
	modern.on(h.ask("GET", path+"?a=b")).send().goesTo(login + "%3Fa%3Db")

	h.ask("GET", login).send().page(http.StatusOK).shows(`name="next" value="/api/createApiToken"`)
	h.post("/login", "", "username", alice, "password", "wrong", "next", path).page(http.StatusUnauthorized).shows(`name="next" value="/api/createApiToken"`)
	cookie := h.post("/login", "", "username", alice, "password", password, "next", path).goesTo(path).session()
	secret := modern.on(h.ask("GET", path).cookie(cookie)).send().newToken().Secret
	h.alive(secret)

	for what, sent := range map[string]credentials{
		"a script":           {},
		"curl":               {"Accept": {"*/*"}},
		"fetch":              {"Accept": {"text/html"}, "Sec-Fetch-Mode": {"cors"}},
		"a frame":            {"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}},
		"a link on a site":   {"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"}},
		"prefetch":           {"Accept": {"text/html"}, "Sec-Purpose": {"prefetch"}},
		"a token":            {"Accept": {"text/html"}, "X-Auth-Token": {"x"}},
		"a token that works": {"Accept": {"text/html"}, "X-Auth-Token": {secret}},
		"a bearer":           {"Accept": {"text/html"}, "Authorization": {"Bearer x"}},
	} {
		if got := sent.on(h.ask("GET", path)).send(); got.code != http.StatusUnauthorized || got.text != credentialsRequired {
			t.Errorf("%s: got %d %s, want the documented 401", what, got.code, got.text)
		}
	}
	modern.on(h.ask("HEAD", path)).send().want(http.StatusMethodNotAllowed)
	browser.on(h.ask("GET", "/api/getApiTokens")).send().want(http.StatusUnauthorized, credentialsRequired)
}

// TestNoOpenRedirect: a login ends on this server, for any link to it.
func TestNoOpenRedirect(t *testing.T) {
	h := newHouse(t)
	for _, next := range []string{"//evil.example", `/\evil.example`, "https://evil.example/", "/\t/evil.example", "javascript:alert(1)", "\r\nLocation: https://evil.example", "/\r\nX: y"} {
		h.post("/login", "", "username", alice, "password", password, "next", next).goesTo("/")
		h.post("/login", "", "username", alice, "password", "x", "next", next).page(http.StatusUnauthorized).lacks(`name="next"`)
		h.post("/login", "", "username", alice, "password", password, "next", next).goesTo("/") // and the count of failures ends
	}
}

// TestNextWhenLoggedIn: a link to the login with a path to go on to takes nobody who is
// logged in there, since that path may make a token.
func TestNextWhenLoggedIn(t *testing.T) {
	h := newHouse(t)
	h.ask("GET", "/?next=/api/createApiToken").cookie(h.login(alice, password)).send().page(http.StatusOK).shows("You have no tokens yet.")
}

// TestLedHere: if another site leads a browser here, the browser does not send a Strict
// cookie. A page takes it on, so that it does.
func TestLedHere(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	for _, site := range []string{"cross-site", "same-site"} {
		h.ask("GET", "/?page=2").header("Sec-Fetch-Site", site).send().page(http.StatusOK).
			shows(`<meta http-equiv="refresh" content="0; url=/?page=2">`, `href="/?page=2"`).lacks(`name="password"`)
		h.ask("GET", "/tokens/x/revoke").header("Sec-Fetch-Site", site).send().page(http.StatusUnauthorized).
			shows(`content="0; url=/tokens/x/revoke"`).lacks(`name="password"`)
		h.ask("GET", `/?x='"><script>`).header("Sec-Fetch-Site", site).send().page(http.StatusOK).lacks(`<script>`, `'"`)
		h.ask("POST", "/logout").header("Sec-Fetch-Site", site).send().page(http.StatusUnauthorized).lacks("refresh")
		h.ask("GET", "/").header("Sec-Fetch-Site", site).cookie(cookie).send().page(http.StatusOK).shows("Manage API tokens")
	}
	for _, site := range []string{"none", "same-origin"} {
		h.ask("GET", "/").header("Sec-Fetch-Site", site).send().page(http.StatusOK).shows(`name="password"`).lacks("refresh")
	}
}

// TestProviderPages: the login leads to the providers. An error with a provider is a page
// for a browser, and an error as documented for all others.
func TestProviderPages(t *testing.T) {
	h, _ := newGitHubHouse(t)
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	h.ask("GET", "/").send().page(http.StatusOK).shows(`<a class="button" href="/login/github"><span>Log in with <bdi>GitHub</bdi></span></a>`)
	h.ask("GET", "/?next=/tokens/0/revoke%3Fpage=2").send().page(http.StatusOK).shows(`href="/login/github?next=%2ftokens%2f0%2frevoke%3fpage%3d2"`)
	for path, code := range map[string]int{
		"/login/nobody":                         http.StatusNotFound,
		"/login/github?next=//evil.example":     http.StatusBadRequest,
		"/login/github/callback":                http.StatusBadRequest,
		"/login/github/callback?state=x&code=y": http.StatusBadRequest,
	} {
		h.ask("GET", path).header("Accept", browser).header("Sec-Fetch-Site", "cross-site").send().page(code).lacks("refresh")
		h.ask("GET", path).send().want(code)
	}
}
