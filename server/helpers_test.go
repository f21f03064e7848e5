package server_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"gatehouse/server"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/login"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

func TestMain(m *testing.M) {
	storagetest.InMemory()
	m.Run()
}

// cheap are parameters under which a test of something else need not wait.
var cheap = argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// How most tests know alice, and what every reply without a usable credential says.
const (
	alice    = "alice@example.com"
	password = "correct horse battery staple"

	credentialsRequired = `{"error":"Credentials required"}`
	invalidCredentials  = `{"error":"Invalid credentials"}`
)

// patience is how long to wait for something that must come, even on a busy machine.
// After that, it does not come.
const patience = 5 * time.Minute

// house is a server on a real store, with alice in it.
type house struct {
	testing.TB
	*server.Server
	dir   string
	clock *storagetest.Clock
	boot  func() time.Duration // since the system was started; nil: the clock is always right
	cfg   config.Config
	log   *storagetest.Log
	store *storage.Store
	web   http.Handler
	admin *api.Client
}

// newHouse opens a house with a configuration that the given functions have changed.
func newHouse(t testing.TB, change ...func(*config.Config)) *house {
	t.Helper()
	h := &house{
		TB: t, dir: t.TempDir(), cfg: config.Default(), log: new(storagetest.Log),
		clock: storagetest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
	}
	for _, f := range change {
		f(&h.cfg)
	}
	h.open()
	t.Cleanup(h.close)
	h.addUser(alice, password)
	return h
}

func (h *house) open() {
	h.Helper()
	log := slog.New(slog.NewTextHandler(h.log, nil))
	store := must.Get(storage.Open(h.dir, storage.Options{Segment: storagetest.Segment, MaxPerUser: h.cfg.Tokens.MaxPerUser, Now: h.clock.Now, Boot: h.boot, Log: log}))(h)
	h.start(store, server.Options{})
}

// start opens a server on the store.
func (h *house) start(store *storage.Store, o server.Options) {
	h.Helper()
	o.Version, o.Now, o.Log = "test", h.clock.Now, slog.New(slog.NewTextHandler(h.log, nil))
	o.ProviderTimeout = cmp.Or(o.ProviderTimeout, time.Minute) // a provider that answers at all does so within it
	o.Hasher = guard.NewHasher(cheap, 4, 1024)
	s := must.Get(server.New(store, h.cfg, o))(h)
	h.Server, h.store = s, store
	h.web = h.Handler()
	h.admin = api.InProcess(h.AdminHandler("tester"), func() error { return nil })
}

func (h *house) close() {
	h.Helper()
	if err := h.store.Close(); err != nil {
		h.Error(err)
	}
}

func (h *house) addUser(uid, password string) {
	h.Helper()
	must.Get(h.admin.AddUser(context.Background(), api.NewUser{UID: uid, Password: password}))(h)
}

const day = 24 * time.Hour

// hashWith changes how passwords are hashed from now on.
func (h *house) hashWith(other *guard.Hasher) {
	h.Logins().Hasher, h.Admin().Hasher = other, other
}

// cookieName returns the name of the login cookie.
func (h *house) cookieName() string { return login.CookieName(h.Config()) }

// ask is a request to be built up: method and path, then what it carries.
type ask struct {
	h *house
	r *http.Request
}

// ask begins a request from 192.0.2.1.
func (h *house) ask(method, path string) *ask {
	return &ask{h, httptest.NewRequest(method, path, nil)}
}

func (a *ask) header(name string, values ...string) *ask {
	for _, v := range values {
		a.r.Header.Add(name, v)
	}
	return a
}

func (a *ask) token(t string) *ask  { return a.header("X-Auth-Token", t) }
func (a *ask) cookie(c string) *ask { return a.header("Cookie", a.h.cookieName()+"="+c) }

func (a *ask) from(remote string) *ask {
	a.r.RemoteAddr = remote
	return a
}

func (a *ask) body(mediaType, text string) *ask {
	a.r.Body = io.NopCloser(strings.NewReader(text))
	a.r.ContentLength = int64(len(text))
	return a.header("Content-Type", mediaType)
}

func (a *ask) json(text string) *ask { return a.body("application/json", text) }
func (a *ask) form(text string) *ask { return a.body("application/x-www-form-urlencoded", text) }

// answer is a reply, and the test that waits for it.
type answer struct {
	testing.TB
	code   int
	header http.Header
	text   string
	what   string
}

func (a *ask) send() answer {
	a.h.Helper()
	w := httptest.NewRecorder()
	a.h.web.ServeHTTP(w, a.r)
	got := answer{a.h.TB, w.Code, w.Header(), w.Body.String(), a.r.Method + " " + a.r.URL.Path}
	got.cutNewline()
	return got
}

