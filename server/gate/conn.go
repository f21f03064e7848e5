package gate

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"
)

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
