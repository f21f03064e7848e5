package gate_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/gate"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// way is how connections are served.
type way func(net.Listener) net.Listener

// eachWay runs a test with a goroutine for each connection, and with loops.
func eachWay(t *testing.T, test func(t *testing.T, by way)) {
	t.Run("goroutines", func(t *testing.T) { test(t, func(l net.Listener) net.Listener { return l }) })
	t.Run("loops", func(t *testing.T) { test(t, func(l net.Listener) net.Listener { return sockets{l} }) })
}

// sockets is a listener whose connections loops may serve.
type sockets struct{ net.Listener }

func (l sockets) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return gate.NewSocket(c.(*net.TCPConn))
}

// serve runs a gate on a real port until the test ends.
func (by way) serve(t *testing.T, s *gate.Server) (addr string, ended chan error) {
	t.Helper()
	l := by(must.Get(net.Listen("tcp", "127.0.0.1:0"))(t))
	ended = make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), ended
}

func call(t *testing.T, addr string) net.Conn {
	t.Helper()
	c := must.Get(net.Dial("tcp", addr))(t)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func long() gate.Limits { return gate.Limits{Header: patience, Idle: patience, Write: patience} }

// read reads an answer, with what it says about the connection.
func read(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	resp := must.Get(http.ReadResponse(bufio.NewReader(c), nil))(t)
	must.Get(io.Copy(io.Discard, resp.Body))(t)
	return resp
}

func wantEnd(t *testing.T, what string, c net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%s: got %.100q, %v, want the end of the connection", what, b, err)
	}
}

// TestShutdown: connections that wait end at once, a request under way is answered first,
// and one that does not end is broken off.
func TestShutdown(t *testing.T) { eachWay(t, testShutdown) }

func testShutdown(t *testing.T, by way) {
	under, goOn := make(chan bool), make(chan bool)
	s := &gate.Server{Limits: long(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			under <- true
			<-goOn
		}
		w.WriteHeader(http.StatusOK)
	})}
	addr, ended := by.serve(t, s)
	fresh, used, slow := call(t, addr), call(t, addr), call(t, addr)
	io.WriteString(used, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	read(t, used)
	io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-under
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(short); !errors.Is(err, context.Canceled) {
		t.Errorf("with a request under way: got %v", err)
	}
	if err := <-ended; err != http.ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
	wantEnd(t, "a new connection", fresh)
	wantEnd(t, "one that was used", used)
	close(goOn)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("after the request: got %v", err)
	}
	if resp := read(t, slow); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("the request under way: got %d, close %v", resp.StatusCode, resp.Close)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("a connection is accepted after the stop")
	}
}

// TestLimits: a client that begins a request and does not end it, or sends none, does not
// stay.
func TestLimits(t *testing.T) { eachWay(t, testLimits) }

func testLimits(t *testing.T, by way) {
	quick := 50 * time.Millisecond
	s := func(l gate.Limits) string {
		addr, _ := by.serve(t, &gate.Server{Limits: l, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })})
		return addr
	}
	idle, header := s(gate.Limits{Header: patience, Idle: quick, Write: patience}), s(gate.Limits{Header: quick, Idle: patience, Write: patience})
	wantEnd(t, "nothing sent", call(t, idle))
	for what, part := range map[string]string{"half a line": "GET /", "half a header": "GET / HTTP/1.1\r\nHost: x\r\n", "after another": "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"} {
		c := call(t, header)
		io.WriteString(c, part)
		if b, err := io.ReadAll(c); err != nil || strings.Count(string(b), "HTTP/1.1 200") != strings.Count(part, "\r\n\r\n") {
			t.Errorf("%s: got %q, %v", what, b, err)
		}
	}
	c := call(t, header)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	read(t, c)
	wantEnd(t, "half a body", c)
}

// TestAnswerBeforeBody: a client that sends a long body gets the answer, and not an error
// of its connection.
func TestAnswerBeforeBody(t *testing.T) { eachWay(t, testAnswerBeforeBody) }

func testAnswerBeforeBody(t *testing.T, by way) {
	addr, _ := by.serve(t, &gate.Server{Limits: long(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	})})
	for what, length := range map[string]string{"a length": "Content-Length: 600000", "chunks": "Transfer-Encoding: chunked", "expects": "Expect: 100-continue\r\nContent-Length: 600000"} {
		c := call(t, addr)
		io.WriteString(c, "POST /api/verify HTTP/1.1\r\nHost: x\r\n"+length+"\r\n\r\n"+strings.Repeat("x", 600_000))
		if resp := read(t, c); resp.StatusCode != http.StatusUnauthorized || !resp.Close {
			t.Errorf("%s: got %d, close %v", what, resp.StatusCode, resp.Close)
		}
	}
}

// TestPanic: a handler that panics ends its connection, and nothing else.
func TestPanic(t *testing.T) { eachWay(t, testPanic) }

func testPanic(t *testing.T, by way) {
	said := new(storagetest.Log)
	addr, _ := by.serve(t, &gate.Server{Limits: long(), ErrorLog: log.New(said, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("as it may")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusOK)
	})})
	for _, path := range []string{"/abort", "/panic"} {
		c := call(t, addr)
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		wantEnd(t, path, c)
	}
	c := call(t, addr)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	read(t, c)
	if got := said.String(); strings.Count(got, "gate: panic: ") != 1 || !strings.Contains(got, "as it may") {
		t.Errorf("the log says %q", got)
	}
}

