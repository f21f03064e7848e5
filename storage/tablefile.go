package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// tableFile is the table as a stop or a checkpoint left it, in a file of its own:
// to read it takes a twentieth of the time that it takes to read the records. It
// has all changes up to a position of the journal, which it names. A checkpoint
// writes it while changes go on, and what came meanwhile may be in it or not.
//
//	head: magic | position 40 | end of the log of uses 8 | 16 zero bytes |
//	      offset and length of each of the parts
//
// Earlier versions named in the 16 bytes a segment of the log of uses that the index
// lacked. It is recovered like the others now, so they are not read.
//
//	parts: the users, and of each shard the tokens
//
// Head and parts are sealed. A part that does not verify is read from Badger.
type tableFile struct {
	*Store
	file    *os.File
	moment  tableMoment
	parts   [1 + shardCount]filePart
	owners  []uint32 // by their numbers in the file, those that they have now
	loading [shardCount]sync.Mutex
}

// tableMoment says what a table has.
type tableMoment struct {
	position journal.Position
	uses     uint64 // the end of the log of uses, of which it has all; 0: it may lack the last uses
}

func (m tableMoment) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(m.position.Append(b), m.uses)
	return append(b, make([]byte, 16)...)
}

func cutMoment(c *record.Cutter) (m tableMoment) {
	m.position, _ = journal.DecodePosition(c.Bytes(journal.PositionSize))
	m.uses = binary.BigEndian.Uint64(c.Bytes(8))
	c.Bytes(16)
	return m
}

type filePart struct {
	offset int64
	length uint32
}

const (
	tableMagic    = "GATEHOUSE TABLE 3\n"
	tableHeadSize = keys.SealSize + len(tableMagic) + journal.PositionSize + 3*8 + (1+shardCount)*12
	slotInFile    = 12 + 4 + 1 + 1 + 1 + 6
	ownersPart    = 0
)

// partKey binds a part to its place and to the moment.
func partKey(m tableMoment, part int) []byte {
	k := m.position.Append([]byte{'T'})
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(k, m.uses), uint16(part))
}

var tableHeadKey = []byte("T head")

// tableHas notes that the table has every record up to a position.
func (s *Store) tableHas(at journal.Position) { s.tabled.Store(&at) }

