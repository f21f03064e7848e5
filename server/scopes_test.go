package server_test

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse/server/api"
)

// TestScopeSlips: the reply with a new token warns of a scope that looks mistyped.
func TestScopeSlips(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	make := func(scopes string) api.NewToken {
		t.Helper()
		return h.ask("POST", "/api/token").cookie(cookie).json(`{"scopes":[` + scopes + `]}`).send().newToken()
	}
	for scopes, want := range map[string]string{
		``:                        "",
		`"files"`:                 "",
		`"files","admin","build"`: "",
		`"flies"`:                 `unknown scope "flies" (did you mean "files"?)`,
		`"admin","token:read"`:    `unknown scope "token:read" (did you mean "tokens:read"?)`,
		`"Files","introspekt"`:    `unknown scope "Files" (did you mean "files"?); unknown scope "introspekt" (did you mean "introspect"?)`,
	} {
		made := make(scopes)
		if made.Warning != want {
			t.Errorf("%s: got %q, want %q", scopes, made.Warning, want)
		}
		h.alive(made.Secret)
	}
	made, err := h.admin.CreateToken(t.Context(), api.TokenRequest{UID: alice, Scopes: []string{"flies"}})
	if err != nil || made.Warning != `unknown scope "flies" (did you mean "files"?)` {
		t.Errorf("got %q, %v", made.Warning, err)
	}
}

// TestKnownScopes: if the configuration names the scopes, there are no others.
func TestKnownScopes(t *testing.T) {
	h := newHouse(t)
	before := h.create(`{"scopes":["deploy"]}`)
	cookie := h.login(alice, password)
	cfg := h.cfg
	cfg.Tokens.KnownScopes = []string{"admin", "build"}
	h.Reload(cfg)
	ask := func(scopes string) answer {
		return h.ask("POST", "/api/token").cookie(cookie).json(`{"scopes":[` + scopes + `]}`).send()
	}
	for _, scopes := range []string{``, `"admin"`, `"build","admin"`, `"files"`, `"introspect","tokens:read"`} {
		if made := ask(scopes).newToken(); made.Warning != "" {
			t.Errorf("%s: got %q", scopes, made.Warning)
		}
	}
	ask(`"admin","biuld"`).want(http.StatusBadRequest, `{"error":"scopes: \"biuld\" is not known: did you mean \"build\"?"}`)
	ask(`"Admin"`).want(http.StatusBadRequest, `{"error":"scopes: \"Admin\" is not known: did you mean \"admin\"?"}`)
	ask(`"deploy"`).want(http.StatusBadRequest, `{"error":"scopes: \"deploy\" is not known: there are files, introspect, tokens:read, admin, build"}`)
	if _, err := h.admin.CreateToken(t.Context(), api.TokenRequest{UID: alice, Scopes: []string{"deploy"}}); err == nil || !strings.Contains(err.Error(), "is not known") {
		t.Errorf("got %v for an administrator", err)
	}
	h.ask("GET", verifyPath+"?scope=deploy").token(before.Secret).send().want(http.StatusOK) // what there is goes on
}
