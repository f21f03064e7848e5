package order

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// rows are the tokens of the table at one moment, sorted by last use. They are
// stored in columns, so that a search through one column reads no other. They
// take 34 bytes a token, 12 more once somebody has asked for the order of
// creation, and 4 more with facts. Rows never change, except that a row is marked as gone when its
// token has been used since or is dead.
type rows struct {
	used  []record.LastUse
	ids   []keys.ID
	owner []uint32
	index []uint32 // open addressing, as a shard's: a row's number + 1
	gone  bitmap

	created   []int64  // nil until somebody asks for it
	byCreated []uint32 // the rows in that order
	fact      []uint32 // numbers of facts; nil until somebody asks for them
}

// row is a token in the sorted order.
type row struct {
	used    record.LastUse
	id      keys.ID
	owner   uint32
	created int64  // ms; 0: not known
	fact    uint32 // 0: none
	dead    bool   // its fact is among those of the dead
	revoked bool   // dead, and not only because of its owner
}

func (r row) byUse() Place { return Place{r.used.Ms(), r.id} }

func (r *rows) len() int { return len(r.ids) }

func (r *rows) at(n int) row {
	v := row{used: r.used[n], id: r.ids[n], owner: r.owner[n]}
	if r.created != nil {
		v.created = r.created[n]
	}
	if r.fact != nil {
		v.fact = r.fact[n]
	}
	return v
}

func (r *rows) add(v row) {
	r.used, r.ids, r.owner = append(r.used, v.used), append(r.ids, v.id), append(r.owner, v.owner)
}

func newRows(n int) *rows {
	return &rows{used: make([]record.LastUse, 0, n), ids: make([]keys.ID, 0, n), owner: make([]uint32, 0, n)}
}

// rowsOf sorts the tokens of the table.
func rowsOf(t *table.Table) *rows {
	list := make([]row, 0, t.Len()+t.Len()/64)
	t.Each(func(e table.Entry) { list = append(list, row{used: e.Used, id: e.ID, owner: e.Owner}) })
	slices.SortFunc(list, func(a, b row) int { return a.byUse().Compare(b.byUse()) })
	r := newRows(len(list))
	for _, v := range list {
		r.add(v)
	}
	r.number()
	return r
}

// holdings counts the tokens of all owners.
func (r *rows) holdings(staleSince int64) (held []Holding) {
	for n, owner := range r.owner {
		held = hold(held, owner, 1, r.used[n], staleSince)
	}
	return held
}

// number builds the index by id, and the marks.
func (r *rows) number() {
	size := 64
	for size < r.len()+r.len()/2 {
		size *= 2
	}
	r.index, r.gone = make([]uint32, size), make(bitmap, r.len()/64+1)
	for n, id := range r.ids {
		at := rowPlace(id) & uint32(size-1)
		for r.index[at] != 0 {
			at = (at + 1) & uint32(size-1)
		}
		r.index[at] = uint32(n + 1)
	}
}

// rowPlace uses random bytes of an id as its hash.
func rowPlace(id keys.ID) uint32 { return binary.LittleEndian.Uint32(id[1:]) }

func (r *rows) find(id keys.ID) (n int, ok bool) {
	mask := uint32(len(r.index) - 1)
	for at := rowPlace(id) & mask; r.index[at] != 0; at = (at + 1) & mask {
		if n := int(r.index[at] - 1); r.ids[n] == id {
			return n, true
		}
	}
	return 0, false
}

// merge makes new rows from the rows that are not gone and from others, which
// must be sorted.
func (r *rows) merge(gone bitmap, others []row) *rows {
	to := newRows(r.len() + len(others))
	moved := []uint32(nil) // the new place of each row, + 1
	if r.created != nil {
		moved = make([]uint32, r.len())
		to.created = make([]int64, 0, r.len()+len(others))
	}
	if r.fact != nil {
		to.fact = make([]uint32, 0, r.len()+len(others))
	}
	put := func(v row) {
		if to.add(v); to.created != nil {
			to.created = append(to.created, v.created)
		}
		if to.fact != nil {
			to.fact = append(to.fact, v.fact)
		}
	}
	for n := range r.ids {
		if gone.has(uint32(n)) {
			continue
		}
		for len(others) > 0 && others[0].byUse().Compare(Place{r.used[n].Ms(), r.ids[n]}) < 0 {
			put(others[0])
			others = others[1:]
		}
		put(r.at(n))
		if moved != nil {
			moved[n] = uint32(to.len())
		}
	}
	for _, v := range others {
		put(v)
	}
	to.number()
	if r.created != nil {
		to.mergeCreated(r, moved)
	}
	return to
}

// mergeCreated keeps the order of creation of the old rows.
func (r *rows) mergeCreated(old *rows, moved []uint32) {
	stayed := make(bitmap, r.len()/64+1)
	for _, n := range moved {
		if n > 0 {
			stayed.add(n - 1)
		}
	}
	var fresh []uint32
	for n := range uint32(r.len()) {
		if !stayed.has(n) {
			fresh = append(fresh, n)
		}
	}
	slices.SortFunc(fresh, r.compareCreated)
	r.byCreated = make([]uint32, 0, r.len())
	for _, n := range old.byCreated {
		if moved[n] == 0 {
			continue
		}
		to := moved[n] - 1
		for len(fresh) > 0 && r.compareCreated(fresh[0], to) < 0 {
			r.byCreated = append(r.byCreated, fresh[0])
			fresh = fresh[1:]
		}
		r.byCreated = append(r.byCreated, to)
	}
	r.byCreated = append(r.byCreated, fresh...)
}

func (r *rows) compareCreated(a, b uint32) int {
	return cmp.Or(cmp.Compare(r.created[a], r.created[b]), bytes.Compare(r.ids[a][:], r.ids[b][:]))
}

// date sets when the rows were created.
func (r *rows) date(created []int64) {
	r.created = created
	r.byCreated = make([]uint32, r.len())
	for n := range r.byCreated {
		r.byCreated[n] = uint32(n)
	}
	slices.SortFunc(r.byCreated, r.compareCreated)
}

// sorted returns the number of the nth row in an order, and its place.
func (r *rows) sorted(o By, nth int) (n int, at Place) {
	if o == Created {
		n = int(r.byCreated[nth])
		return n, Place{r.created[n], r.ids[n]}
	}
	return nth, Place{r.used[nth].Ms(), r.ids[nth]}
}

// until returns how many rows come before a place, in an order.
func (r *rows) until(o By, p Place) int {
	return sort.Search(r.len(), func(nth int) bool {
		_, at := r.sorted(o, nth)
		return at.Compare(p) >= 0
	})
}

// bitmap is a set of small numbers.
type bitmap []uint64

func (b *bitmap) add(n uint32) {
	for int(n/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n uint32) bool {
	return int(n/64) < len(b) && b[n/64]&(1<<(n%64)) != 0
}

// below counts the numbers in the set that are less than n.
func (b bitmap) below(n int) (count int) {
	for _, word := range b[:n/64] {
		count += bits.OnesCount64(word)
	}
	if n%64 != 0 {
		count += bits.OnesCount64(b[n/64] & (1<<(n%64) - 1))
	}
	return count
}
