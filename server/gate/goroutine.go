package gate

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// serve serves a connection with a goroutine of its own, which waits in Read and Write.
func (c *conn) serve() {
	passed := false
	defer c.s.forget(c)
	defer func() {
		if !passed {
			c.Close()
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			c.report(p)
		}
	}()
	for {
		next := c.step()
		if next == thenAbort || !c.flush() {
			return
		}
		switch next {
		case thenRead:
			if !c.read() {
				return
			}
		case thenLinger:
			c.linger()
			return
		case thenPass:
			if passed = c.leave(); passed {
				c.s.Pass(c.Conn, c.in)
			}
			return
		case thenClose:
			return
		}
	}
}

// read reports false if the connection has failed, or the client did not send anything in
// time.
func (c *conn) read() bool {
	within, ok := c.reads()
	if !ok {
		return false
	}
	if within > 0 {
		c.SetReadDeadline(time.Now().Add(within))
	}
	n, err := c.Read(c.room())
	c.got(n)
	c.ended = n == 0 && errors.Is(err, io.EOF)
	return n > 0 || c.ended
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

// linger gives the client time to read an answer. If a connection is closed while there is
// still something to read, the client may see an error before it has read the answer.
func (c *conn) linger() {
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

// leave notes that the connection waits, and then that Shutdown may no longer close it:
// another server answers what comes next. It reports false if Shutdown has closed it.
func (c *conn) leave() bool {
	if c.state.CompareAndSwap(asked, waiting) {
		c.tell(http.StateIdle)
	}
	return c.state.CompareAndSwap(waiting, asked)
}
