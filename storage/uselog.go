package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// useLog keeps what uses left in memory until it is in Badger. To bring the
// uses of a second into Badger costs more than to answer the requests; to
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
// use before: a token's usage in Badger has the number up to which it counts.
type useLog struct {
	dir   string
	seals *keys.Seals
	file  *os.File
	run   uint64 // larger than that of any run of the program before
	last  uint64 // the last block
	bytes int64  // in all segments

	// As it was opened: its end, or 0 when that could not be moved on. So a table that
	// had all of it is not taken for one that does after a kill.
	found uint64
}

const useBlockHead = 12

// openUseLog returns the log and what segments it has from before.
func openUseLog(dir string, seals *keys.Seals) (l *useLog, old []uint64, err error) {
	l = &useLog{dir: dir, seals: seals}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	if old, err = l.segments(); err != nil {
		return nil, nil, err
	}
	if l.found, l.bytes, err = l.end(old); err != nil {
		return nil, nil, err
	}
	l.last = max(l.found, uint64(time.Now().UnixMicro())) // later than any before
	l.run = l.last
	if os.WriteFile(l.path(l.last+1), nil, 0o600) != nil || disk.SyncDir(dir) != nil {
		l.found = 0
	}
	return l, old, nil
}

// end is how far the numbers have come, in blocks and names: it moves on with each
// block that is written, and with each start. It also returns the length of all.
func (l *useLog) end(segments []uint64) (last uint64, bytes int64, err error) {
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
func (l *useLog) skip(first uint64) (last uint64, size int64, err error) {
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
	var head [useBlockHead]byte
	for at := int64(0); ; {
		if _, err := f.ReadAt(head[:], at); err != nil {
			return last, info.Size(), nil
		}
		at += useBlockHead + int64(binary.BigEndian.Uint32(head[:]))
		if n := binary.BigEndian.Uint64(head[4:]); n < first+1<<40 { // else it is damaged
			last = max(last, n)
		}
	}
}

func (l *useLog) path(first uint64) string { return filepath.Join(l.dir, fmt.Sprintf("%016x", first)) }

func (l *useLog) segments() (list []uint64, err error) {
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 16, 64); err == nil && len(e.Name()) == 16 {
			list = append(list, n)
		}
	}
	return list, err // in order, as the names are
}

// append writes a block.
func (l *useLog) append(payload []byte) error {
	number := l.last + 1
	if l.file == nil {
		f, err := os.OpenFile(l.path(number), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		l.file = f
	}
	sealed := l.seals.Seal(useBlockKey(number), payload)
	b := binary.BigEndian.AppendUint32(make([]byte, 0, useBlockHead+len(sealed)), uint32(len(sealed)))
	b = append(binary.BigEndian.AppendUint64(b, number), sealed...)
	l.last = number // also when it fails: part of it may be there
	n, err := l.file.Write(b)
	l.bytes += int64(n)
	if err != nil {
		l.rotate() // what follows half a block would not be read
	}
	return err
}

func useBlockKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'U'}, number) }

// rotate has the next block begin a segment, and returns how it is named at least.
func (l *useLog) rotate() uint64 {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
	return l.last + 1
}

// drop removes the segments before one. There is always a last one, if only for
// its name, which tells how far the numbers have come.
func (l *useLog) drop(before uint64) error {
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
func (l *useLog) readSegment(first uint64, fn func(number uint64, payload []byte) error) (whole bool, err error) {
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
	var head [useBlockHead]byte
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
		payload, err := l.seals.Open(useBlockKey(number), sealed)
		if err != nil {
			return false, nil
		}
		if err := fn(number, payload); err != nil {
			return false, err
		}
	}
}

// sync brings the last segment to the disk.
func (l *useLog) sync() error {
	if l.file == nil {
		return nil
	}
	return l.file.Sync()
}

func (l *useLog) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// A block says of tokens when and from where they were used last, and how often
// on that day since their usage was written to Badger:
//
//	slice 1 | run 8 | origins: how many 2, then address and agent of each |
//	of each token: id 14 | last use 8 | origin 2 (0: none) | uses, as uvarint
//
// The count is no difference: of two blocks of one run that tell of one token
// and one day the larger counts. So it does no harm to read a block twice.
type useBlock struct {
	slice   byte
	run     uint64
	origins []Origin
	number  map[Origin]uint16
	tokens  []byte
}

// oneUse is what a block says of a token.
type oneUse struct {
	id     ID
	used   record.LastUse
	uses   int64
	origin uint16
}

// Origin, Use and Usage take what the table tells: see [table.UseWriter].
func (b *useBlock) Origin(o Origin) uint16 {
	if !o.Address.IsValid() {
		return 0
	}
	n, ok := b.number[o]
	if !ok && len(b.origins) < 1<<16-1 {
		if b.number == nil {
			b.number = make(map[Origin]uint16)
		}
		b.origins = append(b.origins, o)
		n = uint16(len(b.origins))
		b.number[o] = n
	}
	return n
}

func (b *useBlock) Use(id ID, used record.LastUse, uses int64, origin uint16) {
	b.tokens = append(b.tokens, id[:]...)
	b.tokens = binary.BigEndian.AppendUint64(b.tokens, uint64(used))
	b.tokens = binary.BigEndian.AppendUint16(b.tokens, origin)
	b.tokens = binary.AppendUvarint(b.tokens, uint64(uses))
}

func (b *useBlock) Usage(id ID, used record.LastUse, u *Usage) {
	b.Use(id, used, 0, 0)
	for _, d := range u.PerDay {
		b.Use(id, min(used, record.UsedAt(int64(d.Day)*record.MsOfDay)), d.N, 0)
	}
	for _, v := range slices.Backward(u.Seen) {
		b.Use(id, record.UsedAt(v.Time), 0, b.Origin(v.Origin))
	}
}

func (b *useBlock) payload() []byte {
	head := binary.BigEndian.AppendUint64([]byte{b.slice}, b.run)
	head = binary.BigEndian.AppendUint16(head, uint16(len(b.origins)))
	for _, o := range b.origins {
		head = o.AppendTo(head)
	}
	return append(head, b.tokens...)
}

// eachUse reads a block of a slice, or any for a negative one.
func eachUse(payload []byte, slice int, fn func(run uint64, u oneUse, from Origin)) error {
	c := record.Cutter{Rest: payload}
	if s := c.Bytes(1)[0]; slice >= 0 && int(s) != slice {
		return nil
	}
	run := binary.BigEndian.Uint64(c.Bytes(8))
	origins := []Origin{{}}
	for n := binary.BigEndian.Uint16(c.Bytes(2)); n > 0 && !c.Failed; n-- {
		origins = append(origins, c.Origin())
	}
	for len(c.Rest) > 0 {
		u := oneUse{id: ID(c.Bytes(keys.IDSize)), used: record.LastUse(binary.BigEndian.Uint64(c.Bytes(8))), origin: binary.BigEndian.Uint16(c.Bytes(2))}
		u.uses = int64(c.Number())
		if c.Failed || int(u.origin) >= len(origins) {
			return fmt.Errorf("%w: a block of the log of uses has an unknown form", ErrDamaged)
		}
		fn(run, u, origins[u.origin])
	}
	return nil
}
