package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// proxies are the reverse proxies that are tried, with exactly the configurations that
// the manual shows. Only their addresses are the test's.
var proxies = []struct {
	name, debian, program, file string
	beside                      string   // another file that it needs, in the same place
	challenges                  int      // of the two that it passes on
	down                        int      // what clients get while there is no Gatehouse
	sockets                     []string // how the path of a unix socket begins
	waits                       bool     // for a silent one, longer than a test should
	loses                       bool     // it may lose an answer, and then lets nobody pass
	site                        func(addr string) *strings.Replacer
	around                      func(site, dir string) string // the whole configuration
	args                        func(dir, conf string) []string
}{
	{
		name: "nginx", debian: "nginx", program: "nginx", file: "nginx.conf", challenges: 1, down: http.StatusInternalServerError, waits: true, sockets: []string{"unix:"},
		site: func(addr string) *strings.Replacer { return strings.NewReplacer("listen 80;", "listen "+addr+";") },
		around: func(site, dir string) string {
			var temp strings.Builder
			for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				temp.WriteString(kind + "_temp_path " + dir + "/" + kind + ";\n")
			}
			return "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n" + temp.String() + site + "}\n"
		},
		args: func(dir, conf string) []string { return []string{"-p", dir, "-e", "stderr", "-c", conf} },
	},
	{
		name: "Caddy", debian: "caddy", program: "caddy", file: "Caddyfile", challenges: 2, down: http.StatusBadGateway, waits: true, loses: true, sockets: []string{"unix/"},
		site: func(addr string) *strings.Replacer { return strings.NewReplacer("app.example.com", "http://"+addr) },
		around: func(site, _ string) string {
			return strings.Replace(site, "{\n", "{\n\tadmin off\n\tauto_https off\n", 1)
		},
		args: func(_, conf string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", conf}
		},
	},
	{
		name: "HAProxy", debian: "haproxy", program: "haproxy", file: "haproxy.cfg", beside: "gate.lua",
		challenges: 2, down: http.StatusServiceUnavailable,
		site: func(addr string) *strings.Replacer { return strings.NewReplacer("bind :80 ", "bind "+addr+" ") },
		around: func(site, dir string) string { // as Debian's haproxy.cfg
			return "defaults\n    timeout connect 5s\n    timeout client 50s\n    timeout server 50s\n\n" + strings.ReplaceAll(site, "/etc/haproxy", dir)
		},
		args: func(_, conf string) []string { return []string{"-db", "-f", conf} },
	},
}

// TestProxies puts each proxy in front of an application, and Gatehouse beside. The gate's
// own loop answers all that they ask.
func TestProxies(t *testing.T) {
	storagetest.Slow(t)
	for i, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			program := needProxy(t, i)
			h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
			app := application(t)
			f := &front{h: h, gate: storagetest.FreePort(t), challenges: p.challenges, down: p.down, waits: p.waits, loses: p.loses}
			var others atomic.Int64
			main := *h.Main()
			*h.Main() = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Context().Value(http.ServerContextKey) != nil {
					others.Add(1)
				}
				main.ServeHTTP(w, r)
			})
			_, f.stop = h.serveAt(f.gate)
			f.url, f.log = startProxy(t, i, program, f.gate, app)
			t.Run("identity", f.identity)
			t.Run("names", f.names)
			t.Run("refusals", f.refusals)
			t.Run("bodies", f.bodies)
			t.Run("upgrades", f.upgrades)
			t.Run("addresses", f.addresses)
			t.Run("git", f.git)
			t.Run("agents", f.agents)
			t.Run("spellings", f.spellings)
			t.Run("paths", f.paths)
			t.Run("crowd", f.crowd)
			t.Run("gone", f.gone)
			if n := others.Load(); n > 0 {
				t.Errorf("net/http answered %d requests, want none", n)
			}
		})
	}
}

