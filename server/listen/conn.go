package listen

import (
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"gatehouse/server/gate"
	"gatehouse/server/ipaddr"
)

// listener accepts connections on a TCP port as long as there is room for them.
type listener struct {
	*net.TCPListener
	open  *Connections
	loops bool // of package gate serve them
}

func (l listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		c, err := l.open.conn(tcp, l.loops)
		if err != nil { // no more files
			tcp.Close()
			return nil, err
		}
		if l.open.enter(c, ipaddr.Remote(tcp.RemoteAddr().String())) {
			return c, nil
		}
		c.Close()
	}
}

// conn returns a connection, for loops of package gate or for goroutines.
func (o *Connections) conn(c netConn, loops bool) (*conn, error) {
	if loops {
		s, err := gate.NewSocket(c)
		if err != nil {
			return nil, err
		}
		return &conn{halfCloser: s, open: o}, nil
	}
	s, err := newSocket(c)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &conn{
		halfCloser: s,
		open:       o,
		read:       deadline{began: now, move: c.SetReadDeadline},
		write:      deadline{began: now, move: c.SetWriteDeadline},
	}, nil
}

// conn is a connection without two kinds of work that net/http does for each request, nearly
// always for nothing: it moves deadlines, and it looks for the next request before the client
// can have sent it.
type conn struct {
	halfCloser
	read, write deadline
	answers     answers
	unread      []byte // was read from it, and is given to the next reader

	open   *Connections
	places []*place // among them; its lock guards this
}

// Socket returns the socket if loops of package gate serve the connection, or nil.
func (c *conn) Socket() *gate.Socket {
	s, _ := c.halfCloser.(*gate.Socket)
	return s
}

// Close closes the connection, and makes room for another.
func (c *conn) Close() error {
	err := c.halfCloser.Close()
	c.open.closed(c)
	return err
}

// Read reads as the TCP connection does, until the read deadline, even if it is moved
// while Read waits.
func (c *conn) Read(b []byte) (n int, err error) {
	if len(c.unread) > 0 {
		n = copy(b, c.unread)
		if c.unread = c.unread[n:]; len(c.unread) == 0 {
			c.unread = nil // and the buffer that it was in
		}
		return n, nil
	}
	if len(b) > 1 { // with less, net/http only watches for the client to hang up
		c.answers.next()
	}
	if err := c.read.begin(); err != nil {
		return 0, err
	}
	defer c.read.end()
	return c.halfCloser.Read(b)
}

// Write writes as the TCP connection does, until the write deadline, even if it is moved
// while Write waits.
func (c *conn) Write(b []byte) (n int, err error) {
	c.answers.given()
	if err := c.write.begin(); err != nil {
		return 0, err
	}
	defer c.write.end()
	return c.halfCloser.Write(b)
}

// SetReadDeadline says until when Read may wait.
func (c *conn) SetReadDeadline(t time.Time) error { return c.read.set(t) }

// SetWriteDeadline says until when Write may wait.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.write.set(t) }

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.read.set(t); err != nil {
		return err
	}
	return c.write.set(t)
}

// deadline is moved only when that makes a difference. net/http moves the deadlines of a
// connection nine times for each request, and each time it moves a timer of the runtime.
// Together that costs more than to verify a token.
//
// A deadline comes into force when something is read or written, since most are moved
// again before that. A deadline in force stays if it is less than slack earlier than the
// one that is wanted.
type deadline struct {
	began time.Time // when the connection began
	move  func(time.Time) error

	mu     sync.Mutex
	users  int       // in Read or Write just now
	wanted time.Time // zero: none
	force  time.Time // what is in force
}

// slack is how much earlier than asked a deadline may fire. All limits are much longer.
const slack = time.Second

// begin brings what is wanted into force for one more user. net/http sets a deadline
// from before the connection began to tell a reader to give up: that needs no timer.
func (d *deadline) begin() (err error) {
	d.mu.Lock()
	if !d.wanted.IsZero() && d.wanted.Before(d.began) {
		err = os.ErrDeadlineExceeded
	} else if err = d.enforce(); err == nil {
		d.users++
	}
	d.mu.Unlock()
	return err
}

func (d *deadline) end() {
	d.mu.Lock()
	d.users--
	d.mu.Unlock()
}

func (d *deadline) set(t time.Time) (err error) {
	d.mu.Lock()
	if d.wanted = t; d.users > 0 {
		err = d.enforce()
	}
	d.mu.Unlock()
	return err
}

func (d *deadline) enforce() error {
	if d.holds() {
		return nil
	}
	d.force = d.wanted
	return d.move(d.wanted)
}

// holds reports whether what is in force is close enough to what is wanted.
func (d *deadline) holds() bool {
	if d.force.IsZero() || d.wanted.IsZero() {
		return d.force.IsZero() == d.wanted.IsZero()
	}
	later := d.wanted.Sub(d.force)
	return later >= 0 && later < slack
}

// answers lets other goroutines run between an answer and the look for the next request.
// Under load the request is then often there already: that saves a read that finds
// nothing, and saves the kernel from waking the reader later.
//
// It yields after every second answer only. A goroutine that yields runs again when no
// other is ready to run, and that must not take long.
type answers struct {
	mu      sync.Mutex
	fresh   bool // an answer was given, and nothing was read since
	yielded bool // after the answer before
}

func (a *answers) given() {
	a.mu.Lock()
	a.fresh = true
	a.mu.Unlock()
}

func (a *answers) next() {
	if a.mayYield() {
		runtime.Gosched()
	}
}

func (a *answers) mayYield() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.fresh {
		return false
	}
	a.fresh, a.yielded = false, !a.yielded
	return a.yielded
}
