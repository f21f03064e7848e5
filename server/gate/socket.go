package gate

import (
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"gatehouse/server/nowait"
)

// Socket is a connection that Go's poller does not know, because a loop waits for it. Its
// Read, Write and deadlines are not to be used.
type Socket struct {
	net.Conn // closed; it still knows the addresses

	mu     sync.Mutex // held in each system call, or the number might be another file's by then
	fd     int        // -1: closed
	member *member    // of a loop, or nil
}

// NewSocket takes the socket of a TCP connection or of one of a unix socket. It closes c, also
// when it returns an error, such as that there are too many open files.
func NewSocket(c interface {
	net.Conn
	syscall.Conn
}) (*Socket, error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{Conn: c}
	if bad := raw.Control(func(fd uintptr) {
		s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); bad != nil {
		return nil, bad
	}
	return s, err
}

// Socket returns s.
func (s *Socket) Socket() *Socket { return s }

// socketOf returns the socket of a connection that a loop may serve, or nil.
func socketOf(c net.Conn) *Socket {
	if c, ok := c.(interface{ Socket() *Socket }); ok {
		return c.Socket()
	}
	return nil
}

// do calls f with the number of the file, unless that is closed.
func (s *Socket) do(f func(fd int) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return f(s.fd)
}

// Close closes the connection. Any goroutine may call it, also while a loop serves the
// connection.
func (s *Socket) Close() error {
	return s.do(func(fd int) error {
		if s.member != nil {
			s.member.closing(fd)
		}
		s.fd = -1
		return unix.Close(fd)
	})
}

// CloseWrite says that nothing more will be written.
func (s *Socket) CloseWrite() error {
	return s.do(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// receive is [nowait.Receive].
func (s *Socket) receive(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return nowait.Receive(uintptr(s.fd), b)
}

// send is [nowait.Send].
func (s *Socket) send(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return nowait.Send(uintptr(s.fd), b)
}
