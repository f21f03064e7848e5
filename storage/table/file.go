package table

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/sealed"
)

// File is the table as a stop or a checkpoint wrote it. Reading it takes a twentieth
// of the time for reading the records. It has every change up to its position in the
// log. A checkpoint writes it while changes go on, so it may or may not have later
// changes. Its parts are the users, and the tokens of each shard. If a part does not verify,
// its tokens are read from the index.
type File struct {
	*sealed.File

	table   *Table // to load into
	live    func(key byte) bool
	stale   bool     // the file is older than the end of the journal
	owners  []uint32 // the current number of each owner, by the number in the file
	loading [Shards]sync.Mutex
}

const (
	magic = "GATEHOUSE TABLE 3\n"
	// HeadSize is how many bytes the head of a file takes.
	HeadSize   = keys.SealSize + len(magic) + sealed.MomentSize + (1+Shards)*sealed.PlaceSize
	slotInFile = 12 + 4 + 1 + 1 + 1 + 6
	ownersPart = 0
)

var form = sealed.Form{Magic: magic, Kind: 'T', Parts: 1 + Shards}

// FileSize returns about how many bytes WriteFile writes.
func (t *Table) FileSize() uint64 { return uint64(t.Owners.Len()*64 + t.Len()*slotInFile) }

// WriteFile writes the table as of that moment, while the table may change: see
// [sealed.Form.Write].
func (t *Table) WriteFile(name string, seals *keys.Seals, m sealed.Moment) error {
	err := form.Write(name, seals, m, func(n int, b []byte) ([]byte, error) {
		if n == ownersPart {
			return t.Owners.appendTo(b), nil
		}
		return t.shards[n-1].appendTo(b), nil
	})
	if err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// appendTo writes each user: id 8 | state 1 | epoch 4 | uid, after its length.
func (o *Owners) appendTo(b []byte) []byte {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for n := range uint32(o.n) {
		r := o.record(n)
		b = append(append(b, r.id.Bytes()...), byte(r.state))
		b = binary.BigEndian.AppendUint32(b, r.epoch)
		b = append(append(b, r.length), o.name(n, r)...)
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
	f, err := form.Open(name, seals)
	if err != nil {
		return nil, err
	}
	return &File{File: f}, nil
}

// Users loads the users into a table, which will then also load its tokens from the
// file. Tokens of keys that are no longer live are left out. A stale file is older than
// the end of the journal: the caller applies the later changes, and some of its users may
// be removed by then.
func (f *File) Users(t *Table, live func(key byte) bool, stale bool) error {
	f.table, f.live, f.stale = t, live, stale
	b, err := f.Part(ownersPart, new([]byte))
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
	b, err := f.Part(1+int(n), new([]byte))
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
			continue // the key is retired and the token dead; or the journal has both user and token
		}
		s.owner = f.owners[number]
		if f.stale && f.table.Owners.State(s.owner) == record.UserRemoved {
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
