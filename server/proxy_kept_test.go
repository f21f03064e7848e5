package server_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestKeptConnections: without one of the manual's lines that keep connections, or with
// fewer connections than there are requests at once, proxies open many. TestGateProxies and
// TestProxies have the manual's.
func TestKeptConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of requests through five proxies take long: not with -short")
	}
	nginx, caddy := 0, 1
	for _, c := range []struct {
		what    string
		proxy   int
		without []string // these lines, each followed by its replacement
	}{
		{"no keepalive", nginx, []string{"    keepalive 64; ", "    # "}},
		{"4 connections", nginx, []string{"    keepalive 64; ", "    keepalive 4; "}},
		{"HTTP/1.0", nginx, []string{"    proxy_http_version 1.1;\n", "", "        proxy_set_header Connection \"\";\n", ""}},
		{"GET", nginx, []string{"        proxy_method HEAD; ", "        # "}},
		{"4 connections", caddy, []string{"keepalive_idle_conns_per_host 64", "keepalive_idle_conns_per_host 4"}},
	} {
		t.Run(proxies[c.proxy].name+" "+c.what, func(t *testing.T) {
			program := needProxy(t, c.proxy)
			h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
			gate, accepted, _ := h.serveGate(config.Gate{Listen: "127.0.0.1:0"})
			f := &front{h: h, loses: proxies[c.proxy].loses}
			f.url, _ = startProxy(t, c.proxy, program, gate, application(t), c.without...)
			if n, requests := f.many(t, accepted.n.Load); n <= atOnce+requests/1000 {
				t.Errorf("%d requests came in %d connections, which is no more than with the manual's", requests, n)
			}
		})
	}
}

// TestCachedAnswers: nginx keeps answers of 200 as the manual shows, for each token,
// question and address. Here it keeps them for an hour, so that no clock decides.
func TestCachedAnswers(t *testing.T) {
	program := needProxy(t, 0)
	_, chapter, _ := strings.Cut(readFile(t, filepath.Join("manual", "gateway.md")), "\n### Answers that nginx keeps")
	parts := strings.Split(chapter, "```")
	above, inside := strings.TrimPrefix(parts[1], "nginx\n"), strings.TrimPrefix(parts[3], "nginx\n")
	inside = strings.Replace(inside, " 200 1s;", " 200 1h;", 1)
	above = strings.Replace(above, "/run/nginx-gate", t.TempDir(), 1)

	h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.0/8") })
	gate := strings.TrimPrefix(h.serve(), "http://")
	url, _ := startProxy(t, 0, program, gate, application(t),
		"upstream gatehouse {", above+"upstream gatehouse {", "        internal;\n", "        internal;\n"+inside)
	f := &front{h: h, url: url}
	made, other := h.create(`{"scopes":["x"]}`), h.create(`{}`)
	uses := func() int64 {
		id := must.Get(storage.ParseID(made.ID))(t)
		v := must.Get(h.store.Token(id))(t)
		return v.Usage.Uses
	}
	want := func(status int, from, path string, c credentials, used int64) {
		t.Helper()
		for range 5 {
			f.wantStatus(t, status, from, path, c)
		}
		if got := uses(); got != used {
			t.Errorf("%s from %s: %d uses in all, want %d", path, from, got, used)
		}
	}
	key := credentials{"X-Auth-Token": {made.Secret}}
	want(200, "127.0.0.1", "/", key, 1)
	want(200, "127.0.0.2", "/", key, 2)
	want(200, "127.0.0.1", "/", credentials{"Authorization": {"Bearer " + made.Secret}}, 3)
	want(200, "127.0.0.1", "/", credentials{"Authorization": {basic("x", made.Secret)}}, 4)
	want(403, "127.0.0.1", "/admin/", key, 9) // a use each time
	want(401, "127.0.0.1", "/", nil, 9)
	want(401, "127.0.0.1", "/", credentials{"X-Auth-Token": {flip(made.Secret, 200)}}, 9)
	_, seen := f.send(t, "127.0.0.1", "GET", "/a", nil, key)
	if got := seen.Header["X-Auth-Token-Id"]; len(got) != 1 || got[0] != made.ID {
		t.Errorf("the application was told %q, want the token %s", got, made.ID)
	}
	if _, seen = f.send(t, "127.0.0.1", "GET", "/a", nil, credentials{"X-Auth-Token": {other.Secret}}); seen.Header.Get("X-Auth-Token-Id") != other.ID {
		t.Errorf("with another token it was told %q", seen.Header["X-Auth-Token-Id"])
	}
	h.ask("GET", "/api/revokeApiToken").token(made.Secret).send().want(http.StatusOK)
	want(200, "127.0.0.1", "/", key, 9) // until the second ends
	f.wantStatus(t, 401, "127.0.0.3", "/", key)
}

