package server_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"gatehouse/server"
	"gatehouse/server/route"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

func TestWrongMethods(t *testing.T) {
	h := newHouse(t)
	for path, allowed := range map[string]string{
		"/":                          "GET, HEAD",
		"/login":                     "GET, HEAD, POST",
		"/api/authenticate/userpass": "POST",
		"/api/authenticate/github":   "POST",
		"/api/login":                 "POST",
		"/api/logout":                "POST",
		"/api/token":                 "GET, HEAD, POST",
		"/api/createApiToken":        "GET",
		"/api/getApiTokens":          "GET, HEAD",
		"/api/revokeApiToken":        "GET",
		"/api/tokens":                "GET, HEAD",
		"/api/token/0123":            "DELETE, PATCH",
		"/api/getUserRecentFiles":    "GET, HEAD",
		"/api/userRecentFiles":       "POST",
		"/login/github":              "GET, HEAD",
		"/login/github/callback":     "GET",
		"/healthz":                   "GET, HEAD",
		"/readyz":                    "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
			got := h.ask(method, path).send()
			if strings.Contains(", "+allowed+",", ", "+method+",") {
				if got.code == http.StatusMethodNotAllowed {
					t.Errorf("%s %s: got 405", method, path)
				}
				continue
			}
			got.want(http.StatusMethodNotAllowed, `{"error":"Method not allowed: see the header Allow"}`).wantHeader("Allow", allowed)
		}
	}
}

func TestNoPage(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{
		"/api", "/api/", "/web/", "/api/tokens/", "/api/token/", "/api/token/a/b", "/api/getapitokens", "/API/tokens", "/api//tokens", "//api/tokens", "//", "/manual//", "/manual/./",
		"/api/./tokens", "/api/x/../tokens", "/api/%2e%2e/api/tokens", "/api%2ftokens", "/api/tokens%2f", "/api/tokens%00", "/api/tokens%20", "/api/tokens;x",
		"/admin/status", "/admin/users", "/admin/tokens", "/debug/pprof/", "/.git/config", "/api/authenticate", "/api/authenticate/userpass/",
	} {
		for _, method := range []string{"GET", "POST"} {
			got := h.ask(method, path).send()
			got.want(http.StatusNotFound, `{"error":"There is nothing at this address"}`).wantHeader("Location", "")
		}
	}
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, path := range []string{"/api", "/api/nothing", "/API/tokens", "//api/tokens", "/x/../api/tokens", "/api%2ftokens", "/api/tokens/"} {
		h.ask("GET", path).header("Accept", browser).send().want(http.StatusNotFound, `{"error":"There is nothing at this address"}`)
	}
	for _, path := range []string{"/nothing", "/web", "/admin/status", "/.git/config", "/a/../b", "/tokens/", "/%ff%00"} {
		h.ask("GET", path).header("Accept", browser).send().page(http.StatusNotFound).shows("There is nothing at this address.").wantHeader("Vary", "Accept")
		for _, accept := range []string{"", "*/*", "application/json"} {
			h.ask("GET", path).header("Accept", accept).send().want(http.StatusNotFound, `{"error":"There is nothing at this address"}`).wantHeader("Vary", "Accept")
		}
	}
	h.ask("DELETE", "/login").header("Accept", browser).send().page(http.StatusMethodNotAllowed).wantHeader("Allow", "GET, HEAD, POST")
	options := h.ask("OPTIONS", "/")
	options.r.URL.Path = "*"
	options.send().want(http.StatusNotFound)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b := must.Get(os.ReadFile(name))(t)
	return string(b)
}

func TestPanic(t *testing.T) {
	h := newHouse(t)
	panics := func(with any) func(http.ResponseWriter, *route.Request) error {
		return func(http.ResponseWriter, *route.Request) error { panic(with) }
	}
	h.web = h.Mux(
		route.Route{Pattern: "GET /boom/{x}", Serve: panics("at /var/lib/gatehouse: secret")},
		route.Route{Pattern: "GET /abort", Serve: panics(http.ErrAbortHandler)},
	)
	h.ask("GET", "/boom/token").send().want(http.StatusInternalServerError, `{"error":"Internal error: an administrator can find the reason in the log"}`)
	if log := h.log.String(); !strings.Contains(log, "at /var/lib/gatehouse") || !strings.Contains(log, "GET /boom/{x}") {
		t.Errorf("got the log %s, want the panic and its route", log)
	}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("got %v, want http.ErrAbortHandler to pass", p)
		}
	}()
	h.ask("GET", "/abort").send()
}

