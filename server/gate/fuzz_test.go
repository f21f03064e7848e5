package gate_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/gate"
)

// FuzzServer gives the same bytes to net/http and to the gate. net/http also takes every
// request that the gate takes, at the same place in the bytes and with the same meaning,
// and answers alike. The gate may take fewer: then its last answer is 400. So nothing
// that follows can be taken for a request by the gate alone.
func FuzzServer(f *testing.F) {
	p := newPair(f)
	for _, c := range cases {
		f.Add(wire(c.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p.compare(t, raw)
	})
}

// pair is both servers, which last for a whole run.
type pair struct{ net, gate *queue }

func newPair(t testing.TB) pair {
	p := pair{newQueue(), newQueue()}
	n := &http.Server{Handler: http.HandlerFunc(echo), MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0), ConnContext: recorded}
	g := &gate.Server{Handler: http.HandlerFunc(echo), Limits: gate.Limits{Header: time.Minute, Idle: time.Minute, Write: time.Minute}, ConnContext: recorded}
	go n.Serve(p.net)
	go g.Serve(p.gate)
	t.Cleanup(func() { n.Close(); g.Close() })
	return p
}

// compare checks that the gate reads the bytes as net/http does, and returns the gate's
// answers.
func (p pair) compare(t *testing.T, raw []byte) (got []answer) {
	t.Helper()
	net, _ := answers(ask(p.net, raw))
	got, err := answers(ask(p.gate, raw))
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	for n, a := range got {
		if a.status == http.StatusBadRequest {
			if n != len(got)-1 || !a.closes {
				t.Errorf("%q: after 400 the connection goes on", raw)
			}
			return got
		}
		if n >= len(net) {
			t.Fatalf("%q: the gate gives answer %d, net/http none: %+v", raw, n, a)
		}
		if !a.same(net[n]) {
			t.Fatalf("%q: answer %d\n%+v, and of net/http\n%+v", raw, n, a, net[n])
		}
	}
	if closed := len(got) > 0 && got[len(got)-1].closes; !closed && len(got) != len(net) {
		t.Fatalf("%q: the gate gives %d answers and keeps the connection, net/http %d", raw, len(got), len(net))
	}
	return got
}

// echo answers with everything that the gate shows of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(memoryKey{}).(*memory)
	c.methods = append(c.methods, r.Method)
	read := http.Header{}
	for _, name := range []string{"X-Auth-Token", "Authorization", "User-Agent", "X-Forwarded-For", "X-Request-Id"} {
		if v := r.Header[name]; v != nil {
			read[name] = v
		}
	}
	b, err := json.Marshal([]any{r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI, r.ContentLength, r.ProtoMinor, read})
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b))) // or net/http sends a long body in chunks
	w.Header()["Www-Authenticate"] = []string{"Basic", "Bearer"}
	switch len(read) {
	case 1:
		w.WriteHeader(http.StatusUnauthorized)
	case 2:
		w.WriteHeader(http.StatusForbidden)
	}
	w.Write(b)
}

// patience is how long to wait for the end of a connection.
const patience = 5 * time.Minute

// answer is one that a client reads.
type answer struct {
	status int
	header http.Header
	body   string
	closes bool
}

func (a answer) same(b answer) bool {
	return a.status == b.status && a.body == b.body && slices.EqualFunc(fields(a.header), fields(b.header), func(x, y string) bool { return x == y })
}

// fields returns the fields of an answer, except for its time and whether the connection
// goes on.
func fields(h http.Header) (list []string) {
	for name, values := range h {
		if name != "Date" && name != "Connection" {
			list = append(list, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(list)
	return list
}

// answers reads what a server sent in reply to requests with these methods. It stops at
// an error.
func answers(out []byte, methods []string) (list []answer, err error) {
	r := bufio.NewReader(bytes.NewReader(out))
	for {
		if _, err := r.Peek(1); err != nil {
			return list, nil
		}
		of := &http.Request{Method: http.MethodGet}
		if len(list) < len(methods) {
			of.Method = methods[len(list)]
		}
		resp, err := http.ReadResponse(r, of)
		if err != nil {
			return list, err
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return list, err
		}
		list = append(list, answer{resp.StatusCode, resp.Header, string(b), resp.Close})
	}
}

// ask sends bytes to a server, and nothing after them. It returns what comes back, and
// the methods that the handler saw.
func ask(to *queue, raw []byte) (out []byte, methods []string) {
	c := &memory{in: raw, done: make(chan struct{})}
	to.conns <- c
	select {
	case <-c.done:
	case <-time.After(patience):
		panic(fmt.Sprintf("no end after %q", raw))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out, c.methods
}

// memory is a connection. Its other end has sent all that it will send.
type memory struct {
	mu      sync.Mutex
	in, out []byte
	methods []string
	once    sync.Once
	done    chan struct{}
}

type memoryKey struct{}

func recorded(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, memoryKey{}, c)
}

func (c *memory) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *memory) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, b...)
	return len(b), nil
}

// After CloseWrite nothing is written. net/http closes half a second later.
func (c *memory) CloseWrite() error { return c.Close() }

func (c *memory) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func (c *memory) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (c *memory) SetDeadline(time.Time) error      { return nil }
func (c *memory) SetReadDeadline(time.Time) error  { return nil }
func (c *memory) SetWriteDeadline(time.Time) error { return nil }

// queue is a listener.
type queue struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), ended: make(chan struct{})} }

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.ended:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.ended) })
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }
