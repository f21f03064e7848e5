package table

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// File is the table as a stop or a checkpoint wrote it. Reading it takes a twentieth
// of the time for reading the records. It has every change up to its position in the
// log. A checkpoint writes it while changes go on, so it may or may not have later
// changes.
//
//	head: magic | position 40 | end of the log of uses 8 | 16 zero bytes |
//	      offset and length of each of the parts
//	parts: the users, and of each shard the tokens
//
// In the 16 bytes, earlier versions named a segment of the log of uses that the
// index lacked. That segment is now recovered like the others, so the bytes are not
// read.
//
// Head and parts are sealed. If a part does not verify, its tokens are read from
// the index.
type File struct {
	Moment

	seals   *keys.Seals
	file    *os.File
	parts   [1 + Shards]part
	table   *Table // to load into
	live    func(key byte) bool
	stale   bool     // the file is older than the end of the log
	owners  []uint32 // the current number of each owner, by the number in the file
	loading [Shards]sync.Mutex
}

// Moment says how far a table is complete.
type Moment struct {
	Position journal.Position
	Uses     uint64 // it has all uses up to this end of their log; 0: it may lack the last uses
}

func (m Moment) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(m.Position.Append(b), m.Uses)
	return append(b, make([]byte, 16)...)
}

func cutMoment(c *record.Cutter) (m Moment) {
	m.Position, _ = journal.DecodePosition(c.Bytes(journal.PositionSize))
	m.Uses = binary.BigEndian.Uint64(c.Bytes(8))
	c.Bytes(16)
	return m
}

type part struct {
	offset int64
	length uint32
}

const (
	magic = "GATEHOUSE TABLE 3\n"
	// HeadSize is how many bytes the head of a file takes.
	HeadSize   = keys.SealSize + len(magic) + journal.PositionSize + 3*8 + (1+Shards)*12
	slotInFile = 12 + 4 + 1 + 1 + 1 + 6
	ownersPart = 0
)

// partKey binds a part to its place and to the moment.
func partKey(m Moment, part int) []byte {
	k := m.Position.Append([]byte{'T'})
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(k, m.Uses), uint16(part))
}

var headKey = []byte("T head")

// FileSize returns about how many bytes WriteFile writes.
func (t *Table) FileSize() uint64 { return uint64(t.Owners.Len()*64 + t.Len()*slotInFile) }

// WriteFile writes the table as of that moment, while the table may change. It
// replaces an older file, which stays if there is an error. It does not sync: an
// incomplete file does not verify.
func (t *Table) WriteFile(name string, seals *keys.Seals, m Moment) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".table-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	if err := errors.Join(t.write(f, seals, m), f.Close()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return os.Rename(f.Name(), name)
}

func (t *Table) write(f *os.File, seals *keys.Seals, m Moment) error {
	head := m.append([]byte(magic))
	w := bufio.NewWriterSize(f, 1<<20)
	offset := int64(HeadSize)
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	var payload []byte
	for n := range 1 + Shards {
		if n == ownersPart {
			payload = t.Owners.appendTo(payload[:0])
		} else {
			payload = t.shards[n-1].appendTo(payload[:0])
		}
		sealed := seals.Seal(partKey(m, n), payload)
		head = binary.BigEndian.AppendUint64(head, uint64(offset))
		head = binary.BigEndian.AppendUint32(head, uint32(len(sealed)))
		offset += int64(len(sealed))
		runtime.Gosched() // let requests run during a checkpoint
		if _, err := w.Write(sealed); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt(seals.Seal(headKey, head), 0)
	return err
}

// appendTo writes each user: id 8 | state 1 | epoch 4 | uid, after its length.
func (o *Owners) appendTo(b []byte) []byte {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for n := range uint32(o.n) {
		v := o.owner(n)
		b = append(append(b, v.ID.Bytes()...), byte(v.State))
		b = binary.BigEndian.AppendUint32(b, v.Epoch)
		b = append(append(b, byte(len(v.UID))), v.UID...)
	}
	return b
}

// appendTo writes each slot: rest 12 | owner 4 | kid 1 | generation 1 | flags 1 |
// last use 6. Uses that the index does not have are in their log.
func (sh *shard) appendTo(b []byte) []byte {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		s := sh.at(n)
		b = append(b, s.rest[:]...)
		b = binary.BigEndian.AppendUint32(b, s.owner)
		b = append(b, s.kid, s.generation, s.flags&recordFlags)
		b = append(b, s.used[:]...)
	}
	return b
}

