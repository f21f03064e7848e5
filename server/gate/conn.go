package gate

import (
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

// conn is what a connection's requests share, and the way from the bytes of a request to
// those of its answer. It neither reads nor writes.
type conn struct {
	net.Conn
	s        *Server
	state    atomic.Int32
	in       []byte // read, and not parsed
	buffer   []byte // in is the beginning of it
	searched int    // so much of in has no end of a header
	ended    bool   // nothing comes after in
	body     int64  // bytes of a body that are still to be skipped
	limit    limit  // in force
	out      []byte // to be written
	head     head
	request  *http.Request
	response response
	waits    func() // to be called before anything that may wait; may be nil
}

const (
	firstBuffer = 4 << 10
	longBuffer  = 16 << 10  // a connection that waits keeps no more, and no more answers wait for it
	longestSkip = 256 << 10 // of a body, as net/http does
	lingers     = 500 * time.Millisecond
)

// then is what comes after a step, once the answers are written.
type then int

const (
	thenRead   then = iota // read, and take another step
	thenStep               // take another step
	thenClose              // close the connection
	thenLinger             // close it, but give the client time to read the answer
	thenPass               // hand the connection over
	thenAbort              // close it without writing
)

// step answers the requests that are there.
func (c *conn) step() then {
	for len(c.out) <= longBuffer {
		if next := c.one(); next != thenStep {
			return next
		}
	}
	return thenStep
}

// report logs a panic, which ends the connection.
func (c *conn) report(panicked any) {
	if panicked != http.ErrAbortHandler {
		c.s.ErrorLog.Printf("gate: panic: %v\n%s", panicked, debug.Stack())
	}
}

// one answers a request, or skips a part of a body.
func (c *conn) one() then {
	if c.body > 0 && !c.skip() {
		return c.more()
	}
	n, ok := c.whole()
	if !ok {
		return c.more()
	}
	understood := n > 0 && c.head.parse(c.in[:n])
	switch {
	case c.s.Pass != nil && !(understood && c.head.isQuestion()):
		return thenPass
	case !c.begin():
		return thenAbort
	case !understood:
		return c.refuse()
	}
	c.in, c.limit = c.in[n:], none
	return c.answer()
}

func (c *conn) more() then {
	if c.ended {
		return thenClose
	}
	return thenRead
}

// skip leaves out what is there of a body, and reports whether that is all of it.
func (c *conn) skip() bool {
	n := min(c.body, int64(len(c.in)))
	c.in, c.body = c.in[n:], c.body-n
	if c.body > 0 {
		return false
	}
	c.limit = none
	return true
}

// began reports whether a request has begun. As with net/http, fewer than four bytes after
// a request are nothing yet.
func (c *conn) began() bool { return len(c.in) >= 4 || c.fresh() && len(c.in) > 0 }

// fresh reports whether the connection has had no request.
func (c *conn) fresh() bool { return c.request.Method == "" }

// whole returns where the head of a request ends, if it is there. The end is 0 if the head is
// too long, breaks off, or can't be a question where only questions are answered.
func (c *conn) whole() (end int, ok bool) {
	if !c.began() {
		return 0, false
	}
	end, c.searched = headEnd(c.in, c.searched)
	switch {
	case end > maxHead || end == 0 && len(c.in) > maxHead:
		return 0, true
	case end > 0:
		return end, true
	case c.s.Pass != nil && !mayBeQuestion(c.in):
		return 0, true
	}
	return 0, c.ended
}

// answer asks the handler.
func (c *conn) answer() then {
	h := &c.head
	long := h.length < 0 || h.length > longestSkip || h.expects
	h.into(c.request)
	c.response.reset()
	if c.waits != nil && h.path != Path {
		c.waits() // only of a question's handler is it known where it waits
	}
	c.s.Handler.ServeHTTP(&c.response, c.request)
	closes := h.closing || long || c.s.stopping.Load()
	c.out = c.response.appendTo(c.out, h.method == http.MethodHead, closes)
	switch {
	case closes && (long || h.length > 0 || len(c.in) > 0):
		return thenLinger
	case closes:
		return thenClose
	}
	c.body = h.length
	return thenStep
}

const refusal = `{"error":"Malformed request"}` + "\n"

// refuse answers a request that was not understood.
func (c *conn) refuse() then {
	c.response.reset()
	c.response.header["Content-Type"] = []string{"application/json"}
	c.response.header["Cache-Control"] = []string{"no-store"}
	c.response.status, c.response.body = http.StatusBadRequest, append(c.response.body, refusal...)
	c.out = c.response.appendTo(c.out, false, true)
	return thenLinger
}

// limit is one of the [Limits] of a client that is to send something.
type limit int

const (
	none limit = iota
	idle
	header
)

// reads prepares for reading. It returns how long the client may take, or 0 if an earlier limit
// stays in force. ok is false if the server is stopping.
func (c *conn) reads() (within time.Duration, ok bool) {
	if c.limit == none && c.body == 0 && !c.becomeIdle() {
		return 0, false
	}
	switch {
	case c.limit < header && (c.body > 0 || c.began() || c.fresh() && c.s.Pass != nil): // a proxy may connect before it has a question, others may not
		c.limit = header
		return c.s.Limits.Header, true
	case c.limit < idle:
		c.limit = idle
		return c.s.Limits.Idle, true
	}
	return 0, true
}

// becomeIdle notes that the connection waits for a request. It reports false if the server is
// stopping.
func (c *conn) becomeIdle() bool {
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

// got adds n bytes that were read into room.
func (c *conn) got(n int) { c.in = c.buffer[:len(c.in)+n] }
