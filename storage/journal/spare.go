package journal

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spare keeps a descriptor open, so that the next segment can be made although the
// process has as many as it may, such as when idle connections hold them all. The
// segment that becomes full gives its own descriptor back.
type spare struct {
	mu sync.Mutex
	fd int // 0: none; 0 itself is standard input
}

// fill opens the spare unless it is there. If it can't, a later call does.
func (s *spare) fill(handle *os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd != 0 {
		return
	}
	// The lowest that is taken is 3: standard input may be closed.
	if fd, err := unix.FcntlInt(handle.Fd(), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		s.fd = fd
	}
}

// release closes the spare, and reports whether there was one.
func (s *spare) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd == 0 {
		return false
	}
	unix.Close(s.fd)
	s.fd = 0
	return true
}

func tooManyOpen(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