// cutNewline checks that a JSON reply ends with one newline, and cuts it off.
func (a *answer) cutNewline() {
	a.Helper()
	if a.header.Get("Content-Type") != "application/json" {
		return
	}
	text, ok := strings.CutSuffix(a.text, "\n")
	if !ok || strings.HasSuffix(text, "\n") {
		a.Errorf("%s: the body ends with %.20q, want one newline at its end", a.what, a.text[max(0, len(a.text)-20):])
	}
	a.text = text
}

// want checks the status and, when one is given, the whole body.
func (a answer) want(code int, body ...string) answer {
	a.Helper()
	if a.code != code {
		a.Fatalf("%s: got status %d (%.300s), want %d", a.what, a.code, a.text, code)
	}
	if len(body) == 1 && a.text != body[0] {
		a.Fatalf("%s: got body %.300s, want %.300s", a.what, a.text, body[0])
	}
	if code >= 400 {
		a.wantError()
	}
	return a
}

// wantError checks that the body is an error of the documented form.
func (a answer) wantError() {
	a.Helper()
	var e map[string]string
	if err := json.Unmarshal([]byte(a.text), &e); err != nil || len(e) != 1 || e["error"] == "" {
		a.Errorf("%s: got body %.300q, want one error and nothing else", a.what, a.text)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		a.Errorf("%s: got Content-Type %q of an error, want application/json", a.what, got)
	}
}

func (a answer) wantHeader(name, want string) answer {
	a.Helper()
	if got := strings.Join(a.header.Values(name), " | "); got != want {
		a.Errorf("%s: got %s %q, want %q", a.what, name, got, want)
	}
	return a
}

// into decodes the body.
func (a answer) into(v any) answer {
	a.Helper()
	dec := json.NewDecoder(strings.NewReader(a.text))
	if err := dec.Decode(v); err != nil {
		a.Fatalf("%s: decode %.300q: %v", a.what, a.text, err)
	}
	return a
}

// newToken decodes a reply that hands out a token.
func (a answer) newToken() (t api.NewToken) {
	a.Helper()
	a.want(http.StatusOK).wantHeader("Cache-Control", "no-store").into(&t)
	return t
}

// session returns the cookie that the reply sets.
func (a answer) session() string {
	a.Helper()
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) != 1 {
		a.Fatalf("%s: got %d cookies, want 1", a.what, len(cookies))
	}
	return cookies[0].Value
}

// userpass logs in for a token, with values that need no escape.
func (h *house) userpass(username, password string) answer {
	return h.ask("POST", "/api/authenticate/userpass").json(toJSON(map[string]string{"username": username, "password": password})).send()
}

// token logs alice in and returns a token.
func (h *house) token() string {
	h.Helper()
	return h.userpass(alice, password).newToken().Secret
}

// login logs a user in and returns the cookie.
func (h *house) login(username, password string) string {
	h.Helper()
	return h.ask("POST", "/api/login").json(toJSON(map[string]string{"username": username, "password": password})).send().
		want(http.StatusNoContent).wantHeader("Cache-Control", "no-store").session()
}

// create makes a token of alice's. options is JSON.
func (h *house) create(options string) api.NewToken {
	h.Helper()
	return h.ask("POST", "/api/token").cookie(h.login(alice, password)).json(options).send().newToken()
}

// listed returns what getApiTokens shows to a token, by id.
func (h *house) listed(token string) map[string]api.DocumentedToken {
	h.Helper()
	var list []api.DocumentedToken
	h.ask("GET", "/api/getApiTokens").token(token).send().want(http.StatusOK).into(&list)
	out := map[string]api.DocumentedToken{}
	for _, t := range list {
		out[t.ID] = t
	}
	return out
}

// alive and dead check whether a token works.
func (h *house) alive(token string) {
	h.Helper()
	h.ask("GET", "/api/token").token(token).send().want(http.StatusOK)
}

func (h *house) dead(token string) {
	h.Helper()
	h.ask("GET", "/api/token").token(token).send().want(http.StatusUnauthorized, credentialsRequired)
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// exchange sends bytes to a server and returns what comes back.
func exchange(t *testing.T, url, raw string) string {
	t.Helper()
	conn := must.Get(net.Dial("tcp", strings.TrimPrefix(url, "http://")))(t)
	defer conn.Close()
	_, sent := io.WriteString(conn, raw)
	b, err := io.ReadAll(conn)
	if err = errors.Join(sent, err); err != nil && len(b) == 0 { // the server may have answered before it has read everything
		t.Fatal(err)
	}
	return string(b)
}