// needProxy returns the program of a proxy, or skips the test.
func needProxy(t *testing.T, i int) (program string) {
	t.Helper()
	p := proxies[i]
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	program, err := exec.LookPath(p.program)
	if missing := p.program + " is missing: install Debian's package " + p.debian; err != nil && os.Getenv("CI") == "true" {
		t.Fatal(missing)
	} else if err != nil {
		t.Skip(missing)
	}
	return program
}

// TestProxiesInManual: what is tested is what the manual shows.
func TestProxiesInManual(t *testing.T) {
	chapter := readFile(t, filepath.Join("manual", "gateway.md"))
	for _, line := range []string{"`server unix:/run/gatehouse/gate.sock;`", "`forward_auth unix//run/gatehouse/gate.sock {`", "`http://127.0.0.1:8081/api/verify`"} {
		if !strings.Contains(chapter, line) {
			t.Errorf("the manual does not show %s, as TestGateProxies has it", line)
		}
	}
	for _, p := range proxies {
		for _, name := range []string{p.file, p.beside} {
			if name != "" && !strings.Contains(chapter, "\n"+readFile(t, filepath.Join("..", "testdata", "proxy", name))+"```\n") {
				t.Errorf("the manual does not show testdata/proxy/%s as it is", name)
			}
		}
	}
}

// seen is what the application says of a request.
type seen struct {
	Method string
	URI    string
	Header http.Header
	Length int
	Sum    string
}

// application answers with what it was sent, and serves git beneath /git/.
func application(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if protocol := r.Header.Get("Upgrade"); protocol != "" {
			upgrade(t, w, protocol, r.Header.Get("X-Auth-User"))
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the application: %v", err)
		}
		sum := sha256.Sum256(b)
		json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Header, len(b), hex.EncodeToString(sum[:])})
	})
	if out, err := exec.Command("git", "--exec-path").Output(); err == nil {
		mux.Handle("/git/", gitBackend(t, filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), root))
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// upgrade says who is there, and then sends back what it reads.
func upgrade(t *testing.T, w http.ResponseWriter, protocol, user string) {
	conn, both, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Errorf("the application: %v", err)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nthis is %s\n", protocol, user)
	io.Copy(conn, both)
}

// gitBackend lets the users whom the proxy names push.
func gitBackend(t *testing.T, program, root string) http.Handler {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		return http.NotFoundHandler()
	}
	run(t, root, "git", "init", "-q", "--bare", "repo.git")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(&cgi.Handler{Path: program, Root: "/git", Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=" + r.Header.Get("X-Auth-User")}}).ServeHTTP(w, r)
	})
}

// run runs a program that must end well.
func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// startProxy runs a proxy until the test ends, and returns its URL and its log. changes
// are pairs: text that the configuration in the manual must contain, and its replacement.
func startProxy(t *testing.T, i int, program, gate, app string, changes ...string) (url string, log *storagetest.Log) {
	t.Helper()
	p, dir, addr := proxies[i], t.TempDir(), storagetest.FreePort(t)
	site := readFile(t, filepath.Join("..", "testdata", "proxy", p.file))
	contains := func(text string) {
		t.Helper()
		if !strings.Contains(site, text) {
			t.Fatalf("%s does not contain %q", p.file, text)
		}
	}
	for change := range slices.Chunk(changes, 2) {
		contains(change[0])
		site = strings.ReplaceAll(site, change[0], change[1])
	}
	// An address that is put in is not looked at again: 127.0.0.1:3000 is the beginning of
	// 127.0.0.1:30001.
	contains("127.0.0.1:8080")
	contains("127.0.0.1:3000")
	site = strings.NewReplacer("127.0.0.1:8080", gate, "127.0.0.1:3000", app).Replace(site)
	site = p.site(addr).Replace(site)
	conf := filepath.Join(dir, p.file)
	must.Do(t, os.WriteFile(conf, []byte(p.around(site, dir)), 0o600))
	if p.beside != "" {
		text := readFile(t, filepath.Join("..", "testdata", "proxy", p.beside))
		must.Do(t, os.WriteFile(filepath.Join(dir, p.beside), []byte(text), 0o600))
	}
	return runProxy(t, i, program, dir, conf, addr)
}

