package storage

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
)

// table is what verification reads: every token that is not revoked, in 32
// bytes without a pointer, so that the collector never walks it and ten
// million of them fit a small machine.
//
// It is cut into shards by the id's random bytes. Verification takes a shard's
// lock for reading; only the writer, and the loading that follows the opening,
// take it for writing. lastUsed moves under the reading lock, by an atomic
// maximum.
type table struct{ shards [shardCount]shard }

const (
	shardCount = 256
	chunkSlots = 1 << 10
)

type slot struct {
	id         ID
	generation byte
	flags      byte
	owner      uint32 // the owner's number in owners
	used       atomic.Int64
}

// lastUse is a time of use that compares as a number: ms<<1, and the lowest
// bit tells a use from the creation, which may fall into the same millisecond.
type lastUse int64

func usedAt(ms int64) lastUse    { return lastUse(ms<<1 | 1) }
func createdAt(ms int64) lastUse { return lastUse(ms << 1) }

func (u lastUse) ms() int64 { return int64(u) >> 1 }

// shown is what listings say: the time in ms. A use in the millisecond of the
// creation counts as in the next, for lastUsed equal to created means never.
func (u lastUse) shown(created int64) int64 {
	if ms := int64(u) >> 1; u&1 == 0 || ms > created {
		return ms
	}
	return created + 1
}

// The flags of a slot.
const (
	// flagLimited: the record in Badger has an expiry, scopes or addresses
	// to look at before the token may pass.
	flagLimited = 1 << iota
	// flagRotated: the secret of the generation before may still be good.
	flagRotated
)

type shard struct {
	mu     sync.RWMutex
	index  []uint32 // open addressing: a slot's number + 1; 0 is free
	chunks []*[chunkSlots]slot
	n      int

	// Until the shard is loaded, a token that is not here may be in Badger,
	// and one that was taken out must not come back from there.
	loaded bool
	gone   map[ID]struct{}

	// What the next flush has to write, and what the flush under way is
	// writing: the address that each token was last used from.
	dirtyMu  sync.Mutex
	dirty    map[ID]netip.Addr
	flushing map[ID]netip.Addr
}

// The random bytes are uniform, and only the keyring makes an id that gets
// here: they are their own hash. The first picks the shard, the next the place.
func (t *table) shard(id ID) *shard { return &t.shards[id[1]] }

func place(id ID) uint32 { return binary.LittleEndian.Uint32(id[2:]) }

func (sh *shard) at(n uint32) *slot { return &sh.chunks[n/chunkSlots][n%chunkSlots] }

// find returns the slot's number and its place in the index.
func (sh *shard) find(id ID) (n, at uint32, ok bool) {
	if len(sh.index) == 0 {
		return 0, 0, false
	}
	mask := uint32(len(sh.index) - 1)
	for at = place(id) & mask; ; at = (at + 1) & mask {
		switch n := sh.index[at]; {
		case n == 0:
			return 0, at, false
		case sh.at(n-1).id == id:
			return n - 1, at, true
		}
	}
}

// entry is a copy of a slot.
type entry struct {
	id         ID
	generation byte
	flags      byte
	owner      uint32
	used       lastUse
}

// get returns a copy of the token's entry. When there is none, whole tells
// whether that means that the token is not live.
func (t *table) get(id ID) (e entry, ok, whole bool) {
	sh := t.shard(id)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	n, _, ok := sh.find(id)
	if !ok {
		return entry{}, false, sh.loaded
	}
	return sh.at(n).entry(), true, sh.loaded
}

func (s *slot) entry() entry {
	return entry{id: s.id, generation: s.generation, flags: s.flags, owner: s.owner, used: lastUse(s.used.Load())}
}

