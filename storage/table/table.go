package table

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"

	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Shards is the number of parts of a table.
const Shards = 256

// Table is what verification reads. Its methods may be called by many goroutines.
type Table struct {
	Owners *Owners

	shards   [Shards]shard
	position atomic.Pointer[journal.Position]
	file     *File // the file from which its shards are loaded; nil: none
}

// New returns an empty table.
func New() *Table {
	m := new(memory)
	t := &Table{Owners: newOwners(m)}
	for i := range t.shards {
		t.shards[i].number, t.shards[i].memory = byte(i), m
	}
	return t
}

// Position returns the position in the journal up to which the table has every change, or
// nil if it is not known yet.
func (t *Table) Position() *journal.Position { return t.position.Load() }

// Reached notes that the table has every change up to a position in the journal.
func (t *Table) Reached(at journal.Position) { t.position.Store(&at) }

// slot is a token without pointers and off the heap, so that the collector never
// walks it and ten million of them fit into a small machine. It has what a
// verification needs, and also the uses of the token that the index does not have
// yet.
type slot struct {
	rest       [keys.IDSize - 2]byte // the rest of the id, after the key's number and the shard's
	owner      uint32                // the owner's number in owners
	uses       uint32                // on the day of the last use
	origin     uint16                // of the last use: a place in the shard's origins + 1; 0: as in the index
	kid        byte
	generation byte
	flags      byte
	used       [6]byte // a record.LastUse
}

// The flags of a slot. The low four are those of the token's record.
const (
	recordFlags = 1<<4 - 1
	flagUnsaved = 1 << 7 // a use of it is not yet in the log of uses
)

type shard struct {
	mu     sync.Mutex
	number byte // the byte of the id
	memory *memory
	index  index // 12 bits of the id, and the slot's number + 1
	slots  []*slotPage
	n      int // how many slots are taken: the first ones

	// Until the shard is loaded, a token that is missing here may be in the file
	// or in the index. A token that was removed must not come back from there.
	loaded bool
	gone   map[keys.ID]struct{}

	unsaved []uint32 // slots with uses that may be missing in the log of uses
	origins origins
	more    map[keys.ID]*record.Usage       // the uses of a slot beyond what fits into it
	left    map[keys.ID]*record.UsageRecord // the unwritten uses of removed tokens
	parting []keys.ID                       // the tokens in left with uses that the log of uses does not have
}

type slotPage [pageSize / int(unsafe.Sizeof(slot{}))]slot

// The random bytes are uniform, and only the keyring makes the ids that get
// here, so the bytes serve as the hash. The first byte picks the shard, the
// next ones pick the place, and others mark it, so that a lookup hardly ever
// reads another token's slot.
func (t *Table) shard(id keys.ID) *shard { return &t.shards[id[1]] }

func place(id keys.ID) uint32 { return binary.LittleEndian.Uint32(id[2:]) }

const (
	numberBits = 20
	numberMask = 1<<numberBits - 1
)

func mark(id keys.ID) uint32 { return uint32(binary.LittleEndian.Uint16(id[6:])) << numberBits }

func (sh *shard) at(n uint32) *slot {
	return &sh.slots[n/uint32(len(slotPage{}))][n%uint32(len(slotPage{}))]
}

func (s *slot) is(id keys.ID) bool { return s.kid == id[0] && s.rest == [keys.IDSize - 2]byte(id[2:]) }

// id puts the id together from the slot and its shard.
func (s *slot) id(shard byte) (id keys.ID) {
	id[0], id[1] = s.kid, shard
	copy(id[2:], s.rest[:])
	return id
}

func (s *slot) lastUse() record.LastUse {
	return record.LastUse(uint64(binary.LittleEndian.Uint32(s.used[:])) | uint64(binary.LittleEndian.Uint16(s.used[4:]))<<32)
}

// raise moves the last use forward, never back. A use in the millisecond of the
// creation counts as a use in the next one (see [record.LastUse.Shown]), so
// that a slot has exactly the time that listings show.
func (s *slot) raise(u record.LastUse) {
	old := s.lastUse()
	if old&1 == 0 && u == old|1 {
		u = record.UsedAt(old.Ms() + 1)
	}
	if v := u.Later(old); v != old {
		s.set(v)
	}
}

func (s *slot) set(u record.LastUse) {
	binary.LittleEndian.PutUint32(s.used[:], uint32(u))
	binary.LittleEndian.PutUint16(s.used[4:], uint16(u>>32))
}

// Entry is a copy of a token in the table.
type Entry struct {
	ID         keys.ID
	Generation byte
	Flags      byte   // of its record
	Owner      uint32 // the owner's number
	Used       record.LastUse
	Slot       uint32 // where the token was; it may have moved since
}

func (s *slot) entry(id keys.ID) Entry {
	return Entry{ID: id, Generation: s.generation, Flags: s.flags & recordFlags, Owner: s.owner, Used: s.lastUse()}
}

