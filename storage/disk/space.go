package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Watermark is how much of the disk must be free for changes other than
// revocations, in bytes.
const Watermark = 64 << 20

// ballastSize is how much is kept for opening a store on a full disk.
const ballastSize = 32 << 20

// Space watches how much of the disk is free, and whether the directory that is written
// to is where it was. It may be used by many goroutines.
type Space struct {
	dir       string
	watermark uint64 // bytes

	mu     sync.Mutex
	free   func(dir string) (uint64, error)
	home   *os.File // the directory that is watched, as it was opened; nil: none
	looked time.Time
	last   uint64
	why    error // why last is not known
}

// NewSpace watches the disk of a directory, which is short of space with less than so
// many bytes free.
func NewSpace(dir string, watermark uint64) *Space {
	return &Space{dir: dir, watermark: watermark, free: Free}
}

// MeasureBy has what is free be measured by another function than [Free]: a test fills a
// disk so.
func (s *Space) MeasureBy(free func(dir string) (uint64, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = free
}

// Free is what the file system leaves to this process, in bytes.
func Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Lack says why there are not so many bytes to be written: [ErrNoSpace], [ErrNoDirectory]
// when the data directory is elsewhere, or [ErrUnavailable] when the disk does not tell.
// Nil: there are.
func (s *Space) Lack(bytes uint64) error {
	free, err := s.look(time.Millisecond)
	if err == nil && free < bytes {
		err = ErrNoSpace
	}
	return err
}

// Short says, as Lack does, why the disk has less free than the watermark.
func (s *Space) Short() error { return s.Lack(s.watermark) }

// Watermark is how many bytes must be free, or the disk is short.
func (s *Space) Watermark() uint64 { return s.watermark }

// Left is how much of the disk is free, as of a millisecond ago at most; 0 if that is
// not known.
func (s *Space) Left() uint64 {
	free, _ := s.look(time.Millisecond)
	return free
}

// Now is how much of the disk is free at this moment.
func (s *Space) Now() (uint64, error) { return s.look(0) }

func (s *Space) look(old time.Duration) (free uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) > old {
		s.looked, s.last = now, 0
		if s.why = s.moved(); s.why == nil {
			if s.last, err = s.free(s.dir); err != nil {
				s.last, s.why = 0, fmt.Errorf("%w: ask the disk what is free: %w", ErrUnavailable, err)
			}
		}
	}
	return s.last, s.why
}

// Watch has every look make sure that a directory is where it is now. What is
// open goes on working when a directory is moved, but nothing new comes there; and what
// is written to one that was removed is lost.
func (s *Space) Watch(dir string) error {
	home, err := os.Open(dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home = home
	return nil
}

// Close ends the watching.
func (s *Space) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.home == nil {
		return nil
	}
	home := s.home
	s.home = nil
	return home.Close()
}

// moved says why the directory is not where it was.
func (s *Space) moved() error {
	if s.home == nil {
		return nil
	}
	there, err := s.home.Stat()
	if err == nil && there.Sys().(*syscall.Stat_t).Nlink == 0 {
		return ErrRemoved
	}
	var here fs.FileInfo
	if err == nil {
		here, err = os.Stat(s.home.Name())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: %s does not exist", ErrNoDirectory, s.home.Name())
	case err != nil:
		return fmt.Errorf("%w: look for the data directory: %w", ErrUnavailable, err)
	case !os.SameFile(here, there):
		return fmt.Errorf("%w: %s is another directory than the one that was opened", ErrNoDirectory, s.home.Name())
	}
	return nil
}

// KeepBallast keeps a file of allocated space in the directory while there is
// room. When there is none, it removes the file, so that what must be written can be.
func (s *Space) KeepBallast() {
	file := filepath.Join(s.dir, "ballast")
	free := s.Left()
	switch info, err := os.Stat(file); {
	case free < ballastSize/2:
		os.Remove(file)
	case err == nil && info.Size() == ballastSize:
	case free > s.watermark+2*ballastSize:
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return
		}
		defer f.Close()
		if unix.Fallocate(int(f.Fd()), 0, 0, ballastSize) != nil {
			os.Remove(file)
		}
	}
}

// DropBallast removes the ballast, so that a store can be closed on a full disk.
func (s *Space) DropBallast() {
	os.Remove(filepath.Join(s.dir, "ballast"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = time.Time{}
}

// Allocate gives every byte of a file its place on the disk. It changes neither what the
// file contains nor its length.
func Allocate(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Blocks*512 >= st.Size {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, st.Size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // such a file system leaves nothing except the watermark
	}
	return err
}

// SpareDescriptor returns nil when a file could be opened just now.
func SpareDescriptor() error {
	fd, err := unix.FcntlInt(uintptr(unix.Stdin), unix.F_DUPFD_CLOEXEC, 3)
	if errors.Is(err, unix.EBADF) {
		return nil // standard input is closed
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
