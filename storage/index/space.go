package index

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
)

// Floor is how much must be free for a write to Badger that was begun above the
// watermark: enough for a memory table that becomes a file.
const Floor = 24 << 20

// space keeps Badger from writing where the disk has no room. Badger writes through
// a memory map, where a full disk is no error but the end of the process (SIGBUS). Its
// logs are given their place before they are written to, and its compactions wait before
// each table. What remains is a table that is being written when somebody takes the
// whole watermark: for one of a compaction, in a millisecond or so; for a memory
// table that became full, in the tenth of a second in which it becomes a file.
// Nothing that was acknowledged is lost then, but the process ends.
type space struct {
	*disk.Space
	dir string // of the index

	// stuck is set when Badger could not make its next memory table. It then has none,
	// and would end the process at the next read or write.
	stuck atomic.Bool

	put  atomic.Int64 // bytes into Badger since its logs were last looked at; 0: never
	held atomic.Int64 // compactions that wait for room
}

// hold returns when the disk is not short. It looks as late as can be: then to
// end the process takes a program that has all of the watermark in the
// millisecond in which a table is copied.
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

// ready returns nil when so many bytes more may be put into Badger.
func (s *space) ready(bytes int) error {
	const often = 256 << 10 // bytes: a log takes 32 times that
	if s.stuck.Load() {
		return disk.ErrFailed
	}
	if err := s.Lack(Floor); err != nil {
		return err
	}
	// Badger opens the next of its logs in the midst of a write, and can't go on when that
	// fails.
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

// allocate gives every byte of Badger's logs its place on the disk. Badger makes
// them as long as they may get and as empty as a file can be, and writes to them
// through a memory map; a byte that the disk has no room for would end the
// process, and between a look at the disk and a write another program may take
// all of it. It returns nil when all have their place.
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
