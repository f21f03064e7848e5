package server_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

const verifyPath = "/api/verify"

// everyMethod lists what a proxy may pass on, and a method that nobody knows.
var everyMethod = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"}

// untouched is a body that nobody may read.
type untouched struct{ testing.TB }

func (u untouched) Read([]byte) (int, error) {
	u.Error("the body was read")
	return 0, io.ErrUnexpectedEOF
}

func (untouched) Close() error { return nil }

var opaque = regexp.MustCompile(`^[0-9a-f]{16}$`)

// wantIdentity checks a 200 of the gate.
func (a answer) wantIdentity(uid, id, scopes string) answer {
	a.Helper()
	if got := a.header["X-Auth-User-Id"]; len(got) != 1 || !opaque.MatchString(got[0]) {
		a.Errorf("%s: got X-Auth-User-Id %q, want one of 16 hexadecimal characters", a.what, got)
	}
	return a.want(http.StatusOK, "").wantHeader("X-Auth-User", uid).wantHeader("X-Auth-Token-Id", id).
		wantHeader("X-Auth-Scopes", scopes).wantHeader("Cache-Control", "no-store")
}

// wantGate checks that an answer is one of those that proxies understand.
func (a answer) wantGate() answer {
	a.Helper()
	switch a.code {
	case http.StatusOK, http.StatusForbidden:
	case http.StatusUnauthorized:
		a.want(http.StatusUnauthorized, credentialsRequired).wantHeader("Www-Authenticate", `Basic realm="gatehouse" | Bearer realm="gatehouse"`)
	default:
		a.Errorf("%s: got %d %s, want 200, 401 or 403", a.what, a.code, a.text)
	}
	if a.code != http.StatusOK {
		for _, name := range []string{"X-Auth-User", "X-Auth-User-Id", "X-Auth-Token-Id", "X-Auth-Scopes"} {
			a.wantHeader(name, "")
		}
	}
	return a
}

// userID is the X-Auth-User-Id of a token's owner.
func (h *house) userID(token string) string {
	h.Helper()
	return h.ask("GET", verifyPath).token(token).send().want(http.StatusOK).header.Get("X-Auth-User-Id")
}

// TestUserID: a user's id stays the same through everything, and never becomes another's.
func TestUserID(t *testing.T) {
	h := newHouse(t)
	aliceID := h.userID(h.token())
	hub := storage.Identity{Source: "github", Subject: "17"}
	logIn := func(id storage.Identity, uid string) (storage.User, string) {
		t.Helper()
		u := must.Get(h.store.LogIn(storage.Actor{}, storage.Login{Identity: id, Addresses: []string{uid}}))(t)
		_, secret := must.Get2(h.store.CreateToken(storage.Actor{}, u.ID, storage.TokenSpec{}))(t)
		return u, secret.Reveal()
	}
	_, first := logIn(hub, "ada@example.com")
	id := h.userID(first)
	_, renamed := logIn(hub, "lovelace@example.com")
	h.close()
	h.open()
	for what, token := range map[string]string{"after a rename": first, "a token made since": renamed} {
		if got := h.userID(token); got != id {
			t.Errorf("%s: got %s, want %s", what, got, id)
		}
	}
	h.ask("GET", verifyPath).token(first).send().want(http.StatusOK).wantHeader("X-Auth-User", "lovelace@example.com")

	// The next person with the address is somebody else, even if that person takes over
	// all of it.
	_, next := logIn(storage.Identity{Source: "github", Subject: "18"}, "ada@example.com")
	seen := map[string]bool{aliceID: true, id: true}
	if got := h.userID(next); seen[got] {
		t.Errorf("the next one with the address has an id that was given: %s", got)
	}
	must.Do(t, h.store.RemoveUser(storage.Actor{}, "lovelace@example.com"))
	_, again := logIn(hub, "lovelace@example.com")
	if got := h.userID(again); seen[got] {
		t.Errorf("whom a removed user's identity makes has an id that was given: %s", got)
	}
}

