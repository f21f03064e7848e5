package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/server"
	"gatehouse/server/config"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// counting is a listener that counts what it accepts.
type counting struct {
	net.Listener
	n atomic.Int64
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// serveGate serves with a separate address for the gate, and returns that address.
func (h *house) serveGate(c config.Gate) (gate string, accepted *counting, stop func()) {
	h.Helper()
	h.Config().Listen, h.Config().Gate = "127.0.0.1:0", c
	l := must.Get(h.Listen())(h)
	accepted = &counting{Listener: *l.Gate()}
	*l.Gate() = accepted
	return strings.TrimPrefix(l.GateURL(), "http://"), accepted, h.serveListener(l)
}

// dial returns a client of the gate, for http://gate/.
func dial(gate string) *http.Client {
	network, address := "tcp", gate
	if path, unix := strings.CutPrefix(gate, "unix:"); unix {
		network, address = "unix", path
	}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
}

// asked is an answer to a real request, of the gate unless the path is a URL.
func (h *house) asked(client *http.Client, method, path string, header ...string) answer {
	h.Helper()
	if strings.HasPrefix(path, "/") {
		path = "http://gate" + path
	}
	r := must.Get(http.NewRequest(method, path, nil))(h)
	for n := 0; n < len(header); n += 2 {
		r.Header.Add(header[n], header[n+1])
	}
	resp := must.Get(client.Do(r))(h)
	defer resp.Body.Close()
	b := must.Get(io.ReadAll(resp.Body))(h)
	a := answer{h.TB, resp.StatusCode, resp.Header, string(b), method + " " + path}
	if method != http.MethodHead {
		a.cutNewline()
	}
	return a
}

// TestGateListener: at its own address, over TCP or a unix socket, the gate answers as on
// the main port and counts the same. Nothing else is served there.
func TestGateListener(t *testing.T) {
	for what, listen := range map[string]string{"TCP": "127.0.0.1:0", "unix socket": "unix:" + filepath.Join(t.TempDir(), "gate.sock")} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
			made, scoped := h.create(`{}`), h.create(`{"scopes":["build"]}`)
			near := h.create(`{"addresses":["198.51.100.0/24"]}`)
			id := h.userID(made.Secret)
			gate, accepted, stop := h.serveGate(config.Gate{Listen: listen})
			client := dial(gate)
			ask := func(path, token, from string) answer {
				return h.asked(client, "GET", path, "X-Auth-Token", token, "X-Forwarded-For", from)
			}
			uses := func() int64 { return adminToken(h, made.ID).Uses }
			before := uses()
			for n := range 100 {
				h.clock.Move(1001)
				ask(verifyPath, made.Secret, "203.0.113."+strconv.Itoa(n)).wantIdentity(alice, made.ID, "*").wantHeader("X-Auth-User-Id", id)
			}
			if got := adminToken(h, made.ID); uses() != before+100 || got.LastUsed != h.clock.Milli() || got.LastAddress != "203.0.113.99" {
				t.Errorf("got %d uses, the last at %d from %s, want %d, %d", uses(), got.LastUsed, got.LastAddress, before+100, h.clock.Milli())
			}
			ask(verifyPath+"?scope=build", scoped.Secret, "203.0.113.1").wantIdentity(alice, scoped.ID, "build")
			ask(verifyPath+"?scope=admin", scoped.Secret, "203.0.113.1").wantGate().want(http.StatusForbidden)
			ask(verifyPath, near.Secret, "198.51.100.7").wantIdentity(alice, near.ID, "*")
			for _, from := range []string{"203.0.113.1", "198.51.100.7, 203.0.113.1", "unknown", ""} {
				ask(verifyPath, near.Secret, from).wantGate().want(http.StatusUnauthorized)
			}
			ask(verifyPath, flip(made.Secret, 200), "203.0.113.1").wantGate().want(http.StatusUnauthorized).wantHeader("Cache-Control", "no-store")
			h.asked(client, "GET", verifyPath, "Authorization", basic("git", made.Secret)).wantIdentity(alice, made.ID, "*")
			h.asked(client, "PROPFIND", verifyPath, "Authorization", "Bearer "+made.Secret).wantIdentity(alice, made.ID, "*")
			if a := h.asked(client, "HEAD", verifyPath); a.code != http.StatusUnauthorized || a.text != "" {
				t.Errorf("HEAD: got %d %q", a.code, a.text)
			}
			h.asked(client, "GET", verifyPath, "X-Request-Id", "of-the-proxy.1").wantGate().wantHeader("X-Request-Id", "of-the-proxy.1")
			h.asked(client, "GET", "/healthz").want(http.StatusOK, `{"status":"alive"}`)
			h.asked(client, "POST", "/healthz").want(http.StatusMethodNotAllowed).wantHeader("Allow", "GET, HEAD")
			for _, path := range []string{"/", "/readyz", "/metrics", "/api/token", "/api/getApiTokens", "/login", "/api/verify/", "/API/VERIFY"} {
				h.asked(client, "GET", path, "X-Auth-Token", made.Secret).want(http.StatusNotFound)
			}
			h.asked(client, "POST", userpassPath).want(http.StatusNotFound)
			// net/http's client gives a connection up if its own goroutine does not run for 50 ms.
			if n := accepted.n.Load(); n > 3 {
				t.Errorf("all this took %d connections, want one, or 3 at most", n)
			}
			if open, _ := h.Connections().Figures(); open < 1 {
				t.Error("the connection is not counted among the open ones")
			}
			stop()
			if _, err := client.Get("http://gate/healthz"); err == nil {
				t.Error("it answers after the stop")
			}
			if path, unix := strings.CutPrefix(gate, "unix:"); unix {
				if _, err := os.Lstat(path); err == nil {
					t.Error("the socket is still there")
				}
			}
		})
	}
}

