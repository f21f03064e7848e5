package table

import (
	"maps"
	"math"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// origins numbers the origins of a shard's tokens, from 1 on, so that a slot
// needs two bytes for one.
type origins struct {
	list   []record.Origin
	number map[record.Origin]uint16
}

// of returns the number of an origin; 0 when there are more than have one.
func (o *origins) of(v record.Origin) uint16 {
	n, ok := o.number[v]
	if !ok && len(o.list) < math.MaxUint16 {
		if o.number == nil {
			o.number = make(map[record.Origin]uint16)
		}
		o.list = append(o.list, v)
		n = uint16(len(o.list))
		o.number[v] = n
	}
	return n
}

func (o *origins) at(n uint16) record.Origin { return o.list[n-1] }

// Touch counts a use, at a time in ms, of a token that was seen in a slot. If it was
// taken out since, it is counted all the same.
func (t *Table) Touch(id keys.ID, seen uint32, ms int64, from record.Origin) {
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
	d.Used = max(d.Used, record.UsedAt(ms))
	d.Count(record.DayOf(ms), 1)
	d.Saw(record.Seen{Origin: from, Time: ms})
	sh.parting = append(sh.parting, id)
}

func (sh *shard) touch(id keys.ID, n uint32, ms int64, from record.Origin) {
	s := sh.at(n)
	last := s.lastUse().Ms()
	ms = max(ms, last) // a clock that was set back counts for the day of the latest use
	if s.uses > 0 && record.DayOf(last) != record.DayOf(ms) || s.uses == math.MaxUint32 {
		sh.beyond(id).Count(record.DayOf(last), int64(s.uses))
		s.uses = 0
	}
	if s.origin == 0 || sh.origins.at(s.origin) != from {
		if s.origin != 0 {
			sh.beyond(id).Saw(record.Seen{Origin: sh.origins.at(s.origin), Time: last})
		}
		if s.origin = sh.origins.of(from); s.origin == 0 {
			sh.beyond(id).Saw(record.Seen{Origin: from, Time: ms})
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
func (sh *shard) beyond(id keys.ID) *record.Usage {
	u := sh.more[id]
	if u == nil {
		if sh.more == nil {
			sh.more = make(map[keys.ID]*record.Usage)
		}
		u = new(record.Usage)
		sh.more[id] = u
	}
	return u
}

// unwritten adds to u what came to the slot since its usage was last written.
func (sh *shard) unwritten(id keys.ID, s *slot, u *record.Usage) {
	if more := sh.more[id]; more != nil {
		u.Add(more)
	}
	ms := s.lastUse().Ms()
	if s.uses > 0 {
		u.Count(record.DayOf(ms), int64(s.uses))
	}
	if s.origin != 0 {
		u.Saw(record.Seen{Origin: sh.origins.at(s.origin), Time: ms})
	}
}

// pending reports whether there is anything to write of a slot.
func (s *slot) pending() bool { return s.uses > 0 || s.origin != 0 }

// Usage adds to r what the index does not yet have of a token's uses.
func (t *Table) Usage(id keys.ID, r *record.UsageRecord) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		s := sh.at(n)
		r.Used = max(r.Used, s.lastUse())
		sh.unwritten(id, s, &r.Usage)
	} else if d := sh.left[id]; d != nil {
		r.Take(d)
	}
}

// Unsaved appends the tokens of whose uses the log does not have all.
func (t *Table) Unsaved(ids []keys.ID) []keys.ID {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		ids = sh.appendUnsaved(ids)
		sh.mu.Unlock()
	}
	return ids
}

func (sh *shard) appendUnsaved(ids []keys.ID) []keys.ID {
	for s := range sh.eachUnsaved {
		ids = append(ids, s.id(sh.number))
	}
	return append(ids, sh.parting...)
}

// eachUnsaved shows the slots of which the log does not have all. The list may name
// one that another token has moved away from, or into.
func (sh *shard) eachUnsaved(show func(*slot) bool) {
	for _, n := range sh.unsaved {
		if n < uint32(sh.n) && sh.at(n).flags&flagUnsaved != 0 && !show(sh.at(n)) {
			return
		}
	}
}

// A UseWriter is told of uses, token by token.
type UseWriter interface {
	// Origin returns a number for an origin, to name it by in Use.
	Origin(record.Origin) uint16
	// Use says when a token was used last, how often that day in all that the index
	// does not have, and from where; 0: the index has the origin.
	Use(id keys.ID, used record.LastUse, uses int64, origin uint16)
	// Usage says all that the index does not have of a token's uses.
	Usage(id keys.ID, used record.LastUse, u *record.Usage)
}

// Save tells w what the log of uses does not have of one shard. First, and before
// these tokens leave the [Table.Unsaved], it calls noted, which may ask for them. Both
// are called with the shard locked, and must not call the table.
func (t *Table) Save(shard int, w UseWriter, noted func(unsaved func() []keys.ID)) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	noted(func() []keys.ID { return sh.appendUnsaved(nil) })
	numbers := make([]uint16, len(sh.origins.list)+1) // those that w gave
	for s := range sh.eachUnsaved {
		s.flags &^= flagUnsaved
		id := s.id(sh.number)
		if sh.more[id] != nil {
			var u record.Usage
			sh.unwritten(id, s, &u)
			w.Usage(id, s.lastUse(), &u)
			continue
		}
		if s.origin != 0 && numbers[s.origin] == 0 {
			numbers[s.origin] = w.Origin(sh.origins.at(s.origin))
		}
		w.Use(id, s.lastUse(), int64(s.uses), numbers[s.origin])
	}
	for _, id := range sh.parting {
		if d := sh.left[id]; d != nil {
			w.Usage(id, d.Used, &d.Usage)
		}
	}
	sh.unsaved, sh.parting = sh.unsaved[:0], sh.parting[:0]
}

