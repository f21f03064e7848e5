package storage

import (
	"maps"
	"slices"
	"time"
)

// unmerged is what the log of uses had when the store was opened: what the
// program, the last time it ran, did not bring into Badger.
type unmerged struct {
	segments []uint64
	last     uint64        // the last block in them
	done     chan struct{} // closed when all of it is in Badger
}

// raiseFromLog brings the last uses up to the log's, so that none goes back.
func (s *Store) raiseFromLog() error {
	return s.readOld(-1, func(_, _ uint64, u oneUse, _ Origin) { s.table.raise(u.id, u.used) })
}

// readOld reads the old segments. What does not verify at the end of one was
// being written when the program was killed, or is lost.
func (s *Store) readOld(slice int, fn func(block, run uint64, u oneUse, from Origin)) error {
	for _, first := range s.old.segments {
		whole, err := s.uses.readSegment(first, func(number uint64, payload []byte) error {
			s.old.last = max(s.old.last, number)
			return eachUse(payload, slice, func(run uint64, u oneUse, from Origin) { fn(number, run, u, from) })
		})
		if err != nil {
			return err
		}
		if !whole && slice <= 0 {
			s.opts.Log.Warn("the end of a log of uses does not verify; uses that it had are not counted", "file", s.uses.path(first))
		}
	}
	return nil
}

// recoverUses brings the old segments into Badger, slice by slice, and then
// removes them. Until then nothing newer is merged: a record's mark must not
// pass what it does not count.
func (s *Store) recoverUses() {
	defer s.closed.Done()
	if len(s.old.segments) == 0 {
		close(s.old.done)
		return
	}
	select {
	case <-s.loaded: // which requests wait for
	case <-s.closing:
		return
	}
	for slice := range flushSlices {
		if err := s.recoverSlice(slice); err != nil {
			if !s.isClosing() {
				s.opts.Log.Error("uses of before the start are not yet counted; the next start tries again", "error", err)
			}
			return
		}
	}
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.uses.drop(s.uses.run); err != nil {
		s.opts.Log.Error("remove an old log of uses", "error", err)
	}
	close(s.old.done)
}

func (s *Store) recoverSlice(slice int) error {
	found := map[ID]*recovered{}
	err := s.readOld(slice, func(block, run uint64, u oneUse, from Origin) {
		r := found[u.id]
		if r == nil {
			r = new(recovered)
			found[u.id] = r
		}
		*r = append(*r, pastUse{block, run, u, from})
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(slices.Collect(maps.Keys(found)), mergeBatch) {
		for err := errBusy; err != nil; { // somebody may be reading
			if s.isClosing() {
				return ErrClosed
			}
			if !s.merges.TryLock() {
				time.Sleep(time.Millisecond)
				continue
			}
			start := time.Now()
			err = s.writeUsages(s.old.last, part, func(id ID, r *usageRecord) { found[id].bring(r) })
			s.merges.Unlock()
			if err != nil {
				return err
			}
			time.Sleep(time.Since(start)) // half of the time is for requests
		}
	}
	return nil
}

// recovered is what the old segments have of one token.
type recovered []pastUse

type pastUse struct {
	block, run uint64
	oneUse
	from Origin
}

// bring adds to a token's usage what it does not count yet: of each run and day
// the most that was said.
func (p recovered) bring(r *usageRecord) {
	type when struct {
		run uint64
		day int32
	}
	most := map[when]int64{}
	for _, u := range p {
		if u.block <= r.mark {
			continue
		}
		r.used = max(r.used, u.used)
		r.saw(Seen{u.from, u.used.ms()})
		at := when{u.run, dayOf(u.used.ms())}
		most[at] = max(most[at], u.uses)
	}
	for at, n := range most {
		if n > 0 {
			r.count(at.day, n)
		}
	}
}
