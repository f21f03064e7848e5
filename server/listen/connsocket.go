package listen

import (
	"cmp"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
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

// socket reads and writes with system calls that Go's scheduler does not track. They
// never wait (MSG_DONTWAIT): if there is nothing to do, the poller waits as for any
// connection.
//
// When the scheduler tracks a call that takes longer than some 20 µs, it starts or wakes
// another thread for the other goroutines. On a core that is shared with the proxy, an
// answer takes that long nearly always: the kernel lets the proxy run as soon as it has
// something to read.
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
	n, errno := h.try(unix.SYS_RECVFROM, fd, unix.MSG_DONTWAIT)
	switch {
	case errno == unix.EAGAIN:
		return false
	case errno != 0:
		h.err = &net.OpError{Op: h.op, Net: "socket", Err: os.NewSyscallError("recv", errno)}
	case n == 0:
		h.err = io.EOF
	}
	h.n = n
	return true
}

// send writes all of it.
func (h *half) send(fd uintptr) bool {
	for len(h.b) > 0 {
		n, errno := h.try(unix.SYS_SENDTO, fd, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if errno == unix.EAGAIN {
			return false
		}
		if errno != 0 {
			h.err = &net.OpError{Op: h.op, Net: "socket", Err: os.NewSyscallError("send", errno)}
			return true
		}
		h.b, h.n = h.b[n:], h.n+n
	}
	return true
}

// try does a system call, again if a signal came between.
func (h *half) try(call, fd, flags uintptr) (n int, errno unix.Errno) {
	for {
		got, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&h.b[0])), uintptr(len(h.b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(got), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