// put is the writer's: it adds a token, or replaces what is known of it but
// for a later use.
func (t *table) put(e entry) {
	sh := t.shard(e.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(e.id); ok {
		s := sh.at(n)
		s.generation, s.flags, s.owner = e.generation, e.flags, e.owner
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
	if n, _, ok := sh.find(e.id); ok {
		sh.at(n).raise(e.used)
		return
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
	if 4*(sh.n+1) > 3*len(sh.index) {
		sh.grow()
	}
	if sh.n == len(sh.chunks)*chunkSlots {
		sh.chunks = append(sh.chunks, new([chunkSlots]slot))
	}
	_, at, _ := sh.find(e.id)
	s := sh.at(uint32(sh.n))
	s.id, s.generation, s.flags, s.owner = e.id, e.generation, e.flags, e.owner
	s.used.Store(int64(e.used))
	sh.n++
	sh.index[at] = uint32(sh.n)
}

func (sh *shard) grow() {
	old := sh.index
	sh.index = make([]uint32, max(64, 2*len(old)))
	for n := range uint32(sh.n) {
		_, at, _ := sh.find(sh.at(n).id)
		sh.index[at] = n + 1
	}
}

// remove takes a token out. The last slot moves into the hole, and the entries
// that follow in the index move up, so that neither has gaps.
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
	n, at, ok := sh.find(id)
	if !ok {
		return
	}
	sh.unindex(at)
	sh.n--
	if last := uint32(sh.n); n != last {
		from, to := sh.at(last), sh.at(n)
		_, at, _ := sh.find(from.id)
		to.id, to.generation, to.flags, to.owner = from.id, from.generation, from.flags, from.owner
		to.used.Store(from.used.Load())
		sh.index[at] = n + 1
	}
	if spare := len(sh.chunks) - 1; spare > 0 && sh.n <= (spare-1)*chunkSlots {
		sh.chunks = sh.chunks[:spare] // keeps one chunk, against give and take at a border
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
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for n := range uint32(sh.n) {
		fn(sh.at(n).entry())
	}
}

// unsaved appends the tokens whose use the flusher has not yet taken, or not
// yet written.
func (t *table) unsaved(ids []ID) []ID {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.dirtyMu.Lock()
		for id := range sh.dirty {
			ids = append(ids, id)
		}
		for id := range sh.flushing {
			ids = append(ids, id)
		}
		sh.dirtyMu.Unlock()
	}
	return ids
}

// unindex frees a place of the index without a tombstone (Knuth, TAOCP volume
// 3, section 6.4, algorithm R).
func (sh *shard) unindex(hole uint32) {
	mask := uint32(len(sh.index) - 1)
	for at := (hole + 1) & mask; sh.index[at] != 0; at = (at + 1) & mask {
		home := place(sh.at(sh.index[at]-1).id) & mask
		if (at-home)&mask >= (at-hole)&mask {
			sh.index[hole], hole = sh.index[at], at
		}
	}
	sh.index[hole] = 0
}

// raise is an atomic maximum. A use in the millisecond of the creation counts as
// in the next (see shown), so that a slot has the very time that listings show.
func (s *slot) raise(u lastUse) {
	for {
		old := s.used.Load()
		to := u
		if old&1 == 0 && int64(u) == old|1 {
			to = usedAt(old>>1 + 1)
		}
		if int64(to) <= old || s.used.CompareAndSwap(old, int64(to)) {
			return
		}
	}
}

// raise moves a token's last use on; false when the token is not there.
func (t *table) raise(id ID, u lastUse) bool {
	sh := t.shard(id)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	n, _, ok := sh.find(id)
	if ok {
		sh.at(n).raise(u)
	}
	return ok
}

// touch records a use.
func (t *table) touch(id ID, ms int64, from netip.Addr) {
	if !t.raise(id, usedAt(ms)) {
		return
	}
	sh := t.shard(id)
	sh.dirtyMu.Lock()
	if sh.dirty == nil {
		sh.dirty = make(map[ID]netip.Addr)
	}
	sh.dirty[id] = from
	sh.dirtyMu.Unlock()
}

// address returns where a token was last used from, when that is not yet in
// Badger.
func (t *table) address(id ID) (netip.Addr, bool) {
	sh := t.shard(id)
	sh.dirtyMu.Lock()
	defer sh.dirtyMu.Unlock()
	if a, ok := sh.dirty[id]; ok {
		return a, true
	}
	a, ok := sh.flushing[id]
	return a, ok
}

// len counts the tokens.
func (t *table) len() (n int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		n += sh.n
		sh.mu.RUnlock()
	}
	return n
}