// Open opens the file that WriteFile wrote, and reads its head.
func Open(name string, seals *keys.Seals) (*File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	f := &File{file: file, seals: seals}
	if err := f.readHead(); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the file. Its shards can't be loaded any more.
func (f *File) Close() error { return f.file.Close() }

func (f *File) readHead() error {
	b := make([]byte, HeadSize)
	if _, err := f.file.ReadAt(b, 0); err != nil {
		return err
	}
	b, err := f.seals.Open(headKey, b)
	if err != nil {
		return err
	}
	c := record.Cutter{Rest: b}
	if string(c.Bytes(len(magic))) != magic {
		return errors.New("it has an unknown form")
	}
	f.Moment = cutMoment(&c)
	for n := range f.parts {
		f.parts[n] = part{int64(binary.BigEndian.Uint64(c.Bytes(8))), binary.BigEndian.Uint32(c.Bytes(4))}
	}
	return nil
}

func (f *File) part(n int) ([]byte, error) {
	b := make([]byte, f.parts[n].length)
	if _, err := f.file.ReadAt(b, f.parts[n].offset); err != nil {
		return nil, err
	}
	return f.seals.Open(partKey(f.Moment, n), b)
}

// Users loads the users into a table, which will then also load its tokens from the
// file. Tokens of keys that are no longer live are left out. A stale file is older than
// the end of the log: the caller applies the later changes, and some of its users may
// be removed by then.
func (f *File) Users(t *Table, live func(key byte) bool, stale bool) error {
	f.table, f.live, f.stale = t, live, stale
	b, err := f.part(ownersPart)
	if err != nil {
		return err
	}
	for c := (record.Cutter{Rest: b}); len(c.Rest) > 0; {
		v := record.Owner{ID: record.DecodeUserID(c.Bytes(8)), State: record.UserState(c.Bytes(1)[0]), Epoch: binary.BigEndian.Uint32(c.Bytes(4))}
		v.UID = string(c.Bytes(int(c.Bytes(1)[0])))
		if c.Failed {
			return fmt.Errorf("%w: the users have an unknown form", disk.ErrDamaged)
		}
		f.owners = append(f.owners, t.Owners.Set(v))
	}
	t.file = f
	return nil
}

// Load loads one shard of the table, unless it is loaded already. Callers that ask
// for a token before its shard is loaded do not wait for the others.
func (f *File) Load(n byte) error {
	f.loading[n].Lock()
	defer f.loading[n].Unlock()
	sh := &f.table.shards[n]
	if sh.isWhole() {
		return nil
	}
	b, err := f.part(1 + int(n))
	if err != nil || len(b)%slotInFile != 0 {
		return fmt.Errorf("%w: shard %d of the table: %w", disk.ErrDamaged, n, err)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.reserve(len(b) / slotInFile)
	for ; len(b) > 0; b = b[slotInFile:] {
		s := slot{rest: [12]byte(b), kid: b[16], generation: b[17], flags: b[18], used: [6]byte(b[19:])}
		number := binary.BigEndian.Uint32(b[12:])
		if int(number) >= len(f.owners) || !f.live(s.kid) {
			continue // the key is retired and the token dead; or the log has both user and token
		}
		s.owner = f.owners[number]
		if f.stale && f.table.Owners.At(s.owner).State == record.UserRemoved {
			continue // changed since then
		}
		sh.load(s.entry(s.id(n)))
	}
	sh.loaded, sh.gone = true, nil
	return nil
}

// LoadAll loads all shards, with as many workers as there are processors, until stop
// returns an error.
func (f *File) LoadAll(stop func() error) error {
	var next atomic.Int32
	if err := inParallel(func() error { return f.loadFrom(&next, stop) }); err != nil {
		return err
	}
	f.owners = nil // frees 4 bytes a user
	return nil
}

func (f *File) loadFrom(next *atomic.Int32, stop func() error) error {
	for n := next.Add(1) - 1; n < Shards; n = next.Add(1) - 1 {
		if err := stop(); err != nil {
			return err
		}
		if err := f.Load(byte(n)); err != nil {
			return err
		}
		runtime.Gosched() // let requests run that wait for the next shard
	}
	return nil
}
