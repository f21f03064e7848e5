package server_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"testing"

	"gatehouse/server"
	"gatehouse/server/admin"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestFirstRunWhere: an account is made only if nobody could log in otherwise.
func TestFirstRunWhere(t *testing.T) {
	secret := t.TempDir() + "/secret"
	must.Do(t, os.WriteFile(secret, []byte("secret"), 0o600))
	ldap := "[ldap]\nurls = [\"ldaps://127.0.0.1\"]\nbase_dn = \"dc=example\"\n"
	github := "[oauth.github]\ntype = \"github\"\nclient_id = \"x\"\nclient_secret_file = \"" + secret + "\"\n"
	for text, want := range map[string]bool{
		"":                                 true,
		"[logins]\nlocal = true\n":         true,
		"[logins]\nlocal = false\n":        false,
		ldap:                               false,
		github:                             false,
		"[logins]\nlocal = true\n" + ldap:  false,
		ldap + github:                      false,
		"[logins]\naccount_failures = 1\n": true,
	} {
		cfg := must.Get(config.Parse("config.toml", []byte(text)))(t)
		dir := t.TempDir()
		store := must.Get(storage.Open(dir, storage.Options{}))(t)
		s := must.Get(server.New(store, cfg, server.Options{Hasher: guard.NewHasher(cheap, 4, 1024)}))(t)
		file, password, made, err := s.FirstRun(t.Context())
		if err != nil || made != want || (file != "") != want || (password != "") != want {
			t.Errorf("%q: got %q, made %t, %v", text, file, made, err)
		}
		if _, err := store.User(admin.FirstUser); (err == nil) != want || err != nil && !errors.Is(err, storage.ErrNoUser) {
			t.Errorf("%q: the account: got %v, want it there: %t", text, err, want)
		}
		if _, err := os.Stat(dir + "/first-login"); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: the file: got %v, want it there: %t", text, err, want)
		}
		must.Do(t, store.Close())
	}
}

// TestNoLocalLogins: with logins.local = false a password kept here lets nobody in, and
// nothing tells whether it was right. Tokens and sessions still work.
func TestNoLocalLogins(t *testing.T) {
	h := newHouse(t)
	token, cookie := h.token(), h.login(alice, password)
	cfg := h.cfg
	cfg.Logins.Local = false
	h.Reload(cfg)
	const notConfigured = `{"error":"The login method \"userpass\" is not configured"}`
	for _, p := range []string{password, "wrong"} {
		h.userpass(alice, p).want(http.StatusNotFound, notConfigured)
		h.userpass("nobody@example.com", p).want(http.StatusNotFound, notConfigured)
		for _, method := range []string{"", `,"method":"userpass"`} {
			h.ask("POST", "/api/login").json(`{"username":"`+alice+`","password":"`+p+`"`+method+`}`).send().want(http.StatusBadRequest, notConfigured)
		}
		h.post("/login", "", "username", alice, "password", p).page(http.StatusBadRequest).wantHeader("Set-Cookie", "")
	}
	h.alive(token)
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusOK)
	h.ask("GET", "/").send().page(http.StatusOK).shows("Nobody can log in here").lacks("<form")
	h.Reload(h.cfg)
	h.userpass(alice, password).want(http.StatusOK)
}