// runProxy runs a proxy with a configuration file that makes it listen on an address.
func runProxy(t *testing.T, i int, program, dir, conf, addr string) (url string, log *storagetest.Log) {
	t.Helper()
	p := proxies[i]
	c := exec.Command(program, p.args(dir, conf)...)
	c.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log = new(storagetest.Log)
	c.Stdout, c.Stderr = log, log
	must.Do(t, c.Start())
	ended := make(chan struct{})
	go func() { c.Wait(); close(ended) }()
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", p.name, log.String())
		}
	})
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return "http://" + addr, log
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", p.name, log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// front is what clients see: a proxy, with the house behind it.
type front struct {
	h                *house
	url              string
	log              *storagetest.Log
	gate             string // where Gatehouse is
	stop             func() // and how to stop it
	challenges, down int
	waits, loses     bool
}

// send sends a request from an address of this host.
func (f *front) send(t *testing.T, from, method, path string, body []byte, c credentials) (*http.Response, seen) {
	t.Helper()
	r := must.Get(http.NewRequest(method, f.url+path, bytes.NewReader(body)))(t)
	for name, values := range c {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	var s seen
	b := must.Get(io.ReadAll(resp.Body))(t)
	if resp.StatusCode == http.StatusOK && method != http.MethodHead {
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatalf("%s %s: got %.200q, which is not from the application: %v", method, path, b, err)
		}
	}
	return resp, s
}

func (f *front) wantStatus(t *testing.T, want int, from, path string, c credentials) {
	t.Helper()
	if resp, _ := f.send(t, from, "GET", path, nil, c); resp.StatusCode != want {
		t.Errorf("%s from %s: got %d, want %d", path, from, resp.StatusCode, want)
	}
}

// names: the application is told the whole of an odd address, and nothing else.
func (f *front) names(t *testing.T) {
	for uid, want := range oddUIDs {
		if want == "" || uid == "me@localhost" { // of the first run
			continue
		}
		f.h.addUser(uid, password)
		c := credentials{"X-Auth-Token": {f.h.userpass(uid, password).newToken().Secret}}
		if _, got := f.send(t, "127.0.0.1", "GET", "/", nil, c); !slices.Equal(got.Header["X-Auth-User"], []string{want}) {
			t.Errorf("%s: the application got %q, want %q", uid, got.Header["X-Auth-User"], want)
		}
	}
}

// identity: only Gatehouse tells the application who asks, and the application sees no
// token.
func (f *front) identity(t *testing.T) {
	free, scoped := f.h.create(`{}`), f.h.create(`{"scopes":["admin","x"]}`)
	userID := f.h.userID(free.Secret)
	forged := func(c credentials) credentials {
		c["X-Auth-User"] = []string{"root@example.com", "root@example.com"}
		c["x-auth-token-id"], c["X-AUTH-SCOPES"], c["X-Auth-User-ID"] = []string{"0000"}, []string{"root"}, []string{"root"}
		c["Cookie"] = []string{"application=1"}
		return c
	}
	for _, made := range []struct{ id, secret, scopes string }{{free.ID, free.Secret, "*"}, {scoped.ID, scoped.Secret, "admin x"}} {
		for what, c := range map[string]credentials{
			"X-Auth-Token": {"X-Auth-Token": {made.secret}},
			"bearer":       {"Authorization": {"Bearer " + made.secret}},
			"basic":        {"Authorization": {basic("x", made.secret)}},
		} {
			for _, path := range []string{"/", "/a/b?q=1&scope=y", "/admin/"} {
				for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS", "PATCH"} {
					resp, got := f.send(t, "127.0.0.1", method, path, nil, forged(c))
					if resp.StatusCode != http.StatusOK || got.Method != method || got.URI != path {
						t.Fatalf("%s, %s %s: got %d, %s %s", what, method, path, resp.StatusCode, got.Method, got.URI)
					}
					for name, want := range map[string]string{"X-Auth-User": alice, "X-Auth-User-Id": userID, "X-Auth-Token-Id": made.id, "X-Auth-Scopes": made.scopes, "Cookie": "application=1"} {
						if v := got.Header[name]; len(v) != 1 || v[0] != want {
							t.Errorf("%s, %s %s: the application got %s %q, want %q", what, method, path, name, v, want)
						}
					}
					if all := toJSON(got); strings.Contains(all, made.secret) || got.Header["Authorization"] != nil || strings.Contains(all, "root") {
						t.Errorf("%s, %s %s: the application saw %s", what, method, path, all)
					}
				}
			}
		}
	}
}

