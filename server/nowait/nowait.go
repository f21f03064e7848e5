// Package nowait reads and writes sockets by system calls that Go's scheduler does not
// track. They never wait: what can't be done at once gives unix.EAGAIN.
//
// When the scheduler tracks a call that takes longer than some 20 µs, it starts or wakes
// another thread for the other goroutines. On a core that is shared with a proxy, an answer
// takes that long nearly always: the kernel lets the proxy run as soon as it has something to
// read.
package nowait

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive reads into b, which must not be empty. It returns 0 and no error at the end of what
// the other side sends.
func Receive(fd uintptr, b []byte) (int, error) {
	return try(unix.SYS_RECVFROM, fd, b, unix.MSG_DONTWAIT)
}

// Send writes as much of b as there is room for. b must not be empty.
func Send(fd uintptr, b []byte) (int, error) {
	return try(unix.SYS_SENDTO, fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// try does a system call, again if a signal came between.
func try(call, fd uintptr, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
