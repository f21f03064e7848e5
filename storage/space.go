package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// space watches the disk. Below the watermark nothing is written but what the
// journal has room for already: Badger writes through a memory map, where a
// full disk is no error but the end of the process (SIGBUS). Its logs are given
// their place before they are written to, and its compactions wait before each
// table. What remains is a table that is being written when somebody takes the
// whole watermark: for one of a compaction, in a millisecond or so; for a memory
// table that became full, in the tenth of a second in which it becomes a file.
// Nothing that was acknowledged is lost then, but the process ends.
type space struct {
	dir       string
	watermark uint64 // bytes
	free      func(dir string) (uint64, error)

	mu     sync.Mutex
	home   *os.File // the journal's directory, as it was opened; nil: not yet
	looked time.Time
	last   uint64
	why    error // why last is not known

	// stuck is set when Badger could not make its next memory table. It then has none,
	// and would end the process at the next read or write.
	stuck atomic.Bool

	put atomic.Int64 // bytes into Badger since its logs were last looked at; 0: never

	waiting atomic.Int64 // compactions that wait for room
}

// Watermark is how much of the disk must be free for changes other than
// revocations, in bytes.
const Watermark = 64 << 20

// floor is how much must be free for a write to Badger that was begun above the
// watermark: enough for a memory table that becomes a file.
const floor = 24 << 20

// ballastSize is how much is kept for opening a store on a full disk.
const ballastSize = 32 << 20

// lack says why there are not so many bytes to be written: ErrNoSpace, ErrNoDirectory
// when the data directory is elsewhere, or ErrUnavailable when the disk does not tell.
func (s *space) lack(bytes uint64) error {
	free, err := s.look(time.Millisecond)
	if err == nil && free < bytes {
		err = ErrNoSpace
	}
	return err
}

// short reports whether the disk has less free than the watermark.
func (s *space) short() bool { return s.lack(s.watermark) != nil }

// under reports whether the disk has less free than so many bytes. A disk that
// does not tell has.
func (s *space) under(bytes uint64) bool { return s.lack(bytes) != nil }

// left is how much of the disk is free, as of a millisecond ago at most; 0 if that is
// not known.
func (s *space) left() uint64 {
	free, _ := s.look(time.Millisecond)
	return free
}

func (s *space) look(old time.Duration) (free uint64, err error) {
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

// watch has every look make sure that the journal's directory is where it was. What is
// open goes on working when a directory is moved, but nothing new comes there; and what
// is written to one that was removed is lost.
func (s *space) watch(journal string) error {
	home, err := os.Open(journal)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home = home
	return nil
}

func (s *space) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.home == nil {
		return nil
	}
	home := s.home
	s.home = nil
	return home.Close()
}

func (s *space) moved() error {
	if s.home == nil {
		return nil
	}
	there, err := s.home.Stat()
	if err == nil && there.Sys().(*syscall.Stat_t).Nlink == 0 {
		return errRemoved
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

// errRemoved is of a directory that is not only elsewhere: nothing that is written to it
// outlives the process.
var errRemoved = fmt.Errorf("%w: it was removed", ErrNoDirectory)

// await returns when the disk is not short. It looks as late as can be: then to
// end the process takes a program that has all of the watermark in the
// millisecond in which a table is copied.
func (s *space) await() {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for {
		if free, _ := s.look(0); free >= s.watermark {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// drop throws the ballast out, so that the store can be closed.
func (s *space) drop() {
	os.Remove(filepath.Join(s.dir, "ballast"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = time.Time{}
}

// ready returns nil when so many bytes more may be put into Badger.
func (s *space) ready(bytes int) error {
	const often = 256 << 10 // bytes: a log takes 32 times that
	if s.stuck.Load() {
		return ErrFailed
	}
	if err := s.lack(floor); err != nil {
		return err
	}
	if err := spareDescriptor(); err != nil {
		return notWritten("write to the index", err)
	}
	if s.put.Load() > 0 && s.put.Add(int64(bytes)) < often {
		return nil
	}
	if err := s.allocate(); err != nil {
		s.put.Store(often)
		return notWritten("write to the index", err)
	}
	s.put.Store(1)
	return nil
}

// spareDescriptor returns nil when a file could be opened just now. Badger opens the
// next of its logs in the midst of a write, and can't go on when that fails.
func spareDescriptor() error {
	fd, err := unix.FcntlInt(uintptr(unix.Stdin), unix.F_DUPFD_CLOEXEC, 3)
	if errors.Is(err, unix.EBADF) {
		return nil // standard input is closed
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// allocate gives every byte of Badger's logs its place on the disk. Badger makes
// them as long as they may get and as empty as a file can be, and writes to them
// through a memory map; a byte that the disk has no room for would end the
// process, and between a look at the disk and a write another program may take
// all of it. It returns nil when all have their place.
func (s *space) allocate() error {
	logs, err := memoryLogs(filepath.Join(s.dir, "index"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		if err := allocateFile(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// allocateFile changes neither what a file holds nor its length.
func allocateFile(name string) error {
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
		return nil // such a file system leaves nothing but the watermark
	}
	return err
}

// freeSpace is what the file system leaves to this process, in bytes.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// ballast keeps a file of allocated space beside the store while there is
// room. When there is none at the opening, it is thrown out, and Badger can
// write what it must.
func (s *space) ballast() {
	file := filepath.Join(s.dir, "ballast")
	free := s.left()
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
