// Package gate serves the question that a reverse proxy asks about every
// request: who is this, and may they pass? It owns the bytes of that question and of its
// answer, and the life of a connection. It never decides the answer: the handler of the
// question does, the same one as on the main port.
//
// A proxy asks over few connections, one question at a time, and each question
// is a request line and a header. So a connection is one goroutine and this loop:
//
//	read until the header ends -> parse -> handler -> write, if no question waits -> skip the body
//
// The package never guesses. It reads what it accepts as net/http does, and FuzzServer
// compares the two. It answers 400, and closes the connection, for what is neither HTTP/1.1
// nor HTTP/1.0, can be read in two ways, or is sent by no proxy:
//
//   - lines that end with LF alone, folded lines, blanks before a colon;
//   - a target that is not a path with a query, such as the absolute form or an
//     asterisk; a path with any character other than letters, digits and /-._~; a
//     query with a blank, a control character or a byte above ASCII;
//   - a method or a header name that is not a token, or a control character other than
//     a tab in a header value;
//   - no Host with HTTP/1.1, more than one Host, or one with any character other than
//     letters, digits and -._~:[];
//   - more than one Content-Length, or one that is not a number of at most 18 digits;
//   - Transfer-Encoding with a Content-Length or with HTTP/1.0, more than one
//     Transfer-Encoding, or one other than chunked;
//   - an Expect other than 100-continue;
//   - more than 64 KiB of header, or a header that breaks off.
//
// On the main port, where other requests come too, it refuses nothing: at the first request
// that is not a question, or that it does not understand, it passes the connection on, with
// the bytes that it has read, and is done with it.
//
// HTTP/1.0 is answered, and the connection closed. A body is never read: a short
// one is skipped, and with a long one, or one in chunks, the connection is closed
// after the answer.
//
// A handler sees only what it needs for its decision and its notes: the method, the path,
// the query, X-Auth-Token, Authorization, User-Agent, X-Forwarded-For and X-Request-Id.
// It must not keep the request or its header, because the gate uses them again.
package gate

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Path is what nearly all questions ask for.
const Path = "/api/verify"

// Limits bound how long a connection may take.
type Limits struct {
	Header time.Duration // to send a header, once it has begun
	Idle   time.Duration // between two requests
	Write  time.Duration // to take an answer
}

// Server answers questions on a listener.
type Server struct {
	Handler     http.Handler
	Limits      Limits
	ConnContext func(context.Context, net.Conn) context.Context // of a connection's requests; may be nil
	ConnState   func(net.Conn, http.ConnState)                  // as for an http.Server; may be nil
	ErrorLog    *log.Logger                                     // for a handler that panics

	// Pass takes a connection over, with the bytes that were read from it, when they are
	// anything but a whole question without a body. If it is nil, the gate asks the
	// handler about other paths too, and refuses what it does not understand.
	Pass func(c net.Conn, read []byte)

	stopping atomic.Bool
	mu       sync.Mutex
	listener net.Listener
	conns    map[*conn]bool
	open     sync.WaitGroup
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	if s.stopping.Load() {
		l.Close()
	}
	s.mu.Unlock()
	for delay := time.Duration(0); ; {
		nc, err := l.Accept()
		if s.stopping.Load() {
			if err == nil {
				nc.Close()
			}
			return http.ErrServerClosed
		}
		if passes := (interface{ Temporary() bool })(nil); errors.As(err, &passes) && passes.Temporary() { // no more files
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			time.Sleep(delay)
			continue
		}
		if err != nil {
			return err
		}
		delay = 0
		if c := s.newConn(nc); c != nil {
			go c.serve()
		}
	}
}

// newConn returns nil if the server is stopping.
func (s *Server) newConn(nc net.Conn) *conn {
	ctx := context.Background()
	if s.ConnContext != nil {
		ctx = s.ConnContext(ctx, nc)
	}
	r := &http.Request{
		URL: new(url.URL), Header: make(http.Header, 4), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: nc.RemoteAddr().String(),
	}
	c := &conn{Conn: nc, s: s, request: r.WithContext(ctx), response: response{header: make(http.Header, 8)}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		nc.Close()
		return nil
	}
	if s.conns == nil {
		s.conns = map[*conn]bool{}
	}
	s.conns[c] = true
	s.open.Add(1)
	return c
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.open.Done()
}