// TestVerify lets a token through, by each header and on every method.
func TestVerify(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	for _, method := range everyMethod {
		for what, c := range map[string]credentials{
			"X-Auth-Token": {"X-Auth-Token": {made.Secret}},
			"bearer":       {"Authorization": {"Bearer " + made.Secret}},
			"basic":        {"Authorization": {basic("git", made.Secret)}},
			"basic, no user, other case": {"Authorization": {
				"bASIC" + strings.TrimPrefix(basic("", made.Secret), "Basic")}},
			"basic, more spaces": {"Authorization": {"Basic  " + strings.TrimPrefix(basic("git", made.Secret), "Basic ")}},
			"a cookie beside":    {"X-Auth-Token": {made.Secret}, "Cookie": {h.cookieName() + "=x"}},
		} {
			a := c.on(h.ask(method, verifyPath))
			a.r.Body = untouched{t}
			t.Logf("%s by %s", method, what)
			a.send().wantIdentity(alice, made.ID, "*")
		}
	}
}

func basic(user, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// TestVerifyRefuses: one answer for any fault of the credential.
func TestVerifyRefuses(t *testing.T) {
	h := newHouse(t)
	bad := badCredentials(h)
	good := h.token()
	cookie := h.login(alice, password)
	bad["a cookie alone"] = credentials{"Cookie": {h.cookieName() + "=" + cookie}}
	bad["the token as the user of Basic"] = credentials{"Authorization": {basic(good, "x")}}
	bad["Basic without a password"] = credentials{"Authorization": {basic("git", "")}}
	bad["a password"] = credentials{"Authorization": {basic(alice, password)}}
	bad["two Basics"] = credentials{"Authorization": {basic("git", good), basic("git", good)}}
	bad["Basic and Bearer"] = credentials{"Authorization": {basic("git", good), "Bearer " + good}}
	bad["Basic and X-Auth-Token"] = credentials{"Authorization": {basic("git", good)}, "X-Auth-Token": {good}}
	bad["Basic with a wrong one, and X-Auth-Token"] = credentials{"Authorization": {basic("git", "x")}, "X-Auth-Token": {good}}
	for what, c := range bad {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			a := c.on(h.ask(method, verifyPath+"?scope=files"))
			a.r.Body = untouched{t}
			if got := a.send().wantGate(); got.code != http.StatusUnauthorized {
				t.Errorf("%s %s: got %d", method, what, got.code)
			}
		}
	}
	h.ask("GET", "/api/token").header("Authorization", basic("git", good)).send().want(http.StatusUnauthorized)
	if strings.Contains(h.log.String(), good) {
		t.Error("the log holds a token")
	}
}

func TestVerifyScopes(t *testing.T) {
	h := newHouse(t)
	free, limited := h.create(`{}`), h.create(`{"scopes":["files","repo:read","files"]}`)
	for query, want := range map[string]int{
		"":                                    200,
		"?":                                   200,
		"?scope=files":                        200,
		"?scope=repo:read":                    200,
		"?scope=repo%3Aread":                  200,
		"?scope=files&scope=files":            200,
		"?scope=files&scope=repo:read":        200,
		"?other=1":                            200,
		"?scope=":                             403,
		"?scope":                              403,
		"?scope=Files":                        403,
		"?scope=file":                         403,
		"?scope=*":                            403,
		"?scope=files+repo:read":              403,
		"?scope=files&scope=admin":            403,
		"?scope=admin&scope=files":            403,
		"?scope=files&scope=":                 403,
		"?scope=adm%zz":                       403,
		"?scope=admin;x":                      403,
		"?scope=files&scope=admin;x":          403,
		"?scope=%00":                          403,
		"?scope=\"%0d%0aX-Auth-User:":         403,
		"?scope=" + strings.Repeat("a", 8000): 403,
	} {
		got := h.ask("GET", "/").token(limited.Secret)
		got.r.URL.Path, got.r.URL.RawQuery = verifyPath, strings.TrimPrefix(query, "?")
		a := got.send().wantGate()
		if a.code != want {
			t.Errorf("%.60s: got %d, want %d", query, a.code, want)
		}
		if want == 200 {
			a.wantIdentity(alice, limited.ID, "files repo:read")
		}
		got = h.ask("GET", "/").token(free.Secret)
		got.r.URL.Path, got.r.URL.RawQuery = verifyPath, strings.TrimPrefix(query, "?")
		got.send().wantIdentity(alice, free.ID, "*") // it may ask for any scope
	}
	h.ask("GET", verifyPath+"?scope=admin").token(limited.Secret).send().want(403, `{"error":"The token lacks the scope \"admin\""}`)
}

