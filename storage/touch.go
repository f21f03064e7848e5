package storage

import (
	"math"

	"gatehouse/storage/record"
)

// origins numbers the origins of a shard's tokens, from 1 on, so that a slot
// needs two bytes for one.
type origins struct {
	list   []Origin
	number map[Origin]uint16
}

// of returns the number of an origin; 0 when there are more than have one.
func (o *origins) of(v Origin) uint16 {
	n, ok := o.number[v]
	if !ok && len(o.list) < math.MaxUint16 {
		if o.number == nil {
			o.number = make(map[Origin]uint16)
		}
		o.list = append(o.list, v)
		n = uint16(len(o.list))
		o.number[v] = n
	}
	return n
}

func (o *origins) at(n uint16) Origin { return o.list[n-1] }

// touch counts a use of a token that was seen in a slot. If it was taken out
// since, it is counted all the same.
func (t *table) touch(id ID, seen uint32, ms int64, from Origin) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, ok := seen, seen < uint32(sh.n) && sh.at(seen).is(id)
	if !ok {
		n, _, ok = sh.find(id)
	}
	if ok {
		sh.touch(id, n, ms, from)
		return
	}
	d := sh.departed(id)
	d.used = max(d.used, record.UsedAt(ms))
	d.usage.Count(record.DayOf(ms), 1)
	d.usage.Saw(Seen{Origin: from, Time: ms})
	sh.parting = append(sh.parting, id)
}

func (sh *shard) touch(id ID, n uint32, ms int64, from Origin) {
	s := sh.at(n)
	last := s.lastUse().Ms()
	ms = max(ms, last) // a clock that was set back counts for the day of the latest use
	if s.uses > 0 && record.DayOf(last) != record.DayOf(ms) || s.uses == math.MaxUint32 {
		sh.beyond(id).Count(record.DayOf(last), int64(s.uses))
		s.uses = 0
	}
	if s.origin == 0 || sh.origins.at(s.origin) != from {
		if s.origin != 0 {
			sh.beyond(id).Saw(Seen{Origin: sh.origins.at(s.origin), Time: last})
		}
		if s.origin = sh.origins.of(from); s.origin == 0 {
			sh.beyond(id).Saw(Seen{Origin: from, Time: ms})
		}
	}
	s.raise(record.UsedAt(ms))
	s.uses++
	sh.unsave(n)
}

// unsave has the log of uses told of a slot.
func (sh *shard) unsave(n uint32) {
	if s := sh.at(n); s.flags&flagUnsaved == 0 {
		s.flags |= flagUnsaved
		sh.unsaved = append(sh.unsaved, n)
	}
}

// beyond is where to count what a slot can't hold.
func (sh *shard) beyond(id ID) *Usage {
	u := sh.more[id]
	if u == nil {
		if sh.more == nil {
			sh.more = make(map[ID]*Usage)
		}
		u = new(Usage)
		sh.more[id] = u
	}
	return u
}

// unwritten adds to u what came to the slot since its usage was last written.
func (sh *shard) unwritten(id ID, s *slot, u *Usage) {
	if more := sh.more[id]; more != nil {
		u.Add(more)
	}
	ms := s.lastUse().Ms()
	if s.uses > 0 {
		u.Count(record.DayOf(ms), int64(s.uses))
	}
	if s.origin != 0 {
		u.Saw(Seen{Origin: sh.origins.at(s.origin), Time: ms})
	}
}

// pending reports whether there is anything to write of a slot.
func (s *slot) pending() bool { return s.uses > 0 || s.origin != 0 }

// take takes out what is still to be written of a few tokens, from a slot on
// downwards, and returns how far it has come. Downwards, since a slot that
// moves into a hole then never moves past it.
func (sh *shard) take(from uint32) (batch map[ID]*departed, slot uint32) {
	const most = 1 << 12 // slots to look at under the lock
	sh.mu.Lock()
	defer sh.mu.Unlock()
	batch = make(map[ID]*departed)
	for id, d := range sh.left {
		if len(batch) == mergeBatch {
			return batch, from
		}
		batch[id] = d
		delete(sh.left, id)
	}
	n := min(from, uint32(sh.n))
	for end := n - min(n, most); n > end && len(batch) < mergeBatch; {
		n--
		s := sh.at(n)
		if !s.pending() && len(sh.more) == 0 {
			continue
		}
		id := s.id(sh.number)
		if !s.pending() && sh.more[id] == nil {
			continue
		}
		d := &departed{used: s.lastUse()}
		sh.unwritten(id, s, &d.usage)
		s.uses, s.origin = 0, 0
		delete(sh.more, id)
		batch[id] = d
	}
	return batch, n
}

// giveBack undoes take.
func (sh *shard) giveBack(batch map[ID]*departed) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for id, d := range batch {
		if _, _, ok := sh.find(id); ok {
			sh.beyond(id).Add(&d.usage)
			continue
		}
		left := sh.departed(id)
		left.used = max(left.used, d.used)
		left.usage.Add(&d.usage)
	}
}

// behind reports whether tokens have left that are still to be written.
func (sh *shard) behind() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.left) > 0
}

// tidy forgets the origins that no slot names any more.
func (sh *shard) tidy() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var kept origins
	for n := range uint32(sh.n) {
		if s := sh.at(n); s.origin != 0 {
			s.origin = kept.of(sh.origins.at(s.origin))
		}
	}
	sh.origins = kept
}

// depart keeps what is still to be written of a token that is taken out.
func (sh *shard) depart(id ID, s *slot) {
	if !s.pending() && sh.more[id] == nil {
		return
	}
	d := sh.departed(id)
	d.used = max(d.used, s.lastUse())
	sh.unwritten(id, s, &d.usage)
	delete(sh.more, id)
	if s.flags&flagUnsaved != 0 {
		sh.parting = append(sh.parting, id)
	}
}

func (sh *shard) departed(id ID) *departed {
	d := sh.left[id]
	if d == nil {
		if sh.left == nil {
			sh.left = make(map[ID]*departed)
		}
		d = new(departed)
		sh.left[id] = d
	}
	return d
}

// usage adds to r what is not yet in Badger of a token's usage.
func (t *table) usage(id ID, r *record.UsageRecord) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		s := sh.at(n)
		r.Used = max(r.Used, s.lastUse())
		sh.unwritten(id, s, &r.Usage)
	} else if d := sh.left[id]; d != nil {
		r.Used = max(r.Used, d.used)
		r.Add(&d.usage)
	}
}
