package storage

import (
	"slices"
	"sync"
)

// owners numbers the users for the table and keeps what each request must know
// of them: whether their tokens and sessions count. Numbers are given anew at
// each open.
type owners struct {
	mu     sync.RWMutex
	number map[UserID]uint32
	list   []owner
	living int // how many are not removed
}

type owner struct {
	id    UserID
	epoch uint32
	state UserState
	uid   string // so that a verification need not read the user's record
}

// set adds a user or replaces what is known of it, and returns its number.
func (o *owners) set(v owner) uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.number[v.id]
	if !ok {
		if o.number == nil {
			o.number = make(map[UserID]uint32)
		}
		n = uint32(len(o.list))
		o.number[v.id] = n
		o.list = append(o.list, owner{state: UserRemoved})
	}
	if o.list[n].state != UserRemoved {
		o.living--
	}
	if v.state != UserRemoved {
		o.living++
	}
	o.list[n] = v
	return n
}

func (o *owners) at(n uint32) owner {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.list[n]
}

func (o *owners) find(id UserID) (v owner, n uint32, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if n, ok = o.number[id]; ok {
		v = o.list[n]
	}
	return v, n, ok
}

// count is how many users are not removed.
func (o *owners) count() int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.living
}

// all copies what is known of the users, by number.
func (o *owners) all() []owner {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return slices.Clone(o.list)
}

func (o *owners) empty() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return len(o.list) == 0
}
