package table

import (
	"math"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Pick selects tokens by what their slots have, without copying the others.
type Pick struct {
	From, To     int64  // ms: last used, or created if never used, not before and not after
	Used, Unused bool   // only those that were used, or were not
	Owners       []bool // by number: whether to take the owner's tokens, those of later owners not; nil: all
}

// Any picks all tokens.
func Any() Pick { return Pick{From: math.MinInt64, To: math.MaxInt64} }

// rule is a Pick as a walk compares it with a million slots.
type rule struct {
	from, to   record.LastUse
	mask, want record.LastUse // whether it is a use
	owners     []bool
}

func (p *Pick) rule() rule {
	const far = math.MaxInt64 >> 1
	r := rule{from: record.CreatedAt(max(p.From, -far)), to: record.UsedAt(min(p.To, far)), owners: p.Owners}
	if p.Used {
		r.mask, r.want = 1, 1
	}
	if p.Unused {
		r.mask, r.want = 1, 2*r.want // with Used it takes nothing
	}
	return r
}

func (r *rule) takes(s *slot) bool {
	u := s.lastUse()
	return u >= r.from && u <= r.to && u&r.mask == r.want && (r.owners == nil || int(s.owner) < len(r.owners) && r.owners[s.owner])
}

// walk calls fn with the number of each slot that is picked.
func (sh *shard) walk(pick *Pick, fn func(n uint32, s *slot)) {
	r := pick.rule()
	for at, page := range sh.slots {
		first := at * len(page)
		for i := range min(len(page), sh.n-first) {
			if s := &page[i]; r.takes(s) {
				fn(uint32(first+i), s)
			}
		}
	}
}

// AppendIn appends the tokens of one shard that are picked, as [Table.EachIn] shows them.
func (t *Table) AppendIn(list []Entry, shard byte, pick *Pick) []Entry {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.walk(pick, func(n uint32, s *slot) {
		e := s.entry(s.id(shard))
		e.Slot = n
		list = append(list, e)
	})
	return list
}

// AppendOf is AppendIn for some tokens of a shard: those with these numbers among the ids.
// Most of them should be in the slot of their number. As Slot, the entries have the number.
func (t *Table) AppendOf(list []Entry, shard byte, ids []keys.ID, numbers []uint32, pick *Pick) []Entry {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.walkOf(ids, numbers, pick, func(n uint32, s *slot) {
		e := s.entry(ids[n])
		e.Slot = n
		list = append(list, e)
	})
	return list
}

// walkOf calls fn with each of the numbers whose token is picked, and its slot.
func (sh *shard) walkOf(ids []keys.ID, numbers []uint32, pick *Pick, fn func(n uint32, s *slot)) {
	r := pick.rule()
	for _, n := range numbers {
		id, at := &ids[n], n
		if int(n) >= sh.n || !sh.at(n).is(*id) {
			var ok bool
			if at, _, ok = sh.find(*id); !ok {
				continue
			}
		}
		if s := sh.at(at); r.takes(s) {
			fn(n, s)
		}
	}
}

// CountIn counts the tokens of one shard that are picked.
func (t *Table) CountIn(shard byte, pick *Pick) (n int) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.walk(pick, func(uint32, *slot) { n++ })
	return n
}

// CountOf is CountIn for some tokens of a shard, as AppendOf takes them.
func (t *Table) CountOf(shard byte, ids []keys.ID, numbers []uint32, pick *Pick) (n int) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.walkOf(ids, numbers, pick, func(uint32, *slot) { n++ })
	return n
}
