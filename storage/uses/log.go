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

// Log keeps what uses left in memory until it is in the index. To bring the
// uses of a second into the index costs more than to answer the requests; to
// append them to a file costs next to nothing. It is not synced: a kill takes
// what came since the last tick, a power failure what the kernel had not yet
// written.
//
// It is cut into segments, which are named by their first block, and these into
// blocks:
//
//	length 4 | number 8 | sealed payload
//
// Blocks are numbered through all segments, and never by a number that was in
// use before: a token's usage in the index has the number up to which it counts.
type Log struct {
	dir   string
	seals *keys.Seals
	warn  *slog.Logger
	file  *os.File
	run   uint64 // larger than that of any run of the program before
	last  uint64 // the last block
	bytes int64  // in all segments

	// As it was opened.
	old     []uint64 // its segments: what the program, the last time it ran, did not bring into the index
	oldLast uint64   // the last block in them, once they have been read
	found   uint64
}

const blockHead = 12

// Open opens the log in a directory, which is made if it is not there.
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
	l.last = max(l.found, uint64(time.Now().UnixMicro())) // later than any before
	l.run = l.last
	if os.WriteFile(l.path(l.last+1), nil, 0o600) != nil || disk.SyncDir(dir) != nil {
		l.found = 0
	}
	return l, nil
}

// Found is where the log ended when it was opened, or 0 when that end could not be
// moved on: otherwise a table that had all of the log would be taken for one that does
// after a kill, too.
func (l *Log) Found() uint64 { return l.found }

// End is where the log ends.
func (l *Log) End() (uint64, error) {
	segments, err := l.segments()
	if err != nil {
		return 0, err
	}
	end, _, err := l.end(segments)
	return end, err
}

// end is how far the numbers have come, in blocks and names: it moves on with each
// block that is written, and with each start. It also returns the length of all.
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

// skip finds the end of a segment without reading what is in its blocks.
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
		if n := binary.BigEndian.Uint64(head[4:]); n < first+1<<40 { // else it is damaged
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
	return list, err // in order, as the names are
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
	l.last = number // also when it fails: part of it may be there
	n, err := l.file.Write(b)
	l.bytes += int64(n)
	if err != nil {
		l.rotate() // what follows half a block would not be read
	}
	return err
}

func blockKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'U'}, number) }

// rotate has the next block begin a segment, and returns how it is named at least.
func (l *Log) rotate() uint64 {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
	return l.last + 1
}

// drop removes the segments before one. There is always a last one, if only for
// its name, which tells how far the numbers have come.
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

// readSegment calls fn with each block of a segment, and returns where the
// segment ends that verifies.
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
