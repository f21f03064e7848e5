package server

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
)

// relay passes connections on to an address, and counts them.
func relay(t *testing.T, to string) (addr string, count *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	count = new(atomic.Int64)
	open.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			dst, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{from, dst}, {dst, from}} {
				open.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].(*net.TCPConn).CloseWrite()
				})
			}
		}
	})
	return l.Addr().String(), count
}

// TestKeptConnections: nginx, configured as the manual shows, asks the gate about many
// requests in a few connections, with any answers. If one of the lines for this is
// missing, it opens a connection for every question, or for every refusal.
func TestKeptConnections(t *testing.T) {
	const questions = 60
	program := needProxy(t, 0)
	h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
	gate := strings.TrimPrefix(h.serve(), "http://")
	app := application(t)
	token, other := h.token(), h.create(`{"scopes":["other"]}`).Secret
	for _, c := range []struct {
		what    string
		without []string // these lines, each followed by its replacement
		few     bool
	}{
		{"the manual's", nil, true},
		{"no keepalive", []string{"    keepalive 64; ", "    # "}, false},
		{"HTTP/1.0", []string{"        proxy_http_version 1.1;\n        proxy_set_header Connection \"\";\n", ""}, false},
		{"GET", []string{"        proxy_method HEAD; ", "        # "}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			addr, opened := relay(t, gate)
			url, _ := startProxy(t, 0, program, addr, app, c.without...)
			f := &front{h: h, url: url}
			for range questions {
				f.wantStatus(t, http.StatusOK, "127.0.0.1", "/", credentials{"X-Auth-Token": {token}})
				f.wantStatus(t, http.StatusOK, "127.0.0.1", "/admin/", credentials{"X-Auth-Token": {token}})
				f.wantStatus(t, http.StatusUnauthorized, "127.0.0.1", "/", nil)
				f.wantStatus(t, http.StatusUnauthorized, "127.0.0.1", "/", credentials{"X-Auth-Token": {flip(token, 200)}})
				f.wantStatus(t, http.StatusForbidden, "127.0.0.1", "/admin/", credentials{"X-Auth-Token": {other}})
			}
			t.Logf("%d questions, %d connections", 5*questions, opened.Load())
			if n := opened.Load(); c.few && n > 16 || !c.few && n < questions {
				t.Errorf("%d questions came in %d connections", 5*questions, n)
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
		id, err := storage.ParseID(made.ID)
		if err != nil {
			t.Fatal(err)
		}
		v, err := h.store.Token(id)
		if err != nil {
			t.Fatal(err)
		}
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
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf = strings.NewReplacer("listen 443 ssl;", "listen "+addr+";", "127.0.0.1:8080", gate, "/etc/ssl", dir).Replace(conf)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(proxies[0].around(conf, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
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
	l, err := h.Listen()
	if err != nil {
		t.Fatal(err)
	}
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
		r, err := http.NewRequest(c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
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
