package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	looked time.Time
	last   uint64

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

// short reports whether the disk has less free than the watermark.
func (s *space) short() bool { return s.under(s.watermark) }

// under reports whether the disk has less free than so many bytes. A disk that
// does not tell has.
func (s *space) under(bytes uint64) bool { return s.left() < bytes }

// left is how much of the disk is free, as of a millisecond ago at most.
func (s *space) left() uint64 {
	return s.look(time.Millisecond)
}

// now is how much is free at this moment.
func (s *space) now() uint64 { return s.look(0) }

func (s *space) look(old time.Duration) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) > old {
		free, err := s.free(s.dir)
		if err != nil {
			free = 0
		}
		s.looked, s.last = now, free
	}
	return s.last
}

// await returns when the disk is not short. It looks as late as can be: then to
// end the process takes a program that has all of the watermark in the
// millisecond in which a table is copied.
func (s *space) await() {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for s.now() < s.watermark {
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

// ready reports whether so many bytes more may be put into Badger.
func (s *space) ready(bytes int) bool {
	const often = 256 << 10 // bytes: a log takes 32 times that
	if s.under(floor) {
		return false
	}
	if s.put.Load() > 0 && s.put.Add(int64(bytes)) < often {
		return true
	}
	if !s.allocate() {
		s.put.Store(often)
		return false
	}
	s.put.Store(1)
	return true
}

// allocate gives every byte of Badger's logs its place on the disk. Badger makes
// them as long as they may get and as empty as a file can be, and writes to them
// through a memory map; a byte that the disk has no room for would end the
// process, and between a look at the disk and a write another program may take
// all of it. It reports whether all have their place.
func (s *space) allocate() bool {
	logs, err := memoryLogs(filepath.Join(s.dir, "index"))
	if err != nil {
		return false
	}
	for _, name := range logs {
		if err := allocateFile(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
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