// refusals come as Gatehouse sends them, and the application hears of none.
func (f *front) refusals(t *testing.T) {
	token, other := f.h.token(), f.h.create(`{"scopes":["other"]}`).Secret
	revoked := f.h.token()
	f.h.ask("GET", "/api/revokeApiToken").token(revoked).send().want(http.StatusOK)
	for what, c := range map[string]credentials{
		"none": {}, "forged": {"X-Auth-Token": {flip(token, 200)}}, "revoked": {"X-Auth-Token": {revoked}},
		"two": {"X-Auth-Token": {token, token}}, "two kinds": {"X-Auth-Token": {token}, "Authorization": {"Bearer " + token}},
		"identity alone": {"X-Auth-User": {alice}, "X-Auth-User-Id": {"x"}, "X-Auth-Token-Id": {"x"}, "X-Auth-Scopes": {"*"}},
		"a cookie":       {"Cookie": {f.h.cookieName() + "=" + f.h.login(alice, password)}},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			resp, _ := f.send(t, "127.0.0.1", method, "/", []byte("body"), c)
			want := []string{`Basic realm="gatehouse"`, `Bearer realm="gatehouse"`}[:f.challenges]
			if got := resp.Header["Www-Authenticate"]; resp.StatusCode != http.StatusUnauthorized || !slices.Equal(got, want) {
				t.Errorf("%s %s: got %d, WWW-Authenticate %q, want %q", method, what, resp.StatusCode, got, want)
			}
		}
	}
	f.wantStatus(t, http.StatusForbidden, "127.0.0.1", "/admin/", credentials{"X-Auth-Token": {other}})
	f.wantStatus(t, http.StatusForbidden, "127.0.0.1", "/x/../admin/x", credentials{"X-Auth-Token": {other}})
	f.wantStatus(t, http.StatusForbidden, "127.0.0.1", "/admin/?scope=other", credentials{"X-Auth-Token": {other}})
	f.wantStatus(t, http.StatusOK, "127.0.0.1", "/", credentials{"X-Auth-Token": {other}})
	f.wantStatus(t, http.StatusOK, "127.0.0.1", "/", credentials{"X-Auth-Token": {token}, "Cookie": {strings.Repeat("c", 7000)}})
}

// bodies arrive whole, with a length and without.
func (f *front) bodies(t *testing.T) {
	token := f.h.token()
	body := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	sum := sha256.Sum256(body)
	resp, got := f.send(t, "127.0.0.1", "POST", "/up", body, credentials{"X-Auth-Token": {token}, "Content-Type": {"application/octet-stream"}})
	if resp.StatusCode != http.StatusOK || got.Length != len(body) || got.Sum != hex.EncodeToString(sum[:]) {
		t.Errorf("got %d, and %d bytes at the application, want %d", resp.StatusCode, got.Length, len(body))
	}
	raw := "PUT /up HTTP/1.1\r\nHost: " + strings.TrimPrefix(f.url, "http://") + "\r\nX-Auth-Token: " + token + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
	if got := exchange(t, f.url, raw); !strings.Contains(got, `"Length":5`) {
		t.Errorf("a body in chunks: got %.300q", got)
	}
}