// Shutdown takes no more requests, and returns when those under way are answered
// or the context has ended.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.stop(func(c *conn) bool { return c.state.CompareAndSwap(waiting, closed) })
	done := make(chan struct{})
	go func() {
		s.open.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections.
func (s *Server) Close() error { return s.stop(func(*conn) bool { return true }) }

func (s *Server) stop(which func(*conn) bool) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping.Swap(true) && s.listener != nil {
		err = s.listener.Close()
	}
	for c := range s.conns {
		if which(c) {
			c.Close()
		}
	}
	return err
}

// The states of a connection.
const (
	waiting int32 = iota // for a request
	asked                // a request is there
	closed               // by Shutdown
)

// conn is a connection, with the parts that its requests share.
type conn struct {
	net.Conn
	s        *Server
	state    atomic.Int32
	in       []byte // read, and not parsed
	buffer   []byte // in is the beginning of it
	out      []byte // to be written
	head     head
	request  *http.Request
	response response
}

const (
	firstBuffer = 4 << 10
	longBuffer  = 16 << 10  // a connection that waits keeps no more, and no more answers wait for it
	longestSkip = 256 << 10 // of a body, as net/http does
	lingers     = 500 * time.Millisecond
)

func (c *conn) serve() {
	passed := false
	defer c.s.forget(c)
	defer func() {
		if !passed {
			c.Close()
		}
	}()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.s.ErrorLog.Printf("gate: panic: %v\n%s", p, debug.Stack())
		}
	}()
	c.buffer = make([]byte, firstBuffer)
	for {
		end, ok := c.next()
		if !ok {
			return
		}
		understood := end > 0 && c.head.parse(c.in[:end])
		if c.s.Pass != nil && !(understood && c.head.isQuestion()) {
			if passed = c.flush() && c.leave(); passed {
				c.s.Pass(c.Conn, c.in)
			}
			return
		}
		if !c.begin() {
			return
		}
		if !understood {
			c.refuse()
			return
		}
		c.in = c.in[end:]
		if !c.answer() {
			return
		}
	}
}

// next reads until the head of a request is complete, and returns its end. It returns 0
// if the head is too long, breaks off, or can't be a question where only questions are
// answered. ok is false if the client hung up between two requests, or did not send a
// request in time.
func (c *conn) next() (end int, ok bool) {
	const nothing, idle, header = 0, 1, 2
	from, limit, fresh := 0, nothing, c.request.Method == ""
	for {
		// As with net/http, fewer than four bytes after a request are nothing yet.
		began := len(c.in) >= 4 || fresh && len(c.in) > 0
		if began {
			end, from = headEnd(c.in, from)
			switch {
			case end > maxHead || end == 0 && len(c.in) > maxHead:
				return 0, true
			case end > 0:
				return end, true
			case c.s.Pass != nil && !mayBeQuestion(c.in):
				return 0, true
			}
		}
		if !c.flush() || limit == nothing && !c.wait() {
			return 0, false
		}
		switch {
		case limit < header && (began || fresh && c.s.Pass != nil): // a proxy may connect before it has a question, others may not
			limit = header
			c.SetReadDeadline(time.Now().Add(c.s.Limits.Header))
		case limit < idle:
			limit = idle
			c.SetReadDeadline(time.Now().Add(c.s.Limits.Idle))
		}
		n, err := c.Read(c.room())
		c.in = c.buffer[:len(c.in)+n]
		if err != nil && n == 0 {
			return 0, began && errors.Is(err, io.EOF)
		}
	}
}

