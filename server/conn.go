package server

import (
	"net"
	"os"
	"sync"
	"time"
)

// listener accepts the connections of the TCP port.
type listener struct{ *net.TCPListener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &conn{TCPConn: c, began: time.Now()}, nil
}

// conn moves the deadlines of a connection only where that makes a difference.
// net/http moves them seven times for each request, and to move one moves a
// timer of the runtime: all in all that costs more than to verify a token.
//
// A deadline of reading comes into force when something is read, for of the
// seven most are moved on before that. And one that is in force stays, if it is
// less than a slack earlier than the one that is wanted.
type conn struct {
	*net.TCPConn
	began time.Time

	mu          sync.Mutex
	readers     int       // in Read just now
	wanted      time.Time // the deadline of reading, once it comes into force
	read, write time.Time // the deadlines in force; zero: none
}

// slack is by how much a limit may be shorter than it is set. The limits are
// longer.
const slack = time.Second

// Read reads as the TCP connection does, with the deadline that is wanted now or
// while it waits.
func (c *conn) Read(b []byte) (n int, err error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	n, err = c.TCPConn.Read(b)
	c.mu.Lock()
	c.readers--
	c.mu.Unlock()
	return n, err
}

// begin brings the deadline of reading into force. With one from before the
// connection began, net/http tells a reader to give up, which needs no timer.
func (c *conn) begin() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wanted.IsZero() && c.wanted.Before(c.began) {
		return os.ErrDeadlineExceeded
	}
	if err = c.force(); err == nil {
		c.readers++
	}
	return err
}

// SetReadDeadline says until when Read may wait.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = t
	if c.readers == 0 {
		return nil
	}
	return c.force()
}

// force brings the deadline of reading that is wanted into force.
func (c *conn) force() error {
	if holds(c.read, c.wanted) {
		return nil
	}
	c.read = c.wanted
	return c.TCPConn.SetReadDeadline(c.wanted)
}

// SetWriteDeadline says until when Write may wait.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if holds(c.write, t) {
		return nil
	}
	c.write = t
	return c.TCPConn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// holds reports whether the deadline in force will do for the one wanted.
func holds(force, wanted time.Time) bool {
	if force.IsZero() || wanted.IsZero() {
		return force.IsZero() == wanted.IsZero()
	}
	later := wanted.Sub(force)
	return later >= 0 && later < slack
}