// Get returns a copy of the token's entry. If there is no entry, whole reports
// whether that proves that the token is not live.
func (t *Table) Get(id keys.ID) (e Entry, ok, whole bool) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, _, ok := sh.find(id)
	if !ok {
		return Entry{}, false, sh.loaded
	}
	e = sh.at(n).entry(id)
	e.Slot = n
	return e, true, sh.loaded
}

// Lookup is Get, but loads the token's shard first if it has not been loaded yet and
// there is a file to load it from.
func (t *Table) Lookup(id keys.ID) (e Entry, ok, whole bool) {
	e, ok, whole = t.Get(id)
	if ok || whole || t.file == nil || t.file.Load(id[1]) != nil {
		return e, ok, whole
	}
	return t.Get(id)
}

// Put applies a change: it adds or replaces a token, but keeps a later last use.
func (t *Table) Put(e Entry) {
	sh := t.shard(e.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(e.ID); ok {
		s := sh.at(n)
		s.generation, s.owner = e.Generation, e.Owner
		s.flags = s.flags&^recordFlags | e.Flags
		s.raise(e.Used)
		return
	}
	sh.add(e)
}

// Load adds a token from the index, or from an earlier position. It never overrides a
// later Put or Remove.
func (t *Table) Load(e Entry) {
	sh := t.shard(e.ID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.load(e)
}

func (sh *shard) load(e Entry) {
	if n, _, ok := sh.find(e.ID); ok {
		sh.at(n).raise(e.Used)
		return
	}
	if sh.loaded {
		return // a missing token was removed, and removals are no longer noted
	}
	if _, gone := sh.gone[e.ID]; !gone {
		sh.add(e)
	}
}

// Whole says that all tokens have been loaded.
func (t *Table) Whole() {
	for i := range t.shards {
		t.shards[i].whole()
	}
}

func (sh *shard) whole() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.loaded, sh.gone = true, nil
}

func (sh *shard) isWhole() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.loaded
}

func (sh *shard) add(e Entry) {
	if 8*(sh.n+1) > 7*sh.index.places() {
		sh.resize(len(sh.index) + max(1, len(sh.index)/4)) // doubling would give ten million tokens twice the memory that they need
	}
	if sh.n == len(sh.slots)*len(slotPage{}) {
		sh.slots = append(sh.slots, (*slotPage)(unsafe.Pointer(sh.memory.take())))
	}
	_, at, _ := sh.find(e.ID)
	s := sh.at(uint32(sh.n))
	*s = slot{rest: [keys.IDSize - 2]byte(e.ID[2:]), kid: e.ID[0], generation: e.Generation, flags: e.Flags, owner: e.Owner}
	s.set(e.Used)
	sh.n++
	*sh.index.at(at) = mark(e.ID) | uint32(sh.n)
}

// Remove removes a token, and keeps its unwritten uses. The last slot moves into
// the hole, and the entries that follow in the index move up, so that neither has
// gaps.
func (t *Table) Remove(id keys.ID) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.loaded {
		if sh.gone == nil {
			sh.gone = make(map[keys.ID]struct{})
		}
		sh.gone[id] = struct{}{}
	}
	n, at, ok := sh.find(id)
	if !ok {
		return
	}
	sh.depart(id, sh.at(n))
	sh.unindex(at)
	sh.n--
	if last := uint32(sh.n); n != last {
		from := sh.at(last)
		_, at, _ := sh.find(from.id(sh.number))
		*sh.at(n) = *from
		*sh.index.at(at) = mark(from.id(sh.number)) | (n + 1)
		if from.flags&flagUnsaved != 0 {
			sh.unsaved = append(sh.unsaved, n) // also list the new place: Save won't find it at the old one
		}
	}
	if spare := len(sh.slots) - 1; spare > 0 && sh.n <= (spare-1)*len(slotPage{}) {
		sh.memory.give((*page)(unsafe.Pointer(sh.slots[spare])))
		sh.slots = sh.slots[:spare] // keep one spare page, to avoid giving and taking at a border
	}
}

// Each calls fn with every token, a shard at a time. It must not call the table.
func (t *Table) Each(fn func(Entry)) {
	for i := range t.shards {
		t.EachIn(byte(i), fn)
	}
}

// EachIn is Each for one shard: the tokens with ids that have this first random
// byte.
func (t *Table) EachIn(shard byte, fn func(Entry)) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		s := sh.at(n)
		fn(s.entry(s.id(shard)))
	}
}

// Recall sets a token's last use to one that the log of uses has. Calls come in the order
// of that log. A use is in it before it is in the index. So if the table has a later
// time that was not used since it was loaded, a clock that was ahead has written it.
func (t *Table) Recall(id keys.ID, u record.LastUse) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, _, ok := sh.find(id)
	if !ok {
		return
	}
	if s := sh.at(n); u.IsUse() && !sh.hasUses(id, s) {
		s.set(u)
	} else {
		s.raise(u)
	}
}

// Raise moves a token's last use forward, never back.
func (t *Table) Raise(id keys.ID, u record.LastUse) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		sh.at(n).raise(u)
	}
}

// Len counts the tokens.
func (t *Table) Len() (n int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n += sh.n
		sh.mu.Unlock()
	}
	return n
}
