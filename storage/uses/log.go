package uses

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
)

// Log keeps uses until they are in the index. Bringing the uses of a second
// into the index costs more than answering the requests; appending them to a
// file costs next to nothing. The log is not synced: a kill loses the uses
// since the last tick, and a power failure loses what the kernel had not yet
// written.
//
// It is divided into segments, named by their first block. A segment is a
// sequence of blocks:
//
//	length 4 | number 8 | sealed payload
//
// The numbers of blocks continue through all segments, and a number is never
// used again: a token's usage in the index has the number of the last block that
// it counts.
type Log struct {
	dir   string
	seals *keys.Seals
	warn  *slog.Logger
	file  *os.File
	run   uint64 // larger than in any earlier run of the program
	last  uint64 // the last block
	bytes int64  // in all segments

	// The state of the log when it was opened.
	old     []uint64 // its segments: uses that the last run of the program did not bring into the index
	oldLast uint64   // the last block in them, once they have been read
	found   uint64
}

const blockHead = 12

// Open opens the log in a directory, and creates the directory if necessary.
func Open(dir string, seals *keys.Seals, log *slog.Logger) (*Log, error) {
	l := &Log{dir: dir, seals: seals, warn: log}
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, err
	}
	if l.old, err = l.segments(); err != nil {
		return nil, err
	}
	if l.found, l.bytes, err = l.end(l.old); err != nil {
		return nil, err
	}
	l.last = max(l.found, uint64(time.Now().UnixMicro())) // later than any earlier number
	l.run = l.last
	if os.WriteFile(l.path(l.last+1), nil, 0o600) != nil || disk.SyncDir(dir) != nil {
		l.found = 0
	}
	return l, nil
}

// Found returns where the log ended when it was opened, or 0 if Open could not give it a new
// end. If 0 were not returned, the table of the last stop would look complete again at the
// start after a kill.
func (l *Log) Found() uint64 { return l.found }

// End returns where the log ends.
func (l *Log) End() (uint64, error) {
	segments, err := l.segments()
	if err != nil {
		return 0, err
	}
	end, _, err := l.end(segments)
	return end, err
}

// end returns the highest number among blocks and segment names. It goes up with
// each block that is written, and with each start. end also returns the total
// length of the segments.
func (l *Log) end(segments []uint64) (last uint64, bytes int64, err error) {
	for _, first := range segments {
		n, size, err := l.skip(first)
		if err != nil {
			return 0, 0, err
		}
		last, bytes = max(last, n), bytes+size
	}
	return last, bytes, nil
}

// skip finds the end of a segment without reading the content of its blocks.
func (l *Log) skip(first uint64) (last uint64, size int64, err error) {
	f, err := os.Open(l.path(first))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	last = first
	var head [blockHead]byte
	for at := int64(0); ; {
		if _, err := f.ReadAt(head[:], at); err != nil {
			return last, info.Size(), nil
		}
		at += blockHead + int64(binary.BigEndian.Uint32(head[:]))
		if n := binary.BigEndian.Uint64(head[4:]); n < first+1<<40 { // otherwise it is damaged
			last = max(last, n)
		}
	}
}

func (l *Log) path(first uint64) string { return filepath.Join(l.dir, fmt.Sprintf("%016x", first)) }

func (l *Log) segments() (list []uint64, err error) {
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 16, 64); err == nil && len(e.Name()) == 16 {
			list = append(list, n)
		}
	}
	return list, err // in order, because the names are
}

// append writes a block.
func (l *Log) append(payload []byte) error {
	number := l.last + 1
	if l.file == nil {
		f, err := os.OpenFile(l.path(number), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		l.file = f
	}
	sealed := l.seals.Seal(blockKey(number), payload)
	b := binary.BigEndian.AppendUint32(make([]byte, 0, blockHead+len(sealed)), uint32(len(sealed)))
	b = append(binary.BigEndian.AppendUint64(b, number), sealed...)
	l.last = number // also on failure: part of the block may be there
	n, err := l.file.Write(b)
	l.bytes += int64(n)
	if err != nil {
		l.rotate() // blocks after an incomplete one would not be read
	}
	return err
}

func blockKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'U'}, number) }

// rotate makes the next block begin a new segment, and returns the lowest number
// that may name it.
func (l *Log) rotate() uint64 {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
	return l.last + 1
}

// drop removes the segments before one. The last segment always stays, because
// its name records how far the numbers have come.
func (l *Log) drop(before uint64) error {
	list, err := l.segments()
	if len(list) > 0 && list[len(list)-1] < before {
		if err := os.WriteFile(l.path(before), nil, 0o600); err != nil {
			return err
		}
	}
	l.bytes = 0
	for _, first := range list {
		if first < before {
			err = errors.Join(err, disk.RemoveIfThere(l.path(first)))
		} else if info, err := os.Stat(l.path(first)); err == nil {
			l.bytes += info.Size()
		}
	}
	return err
}

// readSegment calls fn with each block of a segment that verifies. whole
// reports whether that is all of the segment.
func (l *Log) readSegment(first uint64, fn func(number uint64, payload []byte) error) (whole bool, err error) {
	f, err := os.Open(l.path(first))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	var head [blockHead]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return errors.Is(err, io.EOF), nil
		}
		length, number := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint64(head[4:])
		if int64(length) > info.Size() {
			return false, nil
		}
		sealed := make([]byte, length)
		if _, err := io.ReadFull(r, sealed); err != nil {
			return false, nil
		}
		payload, err := l.seals.Open(blockKey(number), sealed)
		if err != nil {
			return false, nil
		}
		if err := fn(number, payload); err != nil {
			return false, err
		}
	}
}

// Close closes the log.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
