package storage

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"gatehouse/storage/record"
)

// unmerged is what the log of uses had when the store was opened: what the
// program, the last time it ran, did not bring into Badger.
type unmerged struct {
	segments []uint64
	last     uint64        // the last block in them
	done     chan struct{} // closed when all of it is in Badger, or can't be brought in
	err      error         // why it can't; to be read when done is closed
}

// recovered reports whether all of it is in Badger.
func (u *unmerged) recovered() bool {
	return isClosed(u.done) && u.err == nil
}

// Counted is closed when the uses are counted that a kill had left in their
// log: some time after Open. Until then listings show fewer uses.
func (s *Store) Counted() <-chan struct{} { return s.old.done }

// raiseFromLog brings the last uses up to the log's, so that none goes back.
func (s *Store) raiseFromLog() error {
	return s.readOld(-1, func(_, _ uint64, u oneUse, _ Origin) { s.table.Raise(u.id, s.believe(u.used)) })
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
	defer close(s.old.done)
	if s.old.err = s.recoverAll(); s.old.err != nil && !s.isClosing() {
		s.opts.Log.Error("uses of before the start are not counted; the next start tries again", "error", s.old.err)
	}
	if errors.Is(s.old.err, ErrDamaged) && !s.broken.Load() {
		s.damaged(s.old.err)
	}
}

func (s *Store) recoverAll() error {
	if s.await() != nil {
		return ErrClosed
	}
	if len(s.old.segments) == 0 {
		return nil
	}
	select {
	case <-s.loaded: // which requests wait for
	case <-s.unloadable:
		if !s.isLoaded() {
			return fmt.Errorf("%w: not all tokens could be loaded", ErrDamaged)
		}
	case <-s.closing:
		return ErrClosed
	}
	for slice := range flushSlices {
		if err := s.recoverSlice(slice); err != nil {
			return err
		}
	}
	debug.FreeOSMemory() // of all that was found at once
	s.flushing.Lock()
	defer s.flushing.Unlock()
	return s.uses.drop(s.uses.run)
}

func (s *Store) recoverSlice(slice int) error {
	found := map[ID]*recovered{}
	err := s.readOld(slice, func(block, run uint64, u oneUse, from Origin) {
		r := found[u.id]
		if r == nil {
			r = new(recovered)
			found[u.id] = r
		}
		r.add(pastUse{block, run, u, from})
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(slices.Collect(maps.Keys(found)), mergeBatch) {
		for err := errBusy; err != nil; {
			if s.isClosing() {
				return ErrClosed
			}
			start := time.Now()
			err = s.recoverSome(part, found)
			switch {
			case err == nil:
				worked := time.Since(start)
				start = time.Now()
				runtime.Gosched() // requests come first: who keeps it waiting has it pause
				s.pause(min(worked+40*time.Since(start), 20*time.Millisecond))
			case errors.Is(err, errBusy), errors.Is(err, ErrNoSpace):
				time.Sleep(time.Millisecond)
			default:
				return err
			}
		}
	}
	return nil
}

func (s *Store) recoverSome(ids []ID, found map[ID]*recovered) error {
	if !s.merges.TryLock() {
		return errBusy
	}
	defer s.merges.Unlock()
	limit, instead := s.plausible()
	return s.writeUsages(s.old.last, ids, func(id ID, r *record.UsageRecord) { found[id].bring(r, limit, instead) })
}

// recovered is what the old segments have of one token.
type recovered []pastUse

type pastUse struct {
	block, run uint64
	oneUse
	from Origin
}

// add notes what a block says, in the order of the blocks. What the one before
// said goes if nothing of it is needed any more: a token that is used all the
// time is in a block of each second.
func (p *recovered) add(u pastUse) {
	if n := len(*p) - 1; n >= 0 && u.covers((*p)[n]) {
		(*p)[n] = u
		return
	}
	*p = append(*p, u)
}

// covers reports whether a use says all that an earlier one does.
func (u pastUse) covers(v pastUse) bool {
	return u.run == v.run && u.from == v.from && record.DayOf(u.used.Ms()) == record.DayOf(v.used.Ms()) && u.uses >= v.uses && u.used >= v.used
}

// bring adds to a token's usage what it does not count yet: of each run and day
// the most that was said.
func (p recovered) bring(r *record.UsageRecord, limit, instead int64) {
	type when struct {
		run uint64
		day int32
	}
	most := map[when]int64{}
	for _, u := range p {
		if u.block <= r.Mark {
			continue
		}
		used := u.used.Believed(limit, instead)
		r.Used = max(r.Used, used)
		r.Saw(Seen{Origin: u.from, Time: used.Ms()})
		at := when{u.run, record.DayOf(u.used.Ms())}
		most[at] = max(most[at], u.uses)
	}
	for at, n := range most {
		if n > 0 {
			r.Count(at.day, n) // believed by what reads it
		}
	}
}