// Unsave has the next Save of a shard say all that the index does not have.
func (t *Table) Unsave(shard int) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		if s := sh.at(n); s.pending() || len(sh.more) > 0 && sh.more[s.id(sh.number)] != nil {
			sh.unsave(n)
		}
	}
	sh.parting = slices.AppendSeq(sh.parting[:0], maps.Keys(sh.left))
}

// Top is how many slots of a shard are taken: where to begin with Take.
func (t *Table) Top(shard int) uint32 {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return uint32(sh.n)
}

// Take takes out what the index does not have of the uses of a few tokens of a shard,
// at most so many, from a slot on downwards, and returns how far it has come: at 0 it
// is done, unless tokens have [Table.Departed]. Downwards, since a slot that
// moves into a hole then never moves past it.
func (t *Table) Take(shard int, from uint32, most int) (batch map[keys.ID]*record.UsageRecord, slot uint32) {
	const mostSlots = 1 << 12 // to look at under the lock
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	batch = make(map[keys.ID]*record.UsageRecord)
	for id, d := range sh.left {
		if len(batch) == most {
			return batch, from
		}
		batch[id] = d
		delete(sh.left, id)
	}
	n := min(from, uint32(sh.n))
	for end := n - min(n, mostSlots); n > end && len(batch) < most; {
		n--
		s := sh.at(n)
		if !s.pending() && len(sh.more) == 0 {
			continue
		}
		id := s.id(sh.number)
		if !s.pending() && sh.more[id] == nil {
			continue
		}
		d := &record.UsageRecord{Used: s.lastUse()}
		sh.unwritten(id, s, &d.Usage)
		s.uses, s.origin = 0, 0
		delete(sh.more, id)
		batch[id] = d
	}
	return batch, n
}

// GiveBack undoes Take.
func (t *Table) GiveBack(shard int, batch map[keys.ID]*record.UsageRecord) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for id, d := range batch {
		if _, _, ok := sh.find(id); ok {
			sh.beyond(id).Add(&d.Usage)
			continue
		}
		sh.departed(id).Take(d)
	}
}

// Departed reports whether a shard has uses of tokens that were taken out of it.
func (t *Table) Departed(shard int) bool {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.left) > 0
}

// Tidy forgets the origins that no slot of a shard names any more.
func (t *Table) Tidy(shard int) {
	sh := &t.shards[shard]
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
func (sh *shard) depart(id keys.ID, s *slot) {
	if !s.pending() && sh.more[id] == nil {
		return
	}
	d := sh.departed(id)
	d.Used = max(d.Used, s.lastUse())
	sh.unwritten(id, s, &d.Usage)
	delete(sh.more, id)
	if s.flags&flagUnsaved != 0 {
		sh.parting = append(sh.parting, id)
	}
}

func (sh *shard) departed(id keys.ID) *record.UsageRecord {
	d := sh.left[id]
	if d == nil {
		if sh.left == nil {
			sh.left = make(map[keys.ID]*record.UsageRecord)
		}
		d = new(record.UsageRecord)
		sh.left[id] = d
	}
	return d
}
