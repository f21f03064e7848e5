package table

import (
	"math"

	"gatehouse/storage/record"
)

// Pick selects tokens by what their slots have, without copying the others.
type Pick struct {
	From, To     int64  // ms: last used, or created if never used, not before and not after
	Used, Unused bool   // only those that were used, or were not
	Limited      bool   // only those with an expiry, scopes or addresses
	Owners       []bool // by number: whether to take the owner's tokens. Owners beyond it, and all if it is nil, are taken
}

// Any picks all tokens.
func Any() Pick { return Pick{From: math.MinInt64, To: math.MaxInt64} }

func (p *Pick) takes(s *slot) bool {
	u := s.lastUse()
	if ms := u.Ms(); ms < p.From || ms > p.To || p.Unused && u.IsUse() || p.Used && !u.IsUse() {
		return false
	}
	return (!p.Limited || s.flags&record.FlagLimited != 0) && (int(s.owner) >= len(p.Owners) || p.Owners[s.owner])
}

// AppendIn appends the tokens of one shard that are picked, as [Table.EachIn] shows them.
func (t *Table) AppendIn(list []Entry, shard byte, pick *Pick) []Entry {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for n := range uint32(sh.n) {
		if s := sh.at(n); pick.takes(s) {
			e := s.entry(s.id(shard))
			e.Slot = n
			list = append(list, e)
		}
	}
	return list
}

// CountIn counts the tokens of one shard that are picked.
func (t *Table) CountIn(shard byte, pick *Pick) (n int) {
	sh := &t.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for at := range uint32(sh.n) {
		if pick.takes(sh.at(at)) {
			n++
		}
	}
	return n
}
