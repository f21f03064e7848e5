package journal

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spare keeps a second descriptor of the directory open, so that the next segment
// can be made even when the process has used up all its descriptors, for example
// for idle connections. The segment that becomes full returns its own descriptor
// to the spare. The spare also closes the directory: a reader may end after the
// journal, and a duplicate of the descriptor made then would keep the directory
// locked.
type spare struct {
	mu  sync.Mutex
	dir *os.File // nil once closed
	fd  int      // 0: none; 0 itself is standard input
}

// fill opens the spare unless it is open. If that fails, a later call tries
// again.
func (s *spare) fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd != 0 || s.dir == nil {
		return
	}
	// Take no descriptor below 3: standard input may be closed.
	if fd, err := unix.FcntlInt(s.dir.Fd(), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		s.fd = fd
	}
}

// release closes the spare, and reports whether there was one.
func (s *spare) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

func (s *spare) drop() bool {
	if s.fd == 0 {
		return false
	}
	unix.Close(s.fd)
	s.fd = 0
	return true
}

// close closes the spare and the directory. The spare stays empty from then on.
func (s *spare) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	if s.dir == nil {
		return os.ErrClosed
	}
	dir := s.dir
	s.dir = nil
	// A child that is just being started has a copy of the descriptor, which would keep the
	// lock.
	unix.Flock(int(dir.Fd()), unix.LOCK_UN)
	return dir.Close()
}

func tooManyOpen(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