// TestPreflights: with what the manual adds for it, each proxy tells a browser that a page
// of another site may ask, and still lets nobody in without a token.
func TestPreflights(t *testing.T) {
	_, chapter, _ := strings.Cut(readFile(t, filepath.Join("manual", "gateway.md")), "\n## WebSockets, and")
	for i, before := range []string{"        auth_request /", "\t# A token with the scope admin,", "    http-request lua.gate http://127.0.0.1:8080/api/verify?scope=admin "} {
		t.Run(proxies[i].name, func(t *testing.T) {
			program := needProxy(t, i)
			_, block, _ := strings.Cut(strings.Split(chapter, "```")[1+2*i], "\n")
			h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
			gate := strings.TrimPrefix(h.serve(), "http://")
			f := &front{h: h}
			f.url, f.log = startProxy(t, i, program, gate, application(t), before, block+before)
			token := h.token()
			for _, path := range []string{"/", "/admin/"} {
				asks := credentials{"Origin": {"https://page.example.com"}, "Access-Control-Request-Method": {"POST"}}
				resp, _ := f.send(t, "127.0.0.1", "OPTIONS", path, nil, asks)
				if got := resp.Header["Access-Control-Allow-Origin"]; resp.StatusCode != 204 || len(got) != 1 || got[0] != "https://page.example.com" ||
					!strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "X-Auth-Token") || !strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), "POST") {
					t.Errorf("%s: got %d, %v", path, resp.StatusCode, resp.Header)
				}
				f.wantStatus(t, 401, "127.0.0.1", path, credentials{"Origin": {"https://page.example.com"}})
				f.wantStatus(t, 200, "127.0.0.1", path, credentials{"Origin": {"https://page.example.com"}, "X-Auth-Token": {token}})
				if resp, seen := f.send(t, "127.0.0.1", "OPTIONS", path, nil, credentials{"X-Auth-Token": {token}}); resp.StatusCode != 200 || seen.Method != "OPTIONS" {
					t.Errorf("%s: OPTIONS with a token: got %d, and the application %s", path, resp.StatusCode, seen.Method)
				}
			}
		})
	}
}

// TestFront has nginx in front of Gatehouse itself, as the manual shows: people see
// everything except the metrics, however they spell the path.
func TestFront(t *testing.T) {
	program := needProxy(t, 0)
	conf := readFile(t, filepath.Join("..", "testdata", "proxy", "front.conf"))
	if !strings.Contains(readFile(t, filepath.Join("manual", "operate.md")), "\n"+conf+"```\n") {
		t.Error("the manual does not show testdata/proxy/front.conf as it is")
	}
	h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
	gate, addr, dir := strings.TrimPrefix(h.serve(), "http://"), storagetest.FreePort(t), t.TempDir()
	cert, key := ldaptest.NewAuthority(t).Issue(t, "tokens.example.com")
	for name, text := range map[string]string{"tokens.example.com.pem": cert, "tokens.example.com.key": key} {
		must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	conf = strings.NewReplacer("listen 443 ssl;", "listen "+addr+";", "127.0.0.1:8080", gate, "/etc/ssl", dir).Replace(conf)
	file := filepath.Join(dir, "nginx.conf")
	must.Do(t, os.WriteFile(file, []byte(proxies[0].around(conf, dir)), 0o600))
	url, _ := runProxy(t, 0, program, dir, file, addr)
	for path, want := range map[string]int{
		"/": 200, "/healthz": 200, "/api/verify": 401,
		"/metrics": 404, "/metrics?x=1": 404, "//metrics": 404, "/%6detrics": 404, "/./metrics": 404, "/x/../metrics": 404, "/metrics/": 404, "/METRICS": 404,
	} {
		got := exchange(t, url, "GET "+path+" HTTP/1.1\r\nHost: tokens.example.com\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+map[int]string{200: "200", 401: "401", 404: "404"}[want]) || strings.Contains(got, "gatehouse_") {
			t.Errorf("%s: got %.300s, want %d", path, got, want)
		}
	}
}

// TestMetricsListen: with an address of their own, the metrics are served only there, and
// nothing else is.
func TestMetricsListen(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Metrics.Listen = "127.0.0.1:0" })
	h.listenAt("127.0.0.1:0")
	l := must.Get(h.Listen())(t)
	h.serveListener(l)
	figures := strings.TrimSuffix(l.MetricsURL(), "/metrics")
	for _, c := range []struct {
		method, url string
		want        int
	}{
		{"GET", l.MetricsURL(), 200}, {"HEAD", l.MetricsURL(), 200}, {"POST", l.MetricsURL(), 405},
		{"GET", figures + "/", 404}, {"GET", figures + "/api/verify", 404}, {"POST", figures + userpassPath, 404}, {"GET", figures + "/healthz", 404},
		{"GET", l.URL() + "/metrics", 404}, {"GET", l.URL() + "/healthz", 200}, {"GET", l.URL() + "/api/verify", 401},
	} {
		r := must.Get(http.NewRequest(c.method, c.url, nil))(t)
		resp := must.Get(http.DefaultTransport.RoundTrip(r))(t)
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.want {
			t.Errorf("%s %s: got %d, %v, want %d", c.method, c.url, resp.StatusCode, err, c.want)
		}
		if has := strings.Contains(string(b), "\ngatehouse_connections "); has != (c.want == 200 && c.method == "GET" && c.url == l.MetricsURL()) {
			t.Errorf("%s %s: got %.100q", c.method, c.url, b)
		}
	}
}