// TestGateSocket: who may connect, and what happens if the path of the socket is taken.
func TestGateSocket(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "gate.sock")
	group := must.Get(ownGroup())(t)
	mode := func() os.FileMode {
		info := must.Get(os.Lstat(path))(t)
		return info.Mode()
	}
	listen := func(c config.Gate) (*server.Listener, error) {
		h.Config().Listen, h.Config().Gate = "127.0.0.1:0", c
		return h.Listen()
	}
	left := must.Get(net.Listen("unix", path))(t) // as a kill leaves it
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	for _, c := range []struct {
		group string
		want  os.FileMode
	}{{"", 0o600}, {group, 0o660}} {
		l := must.Get(listen(config.Gate{Listen: "unix:" + path, SocketGroup: c.group}))(t)
		if got := mode(); got != os.ModeSocket|c.want {
			t.Errorf("group %q: got mode %v, want %v", c.group, got, c.want)
		}
		if _, err := listen(config.Gate{Listen: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "another program listens on it") {
			t.Errorf("a second server: got %v", err)
		}
		must.Do(t, l.Close())
	}
	must.Do(t, os.WriteFile(path, nil, 0o600))
	if _, err := listen(config.Gate{Listen: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file in the place of the socket: got %v", err)
	}
	if _, err := listen(config.Gate{Listen: "unix:" + filepath.Join(dir, strings.Repeat("x", 100))}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long path: got %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// TestGateMoves: a reload lets another group connect, and moves the gate. An address that
// it can't take changes nothing.
func TestGateMoves(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.sock"), filepath.Join(dir, "second.sock")
	group := must.Get(ownGroup())(t)
	h.serveGate(config.Gate{Listen: "unix:" + first})
	for _, c := range []struct {
		gate  config.Gate
		taken bool
		mode  os.FileMode
		at    string
	}{
		{config.Gate{Listen: "unix:" + first, SocketGroup: group}, true, 0o660, first},
		{config.Gate{Listen: "unix:" + first}, true, 0o600, first},
		{config.Gate{Listen: "unix:" + filepath.Join(dir, "none", "x")}, false, 0o600, first},
		{config.Gate{Listen: "unix:" + first, SocketGroup: "nobody-knows"}, false, 0o600, first},
		{config.Gate{Listen: "unix:" + second, SocketGroup: group}, true, 0o660, second},
		{config.Gate{Listen: "unix:" + first}, true, 0o600, first}, // which the first one, still ending, must not remove
		{config.Gate{Listen: "unix:" + second}, true, 0o600, second},
	} {
		cfg := *h.Config()
		cfg.Gate = c.gate
		if taken := h.Reload(cfg); taken != c.taken {
			t.Errorf("%+v: taken %v, want %v", c.gate, taken, c.taken)
		}
		info, err := os.Lstat(c.at)
		if err != nil || info.Mode() != os.ModeSocket|c.mode {
			t.Fatalf("%+v: %v, %v, want a socket of mode %v", c.gate, info, err, c.mode)
		}
		h.asked(dial("unix:"+c.at), "GET", "/healthz").want(http.StatusOK)
	}
	if _, err := os.Lstat(first); err == nil {
		t.Error("the first socket is still there")
	}
}

// ownGroup is the name of a group that this process is in.
func ownGroup() (string, error) {
	g, err := user.LookupGroupId(strconv.Itoa(os.Getegid()))
	if err != nil {
		return "", err
	}
	return g.Name, nil
}

// TestGateProxies has each proxy ask at the gate's own address, with the configuration
// that the manual shows.
func TestGateProxies(t *testing.T) {
	storagetest.Slow(t)
	for i, p := range proxies {
		for _, socket := range []string{"", "unix:", "unix/"} {
			if socket != "" && !slices.Contains(p.sockets, socket) {
				continue
			}
			t.Run(p.name+" "+socket, func(t *testing.T) {
				program := needProxy(t, i)
				h := newHouse(t, func(c *config.Config) { c.TrustedProxies = prefixes("127.0.0.1/32") })
				listen, path := "127.0.0.1:0", ""
				if socket != "" {
					path = filepath.Join(t.TempDir(), "gate.sock")
					listen = "unix:" + path
				}
				gate, accepted, _ := h.serveGate(config.Gate{Listen: listen})
				if socket != "" {
					gate = socket + path
				}
				f := &front{h: h, gate: gate, challenges: p.challenges, loses: p.loses}
				f.url, f.log = startProxy(t, i, program, gate, application(t))
				t.Run("identity", f.identity)
				t.Run("names", f.names)
				t.Run("refusals", f.refusals)
				t.Run("bodies", f.bodies)
				t.Run("addresses", f.addresses)
				t.Run("git", f.git)
				t.Run("agents", f.agents)
				t.Run("spellings", f.spellings)
				t.Run("paths", f.paths)
				t.Run("crowd", f.crowd)
				t.Run("kept", func(t *testing.T) { f.kept(t, accepted.n.Load) })
			})
		}
	}
}

// kept: as many connections as there are requests at once, and one for a thousand requests
// at most, allowed or refused.
func (f *front) kept(t *testing.T, accepted func() int64) {
	opened, requests := f.many(t, accepted)
	t.Logf("%d connections for %d requests, %d at once", opened, requests, atOnce)
	if opened > atOnce+requests/1000 {
		t.Errorf("want %d and one for a thousand requests at most", atOnce)
	}
}

// atOnce is how many requests a busy proxy has.
const atOnce = 48

// many sends requests, all with a token that may pass, and then all with one that may not.
// It returns how many connections were accepted for them.
func (f *front) many(t *testing.T, accepted func() int64) (opened, requests int64) {
	made := f.h.create(`{}`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	defer client.CloseIdleConnections()
	send := func(each, want int, token string) {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				for range each {
					r, err := http.NewRequest("GET", f.url+"/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("X-Auth-Token", token)
					resp, err := client.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					if resp.Body.Close(); resp.StatusCode != want && !(f.loses && resp.StatusCode == http.StatusBadGateway) {
						t.Errorf("got %d, want %d", resp.StatusCode, want)
						return
					}
				}
			})
		}
		all.Wait()
	}
	const each = 40
	before := accepted()
	send(each, http.StatusOK, made.Secret)
	send(each, http.StatusUnauthorized, flip(made.Secret, 200))
	return accepted() - before, 2 * each * atOnce
}
