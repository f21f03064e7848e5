package storage

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// table is what verification reads: every token that is not revoked, in 32
// bytes without a pointer and off the heap, so that the collector never walks
// it and ten million of them fit a small machine.
//
// It is cut into shards by the id's first random byte. A shard's lock is held
// for as long as it takes to look at one token; nobody reads a disk under it.
type table struct{ shards [shardCount]shard }

const shardCount = 256

func newTable(m *memory) *table {
	t := new(table)
	for i := range t.shards {
		t.shards[i].number, t.shards[i].memory = byte(i), m
	}
	return t
}

// slot is a token. Beside what a verification asks, it has what became of the
// token since its usage was last written to Badger (usage.go).
type slot struct {
	rest       [keys.IDSize - 2]byte // of the id, after the key's number and the shard's
	owner      uint32                // the owner's number in owners
	uses       uint32                // on the day of the last use
	origin     uint16                // of the last use: a place in the shard's origins + 1; 0: as in Badger
	kid        byte
	generation byte
	flags      byte
	used       [6]byte // a record.LastUse
}

// The flags of a slot. The low four are in the token's record, too.
const (
	// flagLimited: the record in Badger has an expiry, scopes or addresses
	// to look at before the token may pass.
	flagLimited = 1 << iota
	// flagRotated: the secret of the generation before may still be good.
	flagRotated

	// flagUnsaved: a use of it is not yet in the log of uses.
	flagUnsaved = 1 << 7

	recordFlags = 1<<4 - 1
)

type shard struct {
	mu     sync.Mutex
	number byte // the byte of the id
	memory *memory
	index  index // 12 bits of the id, and the slot's number + 1
	slots  []*slotPage
	n      int // how many slots are taken: the first

	// Until the shard is loaded, a token that is not here may be in Badger,
	// and one that was taken out must not come back from there.
	loaded bool
	gone   map[ID]struct{}

	limits  limits
	unsaved []uint32 // slots that may have uses which the log of uses has not
	origins origins
	more    map[ID]*Usage // what the uses of a slot came to, beyond what fits it
	left    map[ID]*departed
	parting []ID // of those who left, whose uses the log of uses has not
}

type slotPage [pageSize / int(unsafe.Sizeof(slot{}))]slot

// departed is what is still to be written of a token that was taken out.
type departed struct {
	used  record.LastUse
	usage Usage
}

// The random bytes are uniform, and only the keyring makes an id that gets
// here: they are their own hash. The first picks the shard, the next the place,
// and others mark it, so that hardly ever another token's slot is looked at.
func (t *table) shard(id ID) *shard { return &t.shards[id[1]] }

func place(id ID) uint32 { return binary.LittleEndian.Uint32(id[2:]) }

const (
	numberBits = 20
	numberMask = 1<<numberBits - 1
)

func mark(id ID) uint32 { return uint32(binary.LittleEndian.Uint16(id[6:])) << numberBits }

func (sh *shard) at(n uint32) *slot {
	return &sh.slots[n/uint32(len(slotPage{}))][n%uint32(len(slotPage{}))]
}

func (s *slot) is(id ID) bool { return s.kid == id[0] && s.rest == [keys.IDSize - 2]byte(id[2:]) }

// id puts together again what the slot and its shard have of it.
func (s *slot) id(shard byte) (id ID) {
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

// entry is a copy of what a slot says of a token.
type entry struct {
	id         ID
	generation byte
	flags      byte
	owner      uint32
	used       record.LastUse
	slot       uint32 // where it was; it may have moved
}

func (s *slot) entry(id ID) entry {
	return entry{id: id, generation: s.generation, flags: s.flags & recordFlags, owner: s.owner, used: s.lastUse()}
}

// get returns a copy of the token's entry. When there is none, whole tells
// whether that means that the token is not live.
func (t *table) get(id ID) (e entry, ok, whole bool) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, _, ok := sh.find(id)
	if !ok {
		return entry{}, false, sh.loaded
	}
	e = sh.at(n).entry(id)
	e.slot = n
	return e, true, sh.loaded
}

// put is the writer's: it adds a token, or replaces what is known of it but
// for a later use.
func (t *table) put(e entry) {
	sh := t.shard(e.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.limits.drop(e.id)
	if n, _, ok := sh.find(e.id); ok {
		s := sh.at(n)
		s.generation, s.owner = e.generation, e.owner
		s.flags = s.flags&^recordFlags | e.flags
		s.raise(e.used)
		return
	}
	sh.add(e)
}

// load adds a token as Badger has it. What the writer did since is newer.
func (t *table) load(e entry) {
	sh := t.shard(e.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.load(e)
}

func (sh *shard) load(e entry) {
	if n, _, ok := sh.find(e.id); ok {
		sh.at(n).raise(e.used)
		return
	}
	if sh.loaded {
		return // what is not here was taken out since, and is remembered no more
	}
	if _, gone := sh.gone[e.id]; !gone {
		sh.add(e)
	}
}

// whole says that all of a shard is loaded.
func (sh *shard) whole() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.loaded, sh.gone = true, nil
}

func (sh *shard) add(e entry) {
	if 8*(sh.n+1) > 7*sh.index.places() {
		sh.resize(len(sh.index) + max(1, len(sh.index)/4)) // by doubling it, ten million tokens would take twice what they need
	}
	if sh.n == len(sh.slots)*len(slotPage{}) {
		sh.slots = append(sh.slots, (*slotPage)(unsafe.Pointer(sh.memory.take())))
	}
	_, at, _ := sh.find(e.id)
	s := sh.at(uint32(sh.n))
	*s = slot{rest: [keys.IDSize - 2]byte(e.id[2:]), kid: e.id[0], generation: e.generation, flags: e.flags, owner: e.owner}
	s.set(e.used)
	sh.n++
	*sh.index.at(at) = mark(e.id) | uint32(sh.n)
}

// remove takes a token out, and keeps what is still to be written of it. The
// last slot moves into the hole, and the entries that follow in the index move
// up, so that neither has gaps.
func (t *table) remove(id ID) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.loaded {
		if sh.gone == nil {
			sh.gone = make(map[ID]struct{})
		}
		sh.gone[id] = struct{}{}
	}
	sh.limits.drop(id)
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

// each calls fn with every token, a shard at a time.
func (t *table) each(fn func(entry)) {
	for i := range t.shards {
		t.eachIn(byte(i), fn)
	}
}

func (t *table) eachIn(shard byte, fn func(entry)) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		s := sh.at(n)
		fn(s.entry(s.id(shard)))
	}
}

// unsaved appends the tokens whose use the flusher has not yet taken.
func (t *table) unsaved(ids []ID) []ID {
	for i := range t.shards {
		ids = t.shards[i].unsavedIDs(ids)
	}
	return ids
}

func (sh *shard) unsavedIDs(ids []ID) []ID {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.appendUnsaved(ids)
}

// raise moves a token's last use on.
func (t *table) raise(id ID, u record.LastUse) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		sh.at(n).raise(u)
	}
}

// len counts the tokens.
func (t *table) len() (n int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n += sh.n
		sh.mu.Unlock()
	}
	return n
}
