package table

import (
	"maps"
	"math"
	"net/netip"
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

// of returns the number of an origin, or 0 when there are no numbers left.
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

// Touch counts a use, at a time in ms, of a token that was seen in a slot. It counts
// the use even if the token was removed since.
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
	d.Used = d.Used.Later(record.UsedAt(ms))
	d.Count(record.DayOf(ms), 1)
	d.Saw(record.Seen{Origin: from, Time: ms})
	sh.parting = append(sh.parting, id)
}

func (sh *shard) touch(id keys.ID, n uint32, ms int64, from record.Origin) {
	s := sh.at(n)
	last := s.lastUse().Ms()
	ms = max(ms, last) // if the clock was set back, count for the day of the latest use
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
	sh.markUnsaved(n)
}

// markUnsaved marks a slot to be written to the log of uses.
func (sh *shard) markUnsaved(n uint32) {
	if s := sh.at(n); s.flags&flagUnsaved == 0 {
		s.flags |= flagUnsaved
		sh.unsaved = append(sh.unsaved, n)
	}
}

// beyond returns where to count uses that a slot can't hold.
func (sh *shard) beyond(id keys.ID) *record.Usage { return entry(&sh.more, id) }

// entry returns the entry of a map, which it makes if there is none.
func entry[V any](m *map[keys.ID]*V, id keys.ID) *V {
	v := (*m)[id]
	if v == nil {
		if *m == nil {
			*m = make(map[keys.ID]*V)
		}
		v = new(V)
		(*m)[id] = v
	}
	return v
}

// unwritten adds to u the uses of a slot since its usage was last written.
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

// hasUses reports whether the slot itself has uses that the index does not have.
func (s *slot) hasUses() bool { return s.uses > 0 || s.origin != 0 }

// hasUses reports whether a token has uses that the index does not have, in its slot or
// beyond it.
func (sh *shard) hasUses(id keys.ID, s *slot) bool { return s.hasUses() || sh.more[id] != nil }

// Usage adds to r the uses of a token that the index does not have yet.
func (t *Table) Usage(id keys.ID, r *record.UsageRecord) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		s := sh.at(n)
		if r.Used = r.Used.Later(s.lastUse()); sh.hasUses(id, s) && s.lastUse().IsUse() {
			r.Used = s.lastUse() // newer than what the index has, as in UsageRecord.Take
		}
		sh.unwritten(id, s, &r.Usage)
	} else if d := sh.left[id]; d != nil {
		r.Take(d)
	}
}

// Sight is a token, and an address where it was used.
type Sight struct {
	ID   keys.ID
	Slot uint32 // a hint: where the token is found, unless it has moved
	From netip.Addr
}

// Unsaved appends the tokens with uses that are missing in the log of uses, and where they were
// used: once for each address that the index may not have.
func (t *Table) Unsaved(list []Sight) []Sight {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		list = sh.appendUnsaved(list)
		sh.mu.Unlock()
	}
	return list
}

func (sh *shard) appendUnsaved(list []Sight) []Sight {
	seen := func(id keys.ID, slot uint32, u *record.Usage) {
		for _, v := range u.Seen {
			list = append(list, Sight{id, slot, v.Address})
		}
	}
	for n, s := range sh.eachUnsaved {
		id := s.id(sh.number)
		if s.origin != 0 {
			if from := sh.origins.at(s.origin).Address; from.IsValid() {
				list = append(list, Sight{id, n, from})
			}
		}
		if more := sh.more[id]; more != nil {
			seen(id, n, more)
		}
	}
	for _, id := range sh.parting {
		if d := sh.left[id]; d != nil {
			seen(id, 0, &d.Usage)
		}
	}
	return list
}

// eachUnsaved calls show with the slots that have uses missing in that log. The list
// may name a slot that another token has left or moved into.
func (sh *shard) eachUnsaved(show func(uint32, *slot) bool) {
	for _, n := range sh.unsaved {
		if n < uint32(sh.n) && sh.at(n).flags&flagUnsaved != 0 && !show(n, sh.at(n)) {
			return
		}
	}
}

// A UseWriter receives uses, token by token.
type UseWriter interface {
	// Origin returns a number that stands for the origin in Use.
	Origin(record.Origin) uint16
	// Use says when a token was used last, how often on that day (counting only
	// uses that the index does not have), and from where; 0: the index has the
	// origin.
	Use(id keys.ID, used record.LastUse, uses int64, origin uint16)
	// Usage gives all uses of a token that the index does not have.
	Usage(id keys.ID, used record.LastUse, u *record.Usage)
}

// Save passes to w the uses of one shard that the log of uses does not have. Before
// that, while these tokens are still among [Table.Unsaved], it calls noted, which may
// ask for them. Save calls both with the shard locked; they must not call the table.
func (t *Table) Save(shard int, w UseWriter, noted func(unsaved func() []Sight)) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	noted(func() []Sight { return sh.appendUnsaved(nil) })
	numbers := make([]uint16, len(sh.origins.list)+1) // the numbers that w returned
	for _, s := range sh.eachUnsaved {
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

// Unsave makes the next Save of a shard write all uses that the index does not
// have.
func (t *Table) Unsave(shard int) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		if s := sh.at(n); s.hasUses() || len(sh.more) > 0 && sh.more[s.id(sh.number)] != nil {
			sh.markUnsaved(n)
		}
	}
	sh.parting = slices.AppendSeq(sh.parting[:0], maps.Keys(sh.left))
}

// Top returns how many slots of a shard are taken. Take begins there.
func (t *Table) Top(shard int) uint32 {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return uint32(sh.n)
}

// Take takes the uses that the index does not have from up to most tokens of a
// shard, going downwards from a slot. It returns how far it has come: at 0 the shard
// is done, unless tokens have [Table.Departed]. It goes downwards because a slot that
// moves into a hole then never moves past it.
//
// Uses since the last Save are still among [Table.Unsaved]. Their addresses no longer are
// after Take, so it calls noted before, as Save does.
func (t *Table) Take(shard int, from uint32, most int, noted func(unsaved func() []Sight)) (batch map[keys.ID]*record.UsageRecord, slot uint32) {
	const mostSlots = 1 << 12 // to look at under the lock
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	noted(func() []Sight { return sh.appendUnsaved(nil) })
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
		if !s.hasUses() && len(sh.more) == 0 {
			continue
		}
		id := s.id(sh.number)
		if !sh.hasUses(id, s) {
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
		var to *record.Usage
		if _, _, ok := sh.find(id); ok {
			to = sh.beyond(id)
		} else {
			left := sh.departed(id)
			left.Used = left.Used.Later(d.Used)
			to = &left.Usage
		}
		if d.First.IsValid() {
			to.First = d.First // it was used since
		}
		to.Add(&d.Usage)
	}
}

// Departed reports whether a shard has uses of tokens that were removed from it.
func (t *Table) Departed(shard int) bool {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.left) > 0
}

// Tidy forgets the origins that no slot of a shard refers to any more.
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

// depart keeps the unwritten uses of a token that is being removed.
func (sh *shard) depart(id keys.ID, s *slot) {
	if !sh.hasUses(id, s) {
		return
	}
	d := sh.departed(id)
	d.Used = d.Used.Later(s.lastUse())
	sh.unwritten(id, s, &d.Usage)
	delete(sh.more, id)
	if s.flags&flagUnsaved != 0 {
		sh.parting = append(sh.parting, id)
	}
}

func (sh *shard) departed(id keys.ID) *record.UsageRecord { return entry(&sh.left, id) }