// leaveTable writes the table. When there is no room, the one that was left before
// stays: the next start has more to catch up with.
func (s *Store) leaveTable(m tableMoment) error {
	if s.space.Lack(uint64(s.owners.len()*64+s.table.len()*slotInFile)+s.space.Watermark()) != nil {
		return nil
	}
	f, err := os.CreateTemp(s.path(""), ".table-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	if err := errors.Join(s.writeTable(f, m), f.Close()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return os.Rename(f.Name(), s.path("table"))
}

func (s *Store) writeTable(f *os.File, m tableMoment) error {
	head := m.append([]byte(tableMagic))
	w := bufio.NewWriterSize(f, 1<<20)
	offset := int64(tableHeadSize)
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	var payload []byte
	for n := range 1 + shardCount {
		if n == ownersPart {
			payload = s.owners.appendTo(payload[:0])
		} else {
			payload = s.table.shards[n-1].appendTo(payload[:0])
		}
		sealed := s.seals.Seal(partKey(m, n), payload)
		head = binary.BigEndian.AppendUint64(head, uint64(offset))
		head = binary.BigEndian.AppendUint32(head, uint32(len(sealed)))
		offset += int64(len(sealed))
		runtime.Gosched() // a checkpoint is no reason for a request to wait
		if _, err := w.Write(sealed); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := f.WriteAt(s.seals.Seal(tableHeadKey, head), 0)
	return err
}

// openTable returns the table that was left, and nil when there is none that can
// be read.
func (s *Store) openTable() *tableFile {
	f, err := os.Open(s.path("table"))
	if err != nil {
		return nil
	}
	t := &tableFile{Store: s, file: f}
	if err := t.readHead(); err != nil {
		s.opts.Log.Debug("the table that was left is not taken", "because", err)
		f.Close()
		return nil
	}
	return t
}

func (t *tableFile) readHead() error {
	b := make([]byte, tableHeadSize)
	if _, err := t.file.ReadAt(b, 0); err != nil {
		return err
	}
	b, err := t.seals.Open(tableHeadKey, b)
	if err != nil {
		return err
	}
	c := record.Cutter{Rest: b}
	if string(c.Bytes(len(tableMagic))) != tableMagic {
		return errors.New("it has an unknown form")
	}
	t.moment = cutMoment(&c)
	for n := range t.parts {
		t.parts[n] = filePart{int64(binary.BigEndian.Uint64(c.Bytes(8))), binary.BigEndian.Uint32(c.Bytes(4))}
	}
	return nil
}

func (t *tableFile) part(n int) ([]byte, error) {
	b := make([]byte, t.parts[n].length)
	if _, err := t.file.ReadAt(b, t.parts[n].offset); err != nil {
		return nil, err
	}
	return t.seals.Open(partKey(t.moment, n), b)
}

// appendTo writes each user: id 8 | state 1 | epoch 4 | uid, after its length.
func (o *owners) appendTo(b []byte) []byte {
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

func (t *tableFile) readOwners() error {
	b, err := t.part(ownersPart)
	if err != nil {
		return err
	}
	for c := (record.Cutter{Rest: b}); len(c.Rest) > 0; {
		v := record.Owner{ID: record.DecodeUserID(c.Bytes(8)), State: UserState(c.Bytes(1)[0]), Epoch: binary.BigEndian.Uint32(c.Bytes(4))}
		v.UID = string(c.Bytes(int(c.Bytes(1)[0])))
		if c.Failed {
			return fmt.Errorf("%w: the users have an unknown form", ErrDamaged)
		}
		t.owners = append(t.owners, t.Store.owners.set(v))
	}
	return nil
}

// appendTo writes each slot: rest 12 | owner 4 | kid 1 | generation 1 | flags 1 |
// last use 6. What is not yet in Badger of its uses is in their log.
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

// loadAll loads all the shards.
func (t *tableFile) loadAll() error {
	var next atomic.Int32
	return inParallel(func(int) error {
		for n := next.Add(1) - 1; n < shardCount; n = next.Add(1) - 1 {
			if t.isClosing() {
				return ErrClosed
			}
			if err := t.load(byte(n)); err != nil {
				return err
			}
			runtime.Gosched() // to whoever waits for the next
		}
		return nil
	})
}

// load loads one shard, unless it is there. Whoever asks for a token before its
// shard is loaded does not wait for the others.
func (t *tableFile) load(n byte) error {
	t.loading[n].Lock()
	defer t.loading[n].Unlock()
	sh := &t.table.shards[n]
	if sh.isWhole() {
		return nil
	}
	b, err := t.part(1 + int(n))
	if err != nil || len(b)%slotInFile != 0 {
		return fmt.Errorf("%w: shard %d of the table: %w", ErrDamaged, n, err)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.reserve(len(b) / slotInFile)
	for ; len(b) > 0; b = b[slotInFile:] {
		s := slot{rest: [12]byte(b), kid: b[16], generation: b[17], flags: b[18], used: [6]byte(b[19:])}
		number := binary.BigEndian.Uint32(b[12:])
		if int(number) >= len(t.owners) || !t.keys.Has(s.kid) {
			continue // a retired key: the token is dead; or the journal has user and token
		}
		s.owner = t.owners[number]
		if t.behind && t.Store.owners.at(s.owner).State == UserRemoved {
			continue // since then
		}
		sh.load(s.entry(s.id(n)))
	}
	sh.loaded, sh.gone = true, nil
	return nil
}

func (sh *shard) isWhole() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.loaded
}
