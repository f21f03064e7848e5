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

// Shards is how many parts a table has.
const Shards = 256

// Table is what verification reads. Its methods may be called by many goroutines.
type Table struct {
	Owners *Owners

	shards   [Shards]shard
	position atomic.Pointer[journal.Position]
	file     *File // that its shards are loaded from; nil: none
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

// Position is the place in the log up to which the table has every change; nil: it is
// not known yet.
func (t *Table) Position() *journal.Position { return t.position.Load() }

// Reached notes that the table has every change up to a place in the log.
func (t *Table) Reached(at journal.Position) { t.position.Store(&at) }

// slot is a token, without a pointer and off the heap, so that the collector never
// walks it and ten million of them fit a small machine. Beside what a verification
// asks, it has what the index does not yet have of the token's uses.
type slot struct {
	rest       [keys.IDSize - 2]byte // of the id, after the key's number and the shard's
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
	n      int // how many slots are taken: the first

	// Until the shard is loaded, a token that is not here may be in the file or in
	// the index, and one that was taken out must not come back from there.
	loaded bool
	gone   map[keys.ID]struct{}

	unsaved []uint32 // slots that may have uses that the log of uses does not have
	origins origins
	more    map[keys.ID]*record.Usage       // what the uses of a slot came to, beyond what fits it
	left    map[keys.ID]*record.UsageRecord // what is still to be written of those that were taken out
	parting []keys.ID                       // those of left whose uses the log of uses does not have
}

type slotPage [pageSize / int(unsafe.Sizeof(slot{}))]slot

// The random bytes are uniform, and only the keyring makes an id that gets
// here: they are their own hash. The first picks the shard, the next the place,
// and others mark it, so that hardly ever another token's slot is looked at.
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

// id puts together again what the slot and its shard have of it.
func (s *slot) id(shard byte) (id keys.ID) {
	id[0], id[1] = s.kid, shard
	copy(id[2:], s.rest[:])
	return id
}

func (s *slot) lastUse() record.LastUse {
	return record.LastUse(uint64(binary.LittleEndian.Uint32(s.used[:])) | uint64(binary.LittleEndian.Uint16(s.used[4:]))<<32)
}

// raise moves the last use on, never back. A use in the millisecond of the
// creation counts as in the next (see shown), so that a slot has the very time
// that listings show.
func (s *slot) raise(u record.LastUse) {
	old := s.lastUse()
	if old&1 == 0 && u == old|1 {
		u = record.UsedAt(old.Ms() + 1)
	}
	if u > old {
		s.set(u)
	}
}

func (s *slot) set(u record.LastUse) {
	binary.LittleEndian.PutUint32(s.used[:], uint32(u))
	binary.LittleEndian.PutUint16(s.used[4:], uint16(u>>32))
}

// Entry is a copy of what the table has of a token.
type Entry struct {
	ID         keys.ID
	Generation byte
	Flags      byte   // of its record
	Owner      uint32 // the owner's number
	Used       record.LastUse
	Slot       uint32 // where it was; it may have moved since
}

func (s *slot) entry(id keys.ID) Entry {
	return Entry{ID: id, Generation: s.generation, Flags: s.flags & recordFlags, Owner: s.owner, Used: s.lastUse()}
}

// Get returns a copy of the token's entry. When there is none, whole tells
// whether that means that the token is not live.
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

// Put applies a change: it adds a token, or replaces what is known of it, except for
// a later use.
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

// Load adds a token as the index has it, or as it was at an earlier position. What was
// put or removed since is newer.
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
		return // what is not here was taken out since, and is remembered no more
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
		sh.resize(len(sh.index) + max(1, len(sh.index)/4)) // by doubling it, ten million tokens would take twice what they need
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

// Remove takes a token out, and keeps what is still to be written of its uses. The
// last slot moves into the hole, and the entries that follow in the index move
// up, so that neither has gaps.
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
			sh.unsaved = append(sh.unsaved, n) // beside the place where it was, where save won't find it
		}
	}
	if spare := len(sh.slots) - 1; spare > 0 && sh.n <= (spare-1)*len(slotPage{}) {
		sh.memory.give((*page)(unsafe.Pointer(sh.slots[spare])))
		sh.slots = sh.slots[:spare] // keeps one page, against give and take at a border
	}
}

// Each calls fn with every token, a shard at a time. It must not call the table.
func (t *Table) Each(fn func(Entry)) {
	for i := range t.shards {
		t.EachIn(byte(i), fn)
	}
}

// EachIn is Each for one shard: the tokens whose ids have that first random byte.
func (t *Table) EachIn(shard byte, fn func(Entry)) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		s := sh.at(n)
		fn(s.entry(s.id(shard)))
	}
}

// Raise moves a token's last use on, never back.
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