// TestVerifyCounts: each 200 is a use, and a 401 is none.
func TestVerifyCounts(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	h.clock.Move(time.Hour)
	h.ask("GET", verifyPath).token(flip(made.Secret, 200)).send().wantGate()
	if got := adminToken(h, made.ID); got.LastUsed != got.Created {
		t.Errorf("got lastUsed %d after a forged token, want %d", got.LastUsed, got.Created)
	}
	h.ask("HEAD", verifyPath).token(made.Secret).from("198.51.100.7:9").send().want(http.StatusOK)
	if got := adminToken(h, made.ID); got.LastUsed != h.clock.Milli() || got.LastAddress != "198.51.100.7" {
		t.Errorf("got lastUsed %d from %s, want %d", got.LastUsed, got.LastAddress, h.clock.Milli())
	}
}

// TestVerifyInTrouble: a proxy is told 401 when the store is closed or damaged.
func TestVerifyInTrouble(t *testing.T) {
	h := newHouse(t)
	free, limited, rotated := h.create(`{}`), h.create(`{"expiresIn":"1h"}`), h.create(`{}`)
	rotated.Secret = h.rotate(rotated.ID, rotated.Secret, `{}`)
	all := func() {
		t.Helper()
		for _, text := range []string{free.Secret, limited.Secret, rotated.Secret, "x"} {
			h.ask("GET", verifyPath+"?scope=files").token(text).send().wantGate()
			h.ask("POST", verifyPath).header("Authorization", basic("", text)).send().wantGate()
		}
	}
	h.close()
	all()
	h.ask("GET", verifyPath).token(limited.Secret).send().want(http.StatusUnauthorized)
	damage(t, h.dir, 't', "")
	h.open()
	all()
	h.ask("GET", verifyPath).token(limited.Secret).send().want(http.StatusUnauthorized)
	if log := h.log.String(); !strings.Contains(log, "a token could not be verified") || strings.Contains(log, limited.Secret) {
		t.Error("the log does not say why, or says too much")
	}
}

// TestVerifyVanishing: users and tokens that disappear during a request.
func TestVerifyVanishing(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		uid := fmt.Sprintf("user%d@example.com", i)
		h.addUser(uid, password)
		token := h.userpass(uid, password).newToken().Secret
		limited := h.ask("POST", "/api/token").cookie(h.login(uid, password)).json(`{"expiresIn":"1h"}`).send().newToken().Secret
		var users sync.WaitGroup
		gone := make(chan struct{})
		for _, text := range []string{token, limited} {
			users.Go(func() {
				for {
					h.ask("GET", verifyPath).token(text).send().wantGate()
					select {
					case <-gone:
						h.ask("GET", verifyPath).token(text).send().want(http.StatusUnauthorized)
						return
					default:
					}
				}
			})
		}
		if err := h.admin.RemoveUser(t.Context(), uid); err != nil {
			t.Error(err)
		}
		close(gone)
		users.Wait()
	}
}

// TestVerifyOverHTTP: what only a real connection carries.
func TestVerifyOverHTTP(t *testing.T) {
	h := newHouse(t)
	server := h.serve()
	token := h.token()
	body := strings.Repeat("x", 100<<10)
	for _, method := range []string{"GET", "POST", "PUT", "OPTIONS", "CONNECT"} {
		for text, want := range map[string]string{token: "200", "x": "401"} {
			head := method + " /api/verify HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + text + "\r\n"
			for _, rest := range []string{
				"Connection: close\r\n\r\n",
				"Connection: close\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n",
				"Content-Length: 99999999999\r\n\r\n" + body,
				"Connection: close\r\nContent-Encoding: br\r\nContent-Type: no/such\r\nContent-Length: 3\r\n\r\nabc",
			} {
				if got := exchange(t, server, head+rest); !strings.HasPrefix(got, "HTTP/1.1 "+want) {
					t.Errorf("%s, %.40q: got %.60q, want %s", method, rest, got, want)
				}
			}
		}
	}
}
