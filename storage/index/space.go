package index

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
)

// Floor is how many bytes must be free for a write to Badger that began above
// the watermark: enough for a memory table that becomes a file.
const Floor = 24 << 20

// space keeps Badger from writing where the disk has no room. Badger writes through a
// memory map. There a full disk is not an error but kills the process (SIGBUS). So its
// logs get their disk space before they are written to, and its compactions wait before
// each table. One risk remains: another program takes the whole watermark while a table
// is being written. That takes a millisecond or so for a table of a compaction, and a
// tenth of a second for a memory table that became full. No acknowledged change is lost
// then, but the process ends.
type space struct {
	*disk.Space
	dir string // of the index

	// stuck is set when Badger could not make its next memory table. Badger then has
	// none, and the next read or write would end the process.
	stuck atomic.Bool

	put  atomic.Int64 // bytes put into Badger since its logs were last checked; 0: never
	held atomic.Int64 // compactions that wait for room
}

// hold returns when the disk is not short of space. It checks as late as
// possible: then the process ends only if another program takes all of the
// watermark in the millisecond in which a table is copied.
func (s *space) hold() {
	s.held.Add(1)
	defer s.held.Add(-1)
	for {
		if free, _ := s.Now(); free >= s.Watermark() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ready returns nil when that number of bytes may be put into Badger.
func (s *space) ready(bytes int) error {
	const often = 256 << 10 // bytes: a log takes 32 times that
	if s.stuck.Load() {
		return disk.ErrFailed
	}
	if err := s.Lack(Floor); err != nil {
		return err
	}
	// Badger opens its next log in the middle of a write, and can't go on if that fails.
	if err := disk.SpareDescriptor(); err != nil {
		return disk.NotWritten("write to the index", err)
	}
	if s.put.Load() > 0 && s.put.Add(int64(bytes)) < often {
		return nil
	}
	if err := s.allocate(); err != nil {
		s.put.Store(often)
		return disk.NotWritten("write to the index", err)
	}
	s.put.Store(1)
	return nil
}

// allocate reserves disk space for every byte of Badger's logs. Badger makes
// them with their full length but as one hole, and writes to them through a
// memory map. A byte without room on the disk would kill the process, and
// another program may take all space between a check of the disk and a write.
// allocate returns nil when all logs have their space.
func (s *space) allocate() error {
	logs, err := MemoryLogs(s.dir)
	if err != nil {
		return err
	}
	for _, name := range logs {
		if err := disk.Allocate(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Held reports whether a compaction waits for room on the disk.
func (x *Index) Held() bool { return x.space.held.Load() > 0 }
