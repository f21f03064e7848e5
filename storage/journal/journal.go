package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// Options says how a journal is opened. The zero value opens an existing one.
type Options struct {
	// Create allows a new journal where there is none. Its first record will be
	// CreateAfter+1. CreateAfter is 0 for a new store; for a restored one it is
	// the last sequence of the backup.
	Create      bool
	CreateAfter uint64

	// Known is the highest sequence that the caller's index has seen. A journal
	// that ends before it has lost records, and is refused.
	Known uint64

	// VerifyAfter lets Open skip segments that end at or before this sequence,
	// except for their headers. With 0 it checks everything.
	VerifyAfter uint64

	// SegmentSize is the size of new segments in bytes; 0 means 8 MiB. It is also
	// the size of the reserve: 8 MiB hold at least 16,000 revocations. It is
	// rounded up to whole sectors, at least 8. A new segment is filled with zeros
	// once, when the previous one is begun. This delays one Append.
	SegmentSize int64

	// Disk is where the segments are; nil means the directory given to Open.
	Disk Disk

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const (
	segmentSize  = 8 << 20
	smallestSize = 8 * sector
)

// A Journal is open for one writer and any number of readers.
type Journal struct {
	dir  string
	disk Disk
	key  [32]byte
	size int64 // of new segments
	now  func() time.Time
	cut  Tear

	writing sync.Mutex // held by Append; Close takes it to wait for Append
	encoder encoder
	out     File   // the last segment, or nil before the first batch
	room    int64  // size of that segment
	reserve File   // the blank segment behind it, or nil
	next    uint64 // number of the reserve

	mu       sync.Mutex
	segments []segment // live, oldest first; never changed in place
	end      position
	reserved bool
	copies   int // copies that are being read: see Copy
	failed   error
	closed   bool
	wake     chan struct{} // closed at the next append, and at Close
}

// A segment is a segment file that has a header.
type segment struct {
	name string
	header
}

// A position in the journal: where the durable records end.
type position struct {
	number uint64 // of the segment; 0 before the first batch
	offset int64
	last   uint64 // sequence of the record before
	chain  link
}

// A Tear is a batch that an interrupted write left incomplete and that Open has
// cut off.
type Tear struct {
	File     string
	Offset   int64  // of the batch, not of the header before it
	Sequence uint64 // of its first record
	Sectors  int    // that should have been written; 0 if none of them arrived
	Present  int    // that were written
}

// Open verifies the journal in dir, cuts off a torn batch at its end, and
// prepares the reserve. A lack of room for the reserve is not an error here (see
// Ready). The key must have no other use. Errors: *CorruptError, ErrEmpty,
// ErrKey, ErrVersion, ErrLocked, and those of the file system.
func Open(dir string, key [32]byte, opts Options) (*Journal, error) {
	j := &Journal{dir: dir, disk: opts.Disk, key: key, size: opts.SegmentSize, now: opts.Now}
	j.wake = make(chan struct{})
	j.encoder.keyed = newKeyed(key)
	if j.now == nil {
		j.now = time.Now
	}
	if j.size == 0 {
		j.size = segmentSize
	}
	j.size = max((j.size+sector-1)/sector*sector, smallestSize)
	if j.disk == nil {
		var err error
		if opts.Create {
			err = makeDirectory(dir)
		}
		if err == nil {
			j.disk, err = openDirectory(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("open journal: %w", err)
		}
	}
	if err := j.recover(opts); err != nil {
		j.release()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

func (j *Journal) path(name string) string { return filepath.Join(j.dir, name) }

// release closes the files that are open for writing.
func (j *Journal) release() error {
	var err error
	for _, f := range []File{j.out, j.reserve} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	j.out, j.reserve = nil, nil
	return errors.Join(err, j.disk.Close())
}

// Close waits for an Append under way and ends every Follow with ErrClosed.
// There is nothing left to flush: each Append has synced its batch.
func (j *Journal) Close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return ErrClosed
	}
	j.closed = true
	close(j.wake)
	j.mu.Unlock()
	if err := j.release(); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// LastSequence returns the sequence of the last durable record. If there is
// none yet, it returns the sequence before the first one.
func (j *Journal) LastSequence() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end.last
}

// FirstSequence returns the sequence of the oldest record that is kept, or
// LastSequence+1 if there is none.
func (j *Journal) FirstSequence() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return j.end.last + 1
	}
	return j.segments[0].first
}

// Segments returns the first sequence of each segment, the oldest first. A
// Replay can begin there without reading records that it skips.
func (j *Journal) Segments() []uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := make([]uint64, len(j.segments))
	for i, s := range j.segments {
		first[i] = s.first
	}
	return first
}

// Size returns the disk space of the journal in bytes, including its reserve.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sizeLocked()
}

func (j *Journal) sizeLocked() (n int64) {
	for _, s := range j.segments {
		n += s.size
	}
	if j.reserved {
		n += j.size
	}
	return n
}

// MaxBatch returns the largest sum of the Size of the entries of one Append.
func (j *Journal) MaxBatch() int {
	return min(mostBatch, int(min(j.size/sector-1, mostSectors))*body-preface)
}

// Ready says whether an Append can be expected to work. It returns nil,
// ErrFailed, ErrClosed, or ErrNoSpace when there is no whole reserve; essential
// batches may still work then.
func (j *Journal) Ready() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return ErrClosed
	case j.failed != nil:
		return j.failed
	case !j.reserved:
		return ErrNoSpace
	}
	return nil
}

// Torn returns the torn batch that Open cut off, if there was one.
func (j *Journal) Torn() (Tear, bool) { return j.cut, j.cut.File != "" }
