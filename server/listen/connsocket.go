package listen

import (
	"cmp"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"gatehouse/server/nowait"
)

// halfCloser is what net/http asks of a connection. More of a TCP connection's
// methods would read and write past the deadlines.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// netConn is a *net.TCPConn or a *net.UnixConn.
type netConn interface {
	halfCloser
	syscall.Conn
}

// socket reads and writes with the calls of package nowait. If there is nothing to do, the
// poller waits as for any connection.
type socket struct {
	halfCloser
	raw     syscall.RawConn
	in, out half
}

// half is one direction of a socket.
type half struct {
	op   string     // as in the errors of other connections: net/http looks at it
	mu   sync.Mutex // held in Read, or Write
	b    []byte     // what is left to read into, or to write
	n    int        // bytes that were read or written
	err  error
	call func(fd uintptr) (done bool)
}

func newSocket(c netConn) (halfCloser, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{halfCloser: c, raw: raw, in: half{op: "read"}, out: half{op: "write"}}
	s.in.call, s.out.call = s.in.receive, s.out.send
	return s, nil
}

func (s *socket) Read(b []byte) (int, error) { return s.in.do(b, s.raw.Read) }

func (s *socket) Write(b []byte) (int, error) { return s.out.do(b, s.raw.Write) }

// do calls h.call when the socket is ready, until it is done.
func (h *half) do(b []byte, ready func(func(uintptr) bool) error) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b, h.n, h.err = b, 0, nil
	err := ready(h.call)
	h.b = nil
	if bad, ok := err.(*net.OpError); ok {
		bad.Op = h.op
	}
	return h.n, cmp.Or(err, h.err)
}

func (h *half) receive(fd uintptr) bool {
	n, err := nowait.Receive(fd, h.b)
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil:
		h.err = &net.OpError{Op: h.op, Net: "socket", Err: os.NewSyscallError("recv", err)}
	case n == 0:
		h.err = io.EOF
	}
	h.n = n
	return true
}

// send writes all of it.
func (h *half) send(fd uintptr) bool {
	for len(h.b) > 0 {
		n, err := nowait.Send(fd, h.b)
		if err == unix.EAGAIN {
			return false
		}
		if err != nil {
			h.err = &net.OpError{Op: h.op, Net: "socket", Err: os.NewSyscallError("send", err)}
			return true
		}
		h.b, h.n = h.b[n:], h.n+n
	}
	return true
}
