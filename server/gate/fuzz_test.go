package gate_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
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
//
// A gate that passes connections, and net/http for what it passes, answer byte for byte
// as net/http does.
//
// In a run of hours, let the fuzzer watch the branches of the gate alone. That makes it
// several times as fast:
//
//	go test -c -gcflags=gatehouse/server/gate=-d=libfuzzer -o gate.test ./server/gate
//	./gate.test -test.run=NONE -test.fuzz=FuzzServer -test.fuzzcachedir=$(go env GOCACHE)/fuzz/gate -test.parallel=1 -test.fuzzminimizetime=0
func FuzzServer(f *testing.F) {
	// Most of the time would go into waking other threads.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := newPair(f)
	for _, c := range cases {
		f.Add(wire(c.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p.compare(t, raw)
		p.pass(t, raw)
	})
}

// pair is the servers, which last for a whole run.
type pair struct {
	net         *queue
	gate, front *gate.Server
}

func newPair(t testing.TB) pair {
	limits := gate.Limits{Header: time.Minute, Idle: time.Minute, Write: time.Minute}
	p := pair{
		net:  newQueue(),
		gate: &gate.Server{Handler: http.HandlerFunc(echo), Limits: limits, ConnContext: recorded},
		front: &gate.Server{Handler: http.HandlerFunc(echo), Limits: limits, ConnContext: recorded, Pass: func(c net.Conn, read []byte) {
			m := c.(*memory)
			m.passed, m.in = true, slices.Concat(read, m.in)
		}},
	}
	n := &http.Server{Handler: http.HandlerFunc(echo), MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0), ConnContext: recorded}
	go n.Serve(p.net)
	t.Cleanup(func() { n.Close() })
	return p
}

// compare checks that the gate reads the bytes as net/http does, and returns the gate's
// answers.
func (p pair) compare(t *testing.T, raw []byte) (got []answer) {
	t.Helper()
	c := newMemory(raw)
	p.gate.ServeConn(c)
	got, err := answers(c.out, c.methods)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	var net []answer
	for n, a := range got {
		if a.status == http.StatusBadRequest {
			if n != len(got)-1 || !a.closes {
				t.Errorf("%q: after 400 the connection goes on", raw)
			}
			return got
		}
		if n == 0 { // a refusal needs no comparison
			net, _ = answers(ask(p.net, raw))
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

// pass checks that nobody can tell from the answers that net/http took the connection
// over, and when. It returns how many bytes net/http was given.
func (p pair) pass(t *testing.T, raw []byte) (rest int) {
	t.Helper()
	c := newMemory(raw)
	p.front.ServeConn(c)
	if c.passed {
		rest = len(c.in)
	}
	if len(c.out) == 0 {
		if rest != len(raw) || !bytes.Equal(c.in, raw) && c.passed {
			t.Fatalf("%q: net/http is given %q", raw, c.in)
		}
		return rest
	}
	got, _ := ask(p.net, raw)
	want := c.out
	if rest > 0 {
		more, _ := ask(p.net, c.in)
		want = slices.Concat(want, more)
	}
	if got, want = undated(got), undated(want); !bytes.Equal(got, want) {
		t.Fatalf("%q: the gate, and net/http for the last %d bytes, answer\n%q, net/http\n%q", raw, rest, want, got)
	}
	return rest
}

// undated takes the time out of answers.
func undated(b []byte) []byte {
	const before = "\r\nDate: "
	for from := 0; ; {
		n := bytes.Index(b[from:], []byte(before))
		if n < 0 {
			return b
		}
		from += n + len(before)
		copy(b[from:], strings.Repeat("x", len(http.TimeFormat)))
	}
}

// echo answers with everything that the gate shows of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(memoryKey{}).(*memory)
	c.methods = append(c.methods, r.Method)
	var b []byte
	for _, text := range []string{r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.RequestURI} {
		b = strconv.AppendQuote(b, text)
	}
	b = strconv.AppendInt(append(b, ' '), r.ContentLength, 10)
	b = strconv.AppendInt(append(b, ' '), int64(r.ProtoMinor), 10)
	read := 0
	for _, name := range []string{"X-Auth-Token", "Authorization", "User-Agent", "X-Forwarded-For", "X-Request-Id"} {
		values := r.Header[name]
		if values != nil {
			read++
		}
		b = append(b, ';')
		for _, v := range values {
			b = strconv.AppendQuote(b, v)
		}
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(b))) // or net/http sends a long body in chunks
	w.Header()["Www-Authenticate"] = []string{"Basic", "Bearer"}
	switch read {
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
	c := newMemory(raw)
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
	passed  bool
	once    sync.Once
	done    chan struct{}
}

func newMemory(raw []byte) *memory { return &memory{in: raw, done: make(chan struct{})} }

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