// TestDamage flips a byte in one kind of record after another, and sends all requests
// that read it: the answer is 503, without a word of the cause.
func TestDamage(t *testing.T) {
	storagetest.Slow(t)
	for kind, asks := range map[byte]func(h *house, token, cookie string) []*ask{
		't': func(h *house, token, cookie string) []*ask {
			return []*ask{
				h.ask("GET", "/api/getApiTokens").token(token), h.ask("GET", "/api/tokens").cookie(cookie),
				h.ask("GET", "/api/token").token(token), h.ask("GET", "/api/revokeApiToken").token(token),
			}
		},
		'l': func(h *house, token, cookie string) []*ask {
			return []*ask{h.ask("GET", "/api/getApiTokens").cookie(cookie), h.ask("GET", "/api/token").token(token)}
		},
		'r': func(h *house, token, _ string) []*ask {
			return []*ask{
				h.ask("GET", "/api/getUserRecentFiles").token(token),
				h.ask("POST", "/api/userRecentFiles").token(token).json(`{"id":2,"name":"a","revision":1,"path":"/a"}`),
			}
		},
		's': func(h *house, _, cookie string) []*ask {
			return []*ask{h.ask("GET", "/api/tokens").cookie(cookie), h.ask("POST", "/api/token").cookie(cookie), h.ask("POST", "/api/logout").cookie(cookie)}
		},
		'f': func(h *house, _, _ string) []*ask {
			return []*ask{
				h.ask("POST", "/api/login").form("username=bob@example.com&password=x"),
				h.ask("POST", userpassPath).form("username=bob@example.com&password=x"),
			}
		},
	} {
		h := newHouse(t)
		token, cookie := h.token(), h.login(alice, password)
		h.opened(token, `{"id":1,"name":"a","revision":1,"path":"/a"}`).want(http.StatusNoContent)
		h.userpass("bob@example.com", "x").want(http.StatusUnauthorized)
		h.close()
		damage(t, h.dir, kind, "")
		h.open()
		for _, a := range asks(h, token, cookie) {
			got := a.send()
			if got.code != http.StatusServiceUnavailable || got.text != `{"error":"The store is not available: ask an administrator"}` {
				t.Errorf("record %c, %s: got %d %s", kind, got.what, got.code, got.text)
			}
		}
		if !strings.Contains(h.log.String(), "does not verify") {
			t.Errorf("record %c: the log says nothing of the damage", kind)
		}
		if strings.Contains(h.log.String(), token) {
			t.Errorf("record %c: the log holds the token", kind)
		}
	}
}

// damage flips the last bit of each record of a kind that contains a text.
func damage(t *testing.T, dir string, kind byte, text string) {
	t.Helper()
	db := must.Get(badger.Open(badger.DefaultOptions(filepath.Join(dir, "store", "index")).WithLogger(nil).WithCompression(options.None)))(t)
	defer db.Close()
	n := 0
	err := db.Update(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			if !bytes.Contains(v, []byte(text)) {
				continue
			}
			v[len(v)-1] ^= 1
			if err := txn.Set(it.Item().KeyCopy(nil), v); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatalf("damaged %d records of kind %c: %v", n, kind, err)
	}
}

// TestAfterClose: requests that come too late get an answer that says so.
func TestAfterClose(t *testing.T) {
	h := newHouse(t)
	token, cookie := h.token(), h.login(alice, password)
	h.close()
	for _, a := range []*ask{
		h.ask("GET", "/api/getApiTokens").token(token), h.ask("POST", "/api/token").cookie(cookie), h.ask("GET", "/api/revokeApiToken").token(token),
		h.ask("POST", userpassPath).form("username=a&password=b"), h.ask("GET", "/readyz"),
	} {
		a.send().want(http.StatusServiceUnavailable, `{"error":"The server is stopping"}`)
	}
	h.open()
	h.alive(token)
}

// TestOverHTTP sends what only a real connection carries.
func TestOverHTTP(t *testing.T) {
	h := newHouse(t)
	url := h.serve()
	token := h.token()
	head := must.Get(http.Head(url + "/healthz"))(t)
	head.Body.Close()
	if head.StatusCode != http.StatusOK {
		t.Errorf("HEAD: got %d", head.StatusCode)
	}
	for _, c := range []struct {
		raw, want string
	}{
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + token + "\r\nConnection: close\r\n\r\n", "200"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nx-auth-token:   " + token + "  \r\nConnection: close\r\n\r\n", "200"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + token + "\r\nX-AUTH-TOKEN: " + token + "\r\nConnection: close\r\n\r\n", "401"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + token[:128] + "\r\n " + token[128:] + "\r\nConnection: close\r\n\r\n", "40"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX_Auth_Token: " + token + "\r\nConnection: close\r\n\r\n", "401"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token : " + token + "\r\nConnection: close\r\n\r\n", "400"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + strings.Repeat("a", 40_000) + "\r\nConnection: close\r\n\r\n", "401"},
		{"GET /api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + strings.Repeat("a", 80_000) + "\r\nConnection: close\r\n\r\n", "431"},
		{"GET http://evil.example/api/token HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + token + "\r\nConnection: close\r\n\r\n", "200"},
		{"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", "4"},
		{"CONNECT /api/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "40"},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"},
	} {
		if got := exchange(t, url, c.raw); !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%.60q: got %.120q, want status %s", c.raw, got, c.want)
		}
	}
	if strings.Contains(h.log.String(), "panic") {
		t.Error(h.log)
	}
}

// listen takes a free port, and the socket.
func (h *house) listen() (*server.Listener, error) {
	h.listenAt("127.0.0.1:0")
	return h.Listen()
}

// listenAt sets the address that the server takes.
func (h *house) listenAt(addr string) { h.Config().Listen = addr }

// serve runs the server as it really runs, and returns its URL.
func (h *house) serve() string {
	h.Helper()
	url, _ := h.serveAt("127.0.0.1:0")
	return url
}

// serveAt does the same at an address, until it is stopped or the test ends.
func (h *house) serveAt(addr string) (url string, stop func()) {
	h.Helper()
	h.listenAt(addr)
	l := must.Get(h.Listen())(h)
	return l.URL(), h.serveListener(l)
}

func (h *house) serveListener(l *server.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			h.Errorf("the server ended with %v", err)
		}
	})
	h.Cleanup(stop)
	return stop
}
