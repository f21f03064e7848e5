package storage

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// space watches the disk. Below the watermark nothing is written but what the
// journal has room for already: Badger writes through a memory map, where a
// full disk is no error but the end of the process (SIGBUS).
type space struct {
	dir       string
	watermark uint64 // bytes
	free      func(dir string) (uint64, error)

	mu     sync.Mutex
	looked time.Time
	last   uint64
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) > time.Millisecond {
		free, err := s.free(s.dir)
		if err != nil {
			free = 0
		}
		s.looked, s.last = now, free
	}
	return s.last
}

// drop throws the ballast out, so that the store can be closed.
func (s *space) drop() {
	os.Remove(filepath.Join(s.dir, "ballast"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = time.Time{}
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
