package listen

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
)

// servePort serves on a port, and returns a function that connects to it.
func servePort(t *testing.T, handler http.HandlerFunc) (web Web, dial func() net.Conn, ended chan error) {
	t.Helper()
	open := anyConnections(t)
	l := must.Get(open.TCP("127.0.0.1:0"))(t)
	web, ended = open.Port(handler), make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	t.Cleanup(func() { web.Close() })
	return web, func() net.Conn {
		c := must.Get(net.Dial("tcp", l.Addr().String()))(t)
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(5 * time.Minute))
		return c
	}, ended
}

const (
	question = "GET /api/verify HTTP/1.1\r\nHost: x\r\n\r\n"
	other    = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
)

// TestPassed: the gate answers the questions of a connection until something else comes.
// From then on, net/http answers all.
func TestPassed(t *testing.T) {
	_, dial, _ := servePort(t, func(w http.ResponseWriter, r *http.Request) {
		by := "gate"
		if r.Context().Value(http.ServerContextKey) != nil {
			by = "net/http"
		}
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("By", strings.TrimSpace(by+" "+string(b)))
	})
	for what, c := range map[string]struct{ sent, want string }{
		"questions":             {question + question, "gate, gate"},
		"others":                {other + question, "net/http body, net/http"},
		"a question and others": {question + other + question + other, "gate, net/http body, net/http, net/http body"},
		"a question that ends":  {question + strings.Replace(question, "Host", "Connection: close\r\nHost", 1), "gate, gate"},
		"HTTP/1.0":              {question + "GET /api/verify HTTP/1.0\r\n\r\n", "gate, net/http"},
		"a body":                {question + strings.Replace(other, "/x", "/api/verify", 1), "gate, net/http body"},
		"a long header":         {strings.Replace(question, "\r\n\r\n", "\r\nCookie: "+strings.Repeat("x", 20<<10)+"\r\n\r\n", 1) + question, "gate, gate"},
	} {
		conn := dial()
		io.WriteString(conn, c.sent)
		conn.(*net.TCPConn).CloseWrite()
		var got []string
		for r := bufio.NewReader(conn); ; {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			got = append(got, resp.Header.Get("By"))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: answered by %s, want %s", what, text, c.want)
		}
	}
}

// TestPortStops: connections that wait end at once, in the loop and in net/http, and requests
// under way are answered first.
func TestPortStops(t *testing.T) {
	under, goOn := make(chan bool), make(chan bool)
	web, dial, ended := servePort(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") == "slow" || r.URL.Path == "/slow" {
			under <- true
			<-goOn
		}
	})
	answered := func(c net.Conn) {
		t.Helper()
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("got %v, %v", resp, err)
		}
	}
	var wait, slow []net.Conn
	for _, sent := range []string{question, other} {
		c := dial()
		io.WriteString(c, sent)
		answered(c)
		wait = append(wait, c)
	}
	for _, sent := range []string{strings.Replace(question, "Host", "X-Auth-Token: slow\r\nHost", 1), strings.Replace(other, "/x", "/slow", 1)} {
		c := dial()
		io.WriteString(c, sent)
		<-under
		slow = append(slow, c)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := web.Shutdown(short); !errors.Is(err, context.Canceled) {
		t.Errorf("with requests under way: got %v", err)
	}
	if err := <-ended; err != http.ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
	for n, c := range wait {
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("connection %d, which waits: got %q, %v", n, b, err)
		}
	}
	close(goOn)
	if err := web.Shutdown(t.Context()); err != nil {
		t.Errorf("after the requests: got %v", err)
	}
	for _, c := range slow {
		answered(c)
	}
}
