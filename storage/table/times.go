package table

import (
	"runtime"

	"gatehouse/storage/keys"
)

// Times say which times are in the future, and so were written by a clock that was
// ahead, and what replaces them. All are in ms.
type Times struct {
	Limit int64 // the latest plausible time
	Set   int64 // replaces a creation: when the clock was set right, as listings show it
	Now   int64 // replaces a use: idleness is counted from now on
}

// Rectify goes through the table and replaces times in the future. A replacement is
// written like a use, so that it is permanent. Rectify reads the clock while no use
// can be counted: a use after the reading would seem to be in the future.
func (t *Table) Rectify(clock func() Times) {
	for i := range t.shards {
		t.shards[i].rectify(clock)
		runtime.Gosched()
	}
}

func (sh *shard) rectify(clock func() Times) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := clock()
	for n := range uint32(sh.n) {
		if s := sh.at(n); s.lastUse().Ms() > at.Limit || len(sh.more) > 0 && sh.more[s.id(sh.number)] != nil {
			sh.rectifySlot(n, at)
		}
	}
	for id, d := range sh.left {
		if u := d.Used.Believed(at.Limit, at.Now); d.Usage.Believed(at.Limit, at.Now) || u != d.Used {
			d.Used = u
			sh.parting = append(sh.parting, id)
		}
	}
}

func (sh *shard) rectifySlot(n uint32, at Times) {
	s := sh.at(n)
	id, u := s.id(sh.number), s.lastUse()
	more := sh.more[id]
	changed := more != nil && more.Believed(at.Limit, at.Now)
	instead := at.Set
	if u.IsUse() {
		instead = at.Now
	}
	if v := u.Believed(at.Limit, instead); v != u {
		s.set(v)
		if changed = true; v.IsUse() {
			sh.beyond(id) // otherwise nothing would bring it into the index
		}
	}
	if changed {
		sh.markUnsaved(n)
	}
}

// RectifyOne is Rectify for a token that is about to be used.
func (t *Table) RectifyOne(id keys.ID, at Times) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		sh.rectifySlot(n, at)
	}
}
