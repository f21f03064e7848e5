package storage

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/table"
)

// flushSlices is in how many parts uses are written: in one burst they would hold up
// callers that want a change just then. All of them are written in less than a
// second, so that a kill takes no more than those of a second even when a slice is late.
const (
	flushSlices = 16
	flushTick   = 800 * time.Millisecond / flushSlices
)

// flushEverySecond writes what uses and failed logins left in memory. A slice that
// took long does not make the next ones late.
func (s *Store) flushEverySecond() {
	defer s.closed.Done()
	due := time.Now().Add(flushTick)
	timer := time.NewTimer(flushTick)
	defer timer.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for slice := 0; ; slice = (slice + 1) % flushSlices {
		select {
		case <-timer.C:
			s.flushNow(ctx, slice)
		case <-s.closing:
			return
		}
		now := time.Now()
		if due = due.Add(flushTick); now.Sub(due) > flushSlices*flushTick {
			due = now // the machine slept
		}
		timer.Reset(due.Sub(now))
	}
}

func (s *Store) flushNow(ctx context.Context, slice int) {
	if slice == 0 {
		s.Now() // a jump of the clock is seen within a second
		s.rectify()
	}
	if s.space.Short() != nil {
		return // what was used stays in memory
	}
	if !isClosed(s.opened) || s.late != nil {
		s.flushing.Lock()
		defer s.flushing.Unlock()
		s.states.unsaved(slice, s.saveUses(slice))
		return
	}
	s.space.KeepBallast() // it may have been thrown out
	if s.lag.some.Load() {
		s.wakeWriter()
		return
	}
	err := s.saveSlice(slice)
	if slice == 0 {
		err = errors.Join(err, s.flushAttempts())
	}
	s.states.unsaved(slice, err)
	if slice == 0 {
		s.checkpointMeanwhile(ctx)
	}
}

// saveSlice writes the uses of one slice to their log, keeps the log short, and
// goes on merging.
func (s *Store) saveSlice(slice int) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.saveUses(slice); err != nil {
		return err
	}
	return errors.Join(s.restateSome(), s.mergeSome(flushTick/mergeShare))
}

// save writes to the log all that uses left in memory, and to Badger all that
// failed logins did.
func (s *Store) save() error { return errors.Join(s.saveAll(), s.flushAttempts()) }

// saveAll writes to the log all that uses left in memory.
func (s *Store) saveAll() error {
	var errs []error
	for slice := range flushSlices {
		s.flushing.Lock()
		errs = append(errs, s.saveUses(slice))
		s.flushing.Unlock()
	}
	return errors.Join(errs...)
}

// flush brings into Badger all that uses and failed logins left in memory.
func (s *Store) flush(ctx context.Context) error {
	if err := s.await(); err != nil {
		return err
	}
	select {
	case <-s.old.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	if s.old.err != nil {
		return s.old.err
	}
	if err := s.save(); err != nil {
		return err
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(time.Hour)
	}
	return s.mergeAll(end, s.closing)
}

// manyOrigins is how many of them a block may have before the next shard's come
// to it: of a slice they can be more than a block has numbers for.
const manyOrigins = 1 << 12

// saveUses writes the uses of one slice of the shards to their log.
func (s *Store) saveUses(slice int) (err error) {
	const each = table.Shards / flushSlices
	first := slice * each
	block := useBlock{slice: byte(slice), run: s.uses.run}
	for i := range each {
		if isClosed(s.compared) { // before, it would come to wait for the index: for seconds, which a kill takes
			runtime.Gosched() // requests come first; all of it takes a millisecond
		}
		s.table.Save(first+i, &block, s.order.noteUses)
		if len(block.tokens) == 0 || len(block.origins) < manyOrigins && i < each-1 {
			continue
		}
		if err = s.uses.append(block.payload()); err != nil {
			break
		}
		block = useBlock{slice: byte(slice), run: s.uses.run}
	}
	if err != nil {
		s.restating = nil // the log has not all that it was to be told
		for i := range each {
			s.table.Unsave(first + i)
		}
	}
	return err
}

func (s *Store) flushAttempts() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	err := s.writeEntries(s.takeAttempts())
	s.attempts.settle(err == nil)
	return err
}

func (s *Store) writeEntries(list []*badger.Entry) error {
	for part := range slices.Chunk(list, 1000) {
		size := 0
		for _, e := range part {
			size += 50 + len(e.Key) + len(e.Value)
		}
		if err := s.space.ready(size); err != nil {
			return err
		}
		err := s.db.Update(func(txn *badger.Txn) error {
			for _, e := range part {
				if err := txn.SetEntry(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
