// Package gate serves the question that a reverse proxy asks about every
// request: who is this, and may they pass? It owns the bytes of that question and of its
// answer, and the life of a connection. It never decides the answer: the handler of the
// question does, the same one as on the main port.
//
// A proxy asks over few connections, one question at a time, and each question
// is a request line and a header. So this is all that happens:
//
//	read until the header ends -> parse -> handler -> write, if no question waits -> skip the body
//
// There are two ways to wait for it. On the gate's own address, one goroutine waits for many
// connections (loop.go). On the main port, each connection has a goroutine, which can hand
// the connection over to net/http (goroutine.go). Both leave everything between the
// bytes of a request and those of its answer to conn.go.
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
// It must not keep the request or its header, because the gate uses them again. Before it waits,
// it must call the function that [BeforeWait] returns.
package gate

import (
	"context"
	"errors"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
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
// http.ErrServerClosed. Loops serve the connections that have a method Socket() *Socket, unless
// it returns nil. They pass none on.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	if s.stopping.Load() {
		l.Close()
	}
	s.mu.Unlock()
	var loops []*loop
	for delay := time.Duration(0); ; {
		nc, err := l.Accept()
		var socket *Socket
		if err == nil {
			if socket = socketOf(nc); socket != nil && loops == nil {
				if loops, err = s.newLoops(); err != nil {
					nc.Close()
				}
			}
		}
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
		c := s.newConn(nc)
		if c == nil {
			nc.Close()
			continue
		}
		if socket != nil {
			loops[0].start(c, socket)
			loops = append(loops[1:], loops[0])
		} else {
			go c.serve()
		}
	}
}

// stopped reports whether the server has stopped, and all its connections have ended.
func (s *Server) stopped() bool {
	if !s.stopping.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) == 0
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
	c := &conn{Conn: nc, s: s, request: r.WithContext(ctx), response: response{header: make(http.Header, 8)}, buffer: make([]byte, firstBuffer)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
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
	if !s.stopping.Swap(true) && s.listener != nil {
		err = s.listener.Close()
	}
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns { // Close takes the lock, to forget a connection
		if which(c) {
			c.Close()
		}
	}
	return err
}