// upgrades: those to WebSockets pass, and then both sides can send. No other passes.
func (f *front) upgrades(t *testing.T) {
	token := f.h.token()
	for _, c := range []struct{ protocol, token, want string }{
		{"websocket", token, "HTTP/1.1 101 "}, {"WebSocket", token, "HTTP/1.1 101 "},
		{"websocket", flip(token, 200), "HTTP/1.1 401 "}, {"h2c", token, "HTTP/1.1 200 "}, {"H2C", token, "HTTP/1.1 200 "}, {"websocket, h2c", token, "HTTP/1.1 200 "}, {"tls/1.0", token, "HTTP/1.1 200 "},
		{"h2c\r\nUpgrade: websocket", token, ""}, {"websocket\r\nUpgrade: h2c", token, ""}, // either WebSocket or none
	} {
		addr := strings.TrimPrefix(f.url, "http://")
		conn := must.Get(net.Dial("tcp", addr))(t)
		conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nX-Auth-Token: %s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr, c.token, c.protocol)
		in := bufio.NewReader(conn)
		if c.want == "" {
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK && resp.Header.Get("Upgrade") != "websocket" {
				t.Errorf("%q: got %v, %v", c.protocol, resp, err)
			}
		} else if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, c.want) {
			t.Errorf("%s: got %q, %v, want %s", c.protocol, line, err, c.want)
		} else if c.want == "HTTP/1.1 101 " {
			io.WriteString(conn, "and this\n")
			for line != "and this\n" && err == nil {
				line, err = in.ReadString('\n')
				if strings.HasPrefix(line, "this is ") && line != "this is "+alice+"\n" {
					t.Errorf("the application was told %q", line)
				}
			}
			if err != nil {
				t.Errorf("%s: after the upgrade: %v", c.protocol, err)
			}
		}
		conn.Close()
	}
}

// addresses: the client's address counts, not what the client claims.
func (f *front) addresses(t *testing.T) {
	bound := f.h.create(`{"addresses":["127.0.0.2/32"]}`).Secret
	for _, forged := range []string{"", "127.0.0.2", "127.0.0.2, 127.0.0.1"} {
		c := credentials{"X-Auth-Token": {bound}}
		if forged != "" {
			c["X-Forwarded-For"] = []string{forged}
		}
		resp, got := f.send(t, "127.0.0.2", "GET", "/", nil, c)
		if from := got.Header["X-Forwarded-For"]; resp.StatusCode != http.StatusOK || len(from) != 1 || from[0] != "127.0.0.2" {
			t.Errorf("X-Forwarded-For %q: got %d, and %q at the application", forged, resp.StatusCode, from)
		}
		f.wantStatus(t, http.StatusUnauthorized, "127.0.0.3", "/", c)
	}
}

// git pushes and clones, with the token as its password.
func (f *front) git(t *testing.T) {
	const missing = "git is missing: install Debian's package git"
	if _, err := exec.LookPath("git"); err != nil && os.Getenv("CI") == "true" {
		t.Fatal(missing)
	} else if err != nil {
		t.Skip(missing)
	}
	if resp, err := http.Get(f.url + "/git/repo.git/info/refs"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("without a token: got %v, %v", resp, err)
	}
	dir := t.TempDir()
	remote := strings.Replace(f.url, "http://", "http://git:"+f.h.token()+"@", 1) + "/git/repo.git"
	run(t, dir, "git", "init", "-q", "-b", "main", "work")
	work := filepath.Join(dir, "work")
	must.Do(t, os.WriteFile(filepath.Join(work, "file"), bytes.Repeat([]byte("line\n"), 1000), 0o600))
	run(t, work, "git", "add", "file")
	run(t, work, "git", "commit", "-q", "-m", "one")
	run(t, work, "git", "push", "-q", remote, "main")
	run(t, dir, "git", "clone", "-q", "-b", "main", remote, "again")
	if got := readFile(t, filepath.Join(dir, "again", "file")); len(got) != 5000 {
		t.Errorf("got %d bytes back, want 5000", len(got))
	}
}