// TestPanicOutside: so does a panic outside of the handler.
func TestPanicOutside(t *testing.T) { eachWay(t, testPanicOutside) }

func testPanicOutside(t *testing.T, by way) {
	said := new(storagetest.Log)
	var once sync.Once
	addr, _ := by.serve(t, &gate.Server{Limits: long(), ErrorLog: log.New(said, "", 0), Handler: http.HandlerFunc(echoToken),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateIdle {
				once.Do(func() { panic("as it may") })
			}
		}})
	c := call(t, addr)
	io.WriteString(c, asking("a"))
	from := bufio.NewReader(c)
	wantTokens(t, from, "a")
	if b, err := io.ReadAll(from); err != nil || len(b) > 0 {
		t.Errorf("after the panic: got %q, %v", b, err)
	}
	c = call(t, addr)
	io.WriteString(c, asking("b"))
	wantTokens(t, bufio.NewReader(c), "b")
	if got := said.String(); strings.Count(got, "gate: panic: ") != 1 {
		t.Errorf("the log says %q", got)
	}
}

// TestStates: a connection waits until all of a header is there. A server with too many
// connections closes those that wait.
func TestStates(t *testing.T) { eachWay(t, testStates) }

func testStates(t *testing.T, by way) {
	states := make(chan http.ConnState, 10)
	addr, _ := by.serve(t, &gate.Server{Limits: long(), ConnState: func(_ net.Conn, s http.ConnState) { states <- s },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })})
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	c := call(t, addr)
	for n, sent := range []string{request[:5], request[5:] + request[:20], request[20:]} {
		io.WriteString(c, sent)
		if n == 0 {
			continue
		}
		read(t, c)
		for _, want := range []http.ConnState{http.StateActive, http.StateIdle} {
			if got := <-states; got != want {
				t.Errorf("after %q: got %v, want %v", sent, got, want)
			}
		}
	}
	if len(states) > 0 {
		t.Errorf("and %v", <-states)
	}
}

// TestLateStart: Serve does not keep a listener if Shutdown came first.
func TestLateStart(t *testing.T) { eachWay(t, testLateStart) }

func testLateStart(t *testing.T, by way) {
	s := new(gate.Server)
	must.Do(t, s.Shutdown(t.Context()))
	addr, ended := by.serve(t, s)
	if err := <-ended; err != http.ErrServerClosed {
		t.Errorf("got %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// TestKeepsLittle: what a client has sent, or does not read, takes little memory. A client that
// reaches the port may keep a thousand connections open.
func TestKeepsLittle(t *testing.T) { eachWay(t, testKeepsLittle) }

func testKeepsLittle(t *testing.T, by way) {
	const answer, most = 400, 64 << 10
	for what, sent := range map[string][]string{
		"long headers": {"X-Auth-Token: " + strings.Repeat("a", 60_000), "Authorization: " + strings.Repeat("b", 60_000), "User-Agent: " + strings.Repeat("c", 60_000)},
		"long query":   {"?" + strings.Repeat("q", 60_000)},
		"many at once": slices.Repeat([]string{"A: b"}, 3000),
	} {
		t.Run(what, func(t *testing.T) {
			s := &gate.Server{Limits: long(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Write(make([]byte, answer))
			})}
			addr, _ := by.serve(t, s)
			c := call(t, addr)
			var all strings.Builder
			for _, line := range sent {
				if line[0] == '?' {
					fmt.Fprintf(&all, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", line)
				} else {
					fmt.Fprintf(&all, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", line)
				}
			}
			all.WriteString("GE") // of the next one
			go io.WriteString(c, all.String())
			from := bufio.NewReader(c)
			for range sent {
				resp := must.Get(http.ReadResponse(from, nil))(t)
				io.Copy(io.Discard, resp.Body)
			}
			var kept int
			for begun := time.Now(); kept == 0 && time.Since(begun) < patience; time.Sleep(time.Millisecond) {
				kept = s.Kept()
			}
			if kept == 0 || kept > most {
				t.Errorf("the connection keeps %d bytes", kept)
			}
		})
	}
}

// TestPassedIdle: a connection that is passed on waits for a request, as a new one does, and
// is no longer the gate's to close.
func TestPassedIdle(t *testing.T) {
	states, passed := make(chan http.ConnState, 10), make(chan string, 1)
	s := &gate.Server{Limits: long(), ConnState: func(_ net.Conn, s http.ConnState) { states <- s },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}
	s.Pass = func(c net.Conn, read []byte) {
		ended, end := context.WithCancel(t.Context())
		end()
		s.Shutdown(ended)
		passed <- string(read)
		io.WriteString(c, "still open")
		c.Close()
	}
	addr, _ := way(func(l net.Listener) net.Listener { return l }).serve(t, s)
	c := call(t, addr)
	const half = "POST /x HTTP/1.1\r\nHost: x\r\n"
	io.WriteString(c, "GET /api/verify HTTP/1.1\r\nHost: x\r\n\r\n"+half)
	from := bufio.NewReader(c)
	must.Get(http.ReadResponse(from, nil))(t)
	if got := <-passed; got != half {
		t.Errorf("passed %q", got)
	}
	close(states) // the gate is done with the connection
	var said []http.ConnState
	for state := range states {
		said = append(said, state)
	}
	if want := []http.ConnState{http.StateActive, http.StateIdle}; !slices.Equal(said, want) {
		t.Errorf("got %v, want %v", said, want)
	}
	if b, err := io.ReadAll(from); string(b) != "still open" {
		t.Errorf("got %q, %v", b, err)
	}
}
