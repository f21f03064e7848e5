package table

import (
	"unsafe"

	"gatehouse/storage/keys"
)

// index is the memory of a hash table with open addressing. A place is 0 while
// it is free.
type index []*indexPage

type indexPage [pageSize / 4]uint32

// places returns the number of places.
func (x index) places() int { return len(x) * len(indexPage{}) }

func (x index) at(place int) *uint32 {
	return &x[place/len(indexPage{})][place%len(indexPage{})]
}

// renew gives the pages back, and returns an index of that number of free pages.
func (x index) renew(m *memory, pages int) index {
	for _, p := range x {
		m.give((*page)(unsafe.Pointer(p)))
	}
	x = make(index, pages)
	for i := range x {
		x[i] = (*indexPage)(unsafe.Pointer(m.take()))
	}
	return x
}

// home returns the place of an id if no other id is there: the hash, scaled to
// the length, which need not be a power of two.
func (sh *shard) home(id keys.ID) int {
	return int(uint64(place(id)) * uint64(sh.index.places()) >> 32)
}

// find returns the slot's number and its place in the index. If there is no
// slot, it returns the place where it would be.
func (sh *shard) find(id keys.ID) (n uint32, at int, ok bool) {
	places := sh.index.places()
	if places == 0 {
		return 0, 0, false
	}
	for at = sh.home(id); ; at++ {
		if at == places {
			at = 0
		}
		v := *sh.index.at(at)
		if v == 0 {
			return 0, at, false
		}
		if v&^numberMask == mark(id) && sh.at(v&numberMask-1).is(id) {
			return v&numberMask - 1, at, true
		}
	}
}

// reserve makes room in the index for n tokens.
func (sh *shard) reserve(n int) {
	if pages := (n*8/7)/len(indexPage{}) + 1; pages > len(sh.index) {
		sh.resize(pages)
	}
}

// resize builds the index again, with the given number of pages.
func (sh *shard) resize(pages int) {
	sh.index = sh.index.renew(sh.memory, pages)
	for n := range uint32(sh.n) {
		id := sh.at(n).id(sh.number)
		_, at, _ := sh.find(id)
		*sh.index.at(at) = mark(id) | (n + 1)
	}
}

// unindex frees a place of the index without a tombstone (Knuth, TAOCP volume
// 3, section 6.4, algorithm R).
func (sh *shard) unindex(hole int) {
	places := sh.index.places()
	for at := hole; ; {
		if at++; at == places {
			at = 0
		}
		v := *sh.index.at(at)
		if v == 0 {
			break
		}
		home := sh.home(sh.at(v&numberMask - 1).id(sh.number))
		if distance(home, at, places) >= distance(hole, at, places) {
			*sh.index.at(hole), hole = v, at
		}
	}
	*sh.index.at(hole) = 0
}

// distance returns the number of steps up from one place of a ring to another.
func distance(from, to, length int) int {
	if to < from {
		to += length
	}
	return to - from
}
