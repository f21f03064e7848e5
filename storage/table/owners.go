package table

import (
	"sync"
	"unsafe"

	"gatehouse/storage/record"
)

// Owners numbers the users for the table and keeps what each request must know
// about them: whether their tokens and sessions are valid, and their names. The
// numbers are assigned again at each start.
//
// They are in the same memory as the table, except for long names.
type Owners struct {
	mu     sync.RWMutex
	memory *memory
	pages  []*ownerPage
	n      int               // how many records are taken: the first ones
	living int               // of these, not removed
	index  index             // numbers + 1
	long   map[uint32]string // the names that do not fit into the records
}

func newOwners(m *memory) *Owners { return &Owners{memory: m, long: make(map[uint32]string)} }

// ownerRecord is an owner without pointers, in one line of the processor's cache: a
// verification waits for memory once to learn about a token's owner.
type ownerRecord struct {
	id     record.UserID
	epoch  uint32
	state  record.UserState
	length uint8 // of the name
	name   [50]byte
}

type ownerPage [pageSize / int(unsafe.Sizeof(ownerRecord{}))]ownerRecord

// Set adds or replaces a user, and returns its number.
func (o *Owners) Set(v record.Owner) uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.search(v.ID)
	if !ok {
		n = o.add(v.ID)
	}
	r := o.record(n)
	if r.state != record.UserRemoved {
		o.living--
	}
	if v.State != record.UserRemoved {
		o.living++
	}
	r.epoch, r.state, r.length = v.Epoch, v.State, uint8(len(v.UID))
	if copy(r.name[:], v.UID) == len(v.UID) {
		delete(o.long, n)
	} else {
		o.long[n] = v.UID
	}
	return n
}

// add makes an empty record.
func (o *Owners) add(id record.UserID) uint32 {
	if o.n == len(o.pages)*len(ownerPage{}) {
		o.pages = append(o.pages, (*ownerPage)(unsafe.Pointer(o.memory.take())))
	}
	n := uint32(o.n)
	o.n++
	*o.record(n) = ownerRecord{id: id, state: record.UserRemoved}
	if 4*o.n > 3*o.index.places() {
		o.grow()
	} else {
		o.enter(n)
	}
	return n
}

func (o *Owners) record(n uint32) *ownerRecord {
	return &o.pages[n/uint32(len(ownerPage{}))][n%uint32(len(ownerPage{}))]
}

func (o *Owners) owner(n uint32) record.Owner {
	r := o.record(n)
	return record.Owner{ID: r.id, Epoch: r.epoch, State: r.state, UID: string(o.name(n, r))}
}

// name returns a user's name, which the next Set may change.
func (o *Owners) name(n uint32, r *ownerRecord) []byte {
	if int(r.length) <= len(r.name) {
		return r.name[:r.length]
	}
	return []byte(o.long[n])
}

// ID returns the id of the user with a number.
func (o *Owners) ID(n uint32) record.UserID {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.record(n).id
}

// State returns the state of the user with a number.
func (o *Owners) State(n uint32) record.UserState {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.record(n).state
}

// At returns the user with a number. It copies the name.
func (o *Owners) At(n uint32) record.Owner {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.owner(n)
}

func (o *Owners) Find(id record.UserID) (v record.Owner, n uint32, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if n, ok = o.search(id); ok {
		v = o.owner(n)
	}
	return v, n, ok
}

// Count returns how many users are not removed.
func (o *Owners) Count() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.living
}

// Len returns how many users have a number.
func (o *Owners) Len() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.n
}

// States returns the states of all owners, by number.
func (o *Owners) States() []record.UserState {
	o.mu.RLock()
	defer o.mu.RUnlock()
	list := make([]record.UserState, o.n)
	for n := range list {
		list[n] = o.record(uint32(n)).state
	}
	return list
}

// The index is like the table's (index.go), but without marks: an id is at its
// home or at one of the next places. Users are loaded in the order of their
// ids, so the homes must not follow that order: otherwise all users would crowd
// at one end until the last ones are loaded.

// search returns a user's number.
func (o *Owners) search(id record.UserID) (n uint32, ok bool) {
	for at := range o.from(id) {
		v := *o.index.at(at)
		if v == 0 {
			return 0, false
		}
		if o.record(v-1).id == id {
			return v - 1, true
		}
	}
	return 0, false
}

// enter adds a user to the index, which must have room.
func (o *Owners) enter(n uint32) {
	for at := range o.from(o.record(n).id) {
		if v := o.index.at(at); *v == 0 {
			*v = n + 1
			return
		}
	}
}

// from yields the places where an id may be, its home first.
func (o *Owners) from(id record.UserID) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		places := o.index.places()
		home := int(uint64(id) * 0x9e3779b97f4a7c15 >> 32 * uint64(places) >> 32) // Fibonacci hashing (Knuth, TAOCP volume 3, section 6.4)
		for n := range places {
			if !yield((home + n) % places) {
				return
			}
		}
	}
}

// grow makes the index a quarter longer.
func (o *Owners) grow() {
	o.index = o.index.renew(o.memory, len(o.index)+1+len(o.index)/4)
	for n := range uint32(o.n) {
		o.enter(n)
	}
}
