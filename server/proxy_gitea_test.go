package server_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest"
)

// giteaRecipes are the lines that the manual adds to a proxy's configuration for
// Gitea, and the line that they follow.
var giteaRecipes = map[string]struct{ file, after string }{
	"nginx":   {"gitea.conf", "    proxy_set_header Authorization \"\";\n"},
	"Caddy":   {"gitea.caddy", "		header_up -Authorization\n"},
	"HAProxy": {"gitea.haproxy", "    http-request set-header X-Forwarded-For %[src]\n"},
}

// giteaSettings reads the app.ini of the recipe.
func giteaSettings(t *testing.T) map[string]string {
	t.Helper()
	settings := map[string]string{}
	for line := range strings.Lines(readFile(t, filepath.Join("..", "testdata", "proxy", "app.ini"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
			settings[name] = value
		}
	}
	return settings
}

// takesFor returns the user for whom Gitea takes a request, with those settings: the user
// whom one header names or, only if that header is empty, the user with the address in
// another one (services/auth/reverseproxy.go of Gitea).
func takesFor(settings map[string]string, h http.Header) string {
	if user := strings.TrimSpace(h.Get(settings["REVERSE_PROXY_AUTHENTICATION_USER"])); user != "" {
		return user
	}
	if settings["ENABLE_REVERSE_PROXY_EMAIL"] != "true" {
		return ""
	}
	return strings.TrimSpace(h.Get(settings["REVERSE_PROXY_AUTHENTICATION_EMAIL"]))
}

// TestGitea puts the proxies with the recipe for Gitea in front of an application that
// shows what it was sent. To Gitea, a user with a token is that user and nobody else,
// with all headers that come along, with the recipe's settings and with Gitea's own.
func TestGitea(t *testing.T) {
	settings := giteaSettings(t)
	defaults := map[string]string{
		"REVERSE_PROXY_AUTHENTICATION_USER": "X-WEBAUTH-USER", "REVERSE_PROXY_AUTHENTICATION_EMAIL": "X-WEBAUTH-EMAIL",
		"ENABLE_REVERSE_PROXY_EMAIL": "true",
	}
	for i, p := range proxies {
		recipe, ok := giteaRecipes[p.name]
		if !ok {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			program := needProxy(t, i)
			h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
			f := &front{h: h, gate: storagetest.FreePort(t)}
			h.serveAt(f.gate)
			lines := readFile(t, filepath.Join("..", "testdata", "proxy", recipe.file))
			f.url, f.log = startProxy(t, i, program, f.gate, application(t), recipe.after, recipe.after+lines)
			token := h.token()
			for _, forged := range []string{
				"X-Auth-Nobody: root", "x-auth-nobody: root\r\nX-AUTH-NOBODY: root", "X-Auth-Nobody:\r\nX-Auth-Nobody: root",
				"X-WEBAUTH-USER: root", "x-webauth-user: root", "X-Webauth-Email: root@example.com", "X-WEBAUTH-FULLNAME: root",
				"X-Auth-User: root", "X-Auth-User-Id: root", "Connection: X-Auth-User\r\nX-WEBAUTH-USER: root", "X_WEBAUTH_USER: root", "X-WEBAUTH_USER: root",
			} {
				status, got := f.get(t, "/api/v1/user", "X-Auth-Token: "+token, forged, "Connection: close")
				if status != "200" {
					continue // a request that is not HTTP, or refused as a forgery
				}
				if who := takesFor(settings, got.Header); who != alice {
					t.Errorf("%q: Gitea takes it for %q, want %q", forged, who, alice)
				}
				if who := takesFor(defaults, got.Header); who != "" {
					t.Errorf("%q: Gitea with its own settings takes it for %q", forged, who)
				}
			}
			if status, _ := f.get(t, "/api/v1/user", "X-WEBAUTH-USER: root", "X-Auth-Nobody: root", "Connection: close"); status != "401" {
				t.Errorf("without a token: got %s, want 401", status)
			}
		})
	}
}

// TestGiteaManual: what is tested is what the manual shows.
func TestGiteaManual(t *testing.T) {
	chapter := readFile(t, filepath.Join("manual", "gateway.md"))
	for _, name := range []string{"gitea.conf", "gitea.caddy", "gitea.haproxy", "app.ini"} {
		if !strings.Contains(chapter, "\n"+readFile(t, filepath.Join("..", "testdata", "proxy", name))+"```\n") {
			t.Errorf("the manual does not show testdata/proxy/%s as it is", name)
		}
	}
}
