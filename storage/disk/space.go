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

// ballastSize is how many bytes are reserved for opening a store on a full
// disk.
const ballastSize = 32 << 20

// Space watches how much of the disk is free, and whether the data directory was moved.
// It may be used by many goroutines.
type Space struct {
	dir       string
	watermark uint64 // bytes

	mu     sync.Mutex
	free   func(dir string) (uint64, error)
	home   *os.File // the watched directory, open; nil: none
	looked time.Time
	last   uint64
	why    error // why last is unknown
}

// NewSpace watches the disk of a directory. The disk is short when fewer than
// watermark bytes are free.
func NewSpace(dir string, watermark uint64) *Space {
	return &Space{dir: dir, watermark: watermark, free: Free}
}

// MeasureBy replaces [Free] as the function that measures the free space. Tests use it
// to simulate a full disk.
func (s *Space) MeasureBy(free func(dir string) (uint64, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = free
}

// Free returns how many bytes the file system has free for this process.
func Free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Lack returns nil if that number of bytes can be written. Otherwise it returns [ErrNoSpace],
// [ErrNoDirectory] if the data directory was moved, or [ErrUnavailable] if the free space
// is unknown.
func (s *Space) Lack(bytes uint64) error {
	free, err := s.look(time.Millisecond)
	if err == nil && free < bytes {
		err = ErrNoSpace
	}
	return err
}

// Short returns, as Lack does, why less than the watermark is free.
func (s *Space) Short() error { return s.Lack(s.watermark) }

// Watermark returns how many bytes must be free; with fewer the disk is short.
func (s *Space) Watermark() uint64 { return s.watermark }

// Left returns how many bytes of the disk are free, at most a millisecond old, or 0
// if that is unknown.
func (s *Space) Left() uint64 {
	free, _ := s.look(time.Millisecond)
	return free
}

// Now returns how many bytes of the disk are free at this moment.
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

// Watch makes every measurement check that a directory is still where it is now. When a
// directory is moved, open files keep working but new files are not created in it; data
// written to a removed directory is lost.
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

// moved returns an error if the directory is not where it was.
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

// KeepBallast keeps a file of allocated space in the directory while there is room.
// If there is no room, it removes the file, so that essential writes succeed.
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

// Allocate reserves disk space for every byte of a file. It changes neither the content
// nor the length of the file.
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
		return nil // on such a file system only the watermark helps
	}
	return err
}

// SpareDescriptor returns nil if a file could be opened now.
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
