package storage

// A stop that has no time to bring all uses into Badger leaves the rest to the
// next start: it has the log say them once more, in a segment that has nothing
// else, and the table's file names that. The next start takes them into the
// table, and goes on as the same run, as if there had been no stop.
//
// After a kill that can't be done. What the log then has is in Badger in part,
// and in which part only the records there know (recover.go).

// carried names what a stop left in the log of uses; the zero value is nothing.
type carried struct {
	run     uint64
	segment uint64
}

// carry leaves what is not yet in Badger to the next start. When it can't, the
// log has everything still.
func (s *Store) carry() {
	if s.space.under(uint64(s.table.len()*useSize) + s.space.watermark) {
		return // there is no room to say it twice
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	c := carried{s.uses.run, s.uses.rotate()}
	for i := range s.table.shards {
		s.table.shards[i].restate()
	}
	var err error
	for slice := 0; slice < flushSlices && err == nil; slice++ {
		err = s.saveUses(slice)
	}
	if err == nil {
		err = s.uses.sync() // what is dropped has been in the kernel's hands for long
	}
	if err == nil {
		err = s.uses.drop(c.segment)
	}
	if err != nil {
		s.opts.Log.Warn("the next start counts in what is left of the uses", "error", err)
		return
	}
	s.carried = c
}

// takeCarried brings into the table, which is whole, what the last stop left;
// or leaves it to be recovered as after a kill, when the table could not be
// taken. Until then the log is told of no uses: they would not count what is
// still to come.
func (s *Store) takeCarried(taken bool) {
	if !s.carrying.Load() {
		return
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	defer s.carrying.Store(false)
	if !taken || s.isClosing() { // Close has saved already what came before
		return
	}
	c := s.left.moment.carried
	whole, err := s.uses.readSegment(c.segment, func(_ uint64, payload []byte) error {
		return eachUse(payload, -1, func(_ uint64, u oneUse, from Origin) {
			u.used = s.believe(u.used)
			s.table.bring(u, from)
		})
	})
	if err != nil || !whole {
		s.opts.Log.Warn("a log of uses does not verify; uses that it had are not counted", "file", s.uses.path(c.segment), "error", err)
	}
	s.uses.run, s.old.taken, s.restated = c.run, true, s.uses.bytes
}

// bring counts what a block says of a token that was not used since, or but a
// few times.
func (t *table) bring(u oneUse, from Origin) {
	sh := t.shard(u.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var usage *Usage
	if n, _, ok := sh.find(u.id); !ok { // it was revoked since
		d := sh.departed(u.id)
		d.used = max(d.used, u.used)
		usage = &d.usage
	} else if u.uses == 0 && !from.Address.IsValid() || sh.bring(sh.at(n), u, from) {
		return
	} else {
		usage = sh.beyond(u.id)
	}
	if u.uses > 0 {
		usage.count(dayOf(u.used.ms()), u.uses)
	}
	usage.saw(Seen{from, u.used.ms()})
}

// bring puts into a slot what it can hold.
func (sh *shard) bring(s *slot, u oneUse, from Origin) bool {
	if s.pending() || s.lastUse() != u.used || u.uses != int64(uint32(u.uses)) || sh.more[u.id] != nil {
		return false
	}
	if from.Address.IsValid() {
		if s.origin = sh.origins.of(from); s.origin == 0 {
			return false
		}
	}
	s.uses = uint32(u.uses)
	return true
}