// wait notes that the connection waits for a request. It reports false if the server is
// stopping.
func (c *conn) wait() bool {
	if len(c.in) < firstBuffer && (len(c.buffer) > longBuffer || cap(c.out) > 2*longBuffer) {
		c.buffer = append(make([]byte, 0, firstBuffer), c.in...)[:firstBuffer]
		c.in, c.out, c.head = c.buffer[:len(c.in)], nil, head{}
		clear(c.request.Header)
		c.request.RequestURI, c.request.URL.Path, c.request.URL.RawQuery = "", "", ""
	}
	if c.state.Load() == asked {
		c.tell(http.StateIdle)
	}
	c.state.Store(waiting)
	return !c.s.stopping.Load()
}

// leave notes that the connection waits, and then that Shutdown may no longer close it:
// another server answers what comes next. It reports false if Shutdown has closed it.
func (c *conn) leave() bool {
	if c.state.CompareAndSwap(asked, waiting) {
		c.tell(http.StateIdle)
	}
	return c.state.CompareAndSwap(waiting, asked)
}

// begin notes that a request is there, unless the connection was closed before.
func (c *conn) begin() bool {
	switch {
	case c.state.Load() == asked: // with the one before
		return true
	case !c.state.CompareAndSwap(waiting, asked):
		return false
	}
	c.tell(http.StateActive)
	return true
}

func (c *conn) tell(state http.ConnState) {
	if c.s.ConnState != nil {
		c.s.ConnState(c.Conn, state)
	}
}

// room returns the part of the buffer to read into, after what is already there.
func (c *conn) room() []byte {
	n := copy(c.buffer, c.in)
	c.in = c.buffer[:n]
	if n == len(c.buffer) {
		c.buffer = append(c.buffer, make([]byte, n)...)
		c.in = c.buffer[:n]
	}
	return c.buffer[n:]
}

// answer asks the handler, and reports whether the connection goes on.
func (c *conn) answer() bool {
	h := &c.head
	long := h.length < 0 || h.length > longestSkip || h.expects
	h.into(c.request)
	c.response.reset()
	c.s.Handler.ServeHTTP(&c.response, c.request)
	closes := h.closing || long || c.s.stopping.Load()
	c.out = c.response.appendTo(c.out, h.method == http.MethodHead, closes)
	switch {
	case closes && (long || h.length > 0 || len(c.in) > 0):
		c.linger()
		return false
	case closes:
		c.flush()
		return false
	}
	if len(c.out) > longBuffer && !c.flush() {
		return false
	}
	return h.length == 0 || c.skip(h.length)
}

// skip leaves out a body.
func (c *conn) skip(n int64) bool {
	if !c.flush() {
		return false
	}
	c.SetReadDeadline(time.Now().Add(c.s.Limits.Header))
	for n > int64(len(c.in)) {
		n -= int64(len(c.in))
		c.in = c.buffer[:0]
		got, err := c.Read(c.buffer)
		if got == 0 && err != nil {
			return false
		}
		c.in = c.buffer[:got]
	}
	c.in = c.in[n:]
	return true
}

// flush writes the answers that wait.
func (c *conn) flush() bool {
	if len(c.out) == 0 {
		return true
	}
	c.SetWriteDeadline(time.Now().Add(c.s.Limits.Write))
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err == nil
}

const refusal = `{"error":"Malformed request"}` + "\n"

// refuse answers a request that was not understood.
func (c *conn) refuse() {
	c.response.reset()
	c.response.header["Content-Type"] = []string{"application/json"}
	c.response.header["Cache-Control"] = []string{"no-store"}
	c.response.status, c.response.body = http.StatusBadRequest, append(c.response.body, refusal...)
	c.out = c.response.appendTo(c.out, false, true)
	c.linger()
}

// linger writes what waits, and gives the client time to read it. If a connection is
// closed while there is still something to read, the client may see an error before it
// has read the answer.
func (c *conn) linger() {
	if !c.flush() {
		return
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.SetReadDeadline(time.Now().Add(lingers))
	for range longestSkip / firstBuffer {
		if _, err := c.Read(c.buffer[:firstBuffer]); err != nil {
			return
		}
	}
}
