package storage

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// release lets go of what Open got hold of.
func (s *Store) release() error {
	s.times.wrong.Stop()
	s.oldEvents.held.Stop()
	s.states.stop()
	var errs []error
	if s.db != nil {
		errs = append(errs, s.closeIndex())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	if s.useLog != nil {
		errs = append(errs, s.useLog.Close())
	}
	if s.left != nil {
		errs = append(errs, s.left.Close())
	}
	return errors.Join(append(errs, s.space.Close(), s.lock.Close())...)
}

// Close waits for the changes under way, flushes lastUsed and closes the
// store. Changes asked for later return ErrClosed.
//
// It returns within 15 seconds, whatever the disk does: Badger tries forever to write
// what it has in memory, and a disk may not answer at all. The error then says what is
// not written. The caller should end the process, as a kill would: what was acknowledged
// is in the journal, and the next start reads it there.
func (s *Store) Close() (err error) {
	s.once.Do(func() {
		s.stop.start()
		defer s.states.stop()
		closed := make(chan error, 1)
		go func() { closed <- s.close() }()
		select {
		case err = <-closed:
		case <-time.After(closeMost):
			err = fmt.Errorf("the store is not closed after %v, since its disk does not answer: it was to %s", closeMost, s.stop.what())
		}
	})
	return err
}

const (
	// closeMost is how long Close may take.
	closeMost = 15 * time.Second
	// closeIndexMost is how much of that Badger may take: the rest is to leave the other
	// files in good order.
	closeIndexMost = 12 * time.Second
	// closeTries is how often Badger may try to write what it has in memory: once a second.
	closeTries = 4
)

// stopping tells how far Close has come.
type stopping struct {
	end  time.Time // for Badger
	step atomic.Pointer[string]
}

func (s *stopping) start() { s.end = time.Now().Add(closeIndexMost) }

func (s *stopping) to(step string) { s.step.Store(&step) }

func (s *stopping) what() string {
	if step := s.step.Load(); step != nil {
		return *step
	}
	return "begin"
}

func (s *Store) close() error {
	s.stop.to("finish the changes under way")
	s.quit()
	early := s.uses.SaveAll() // the index may still be being opened, and a second signal come
	s.closed.Wait()
	s.using.Wait()
	if s.late != nil {
		if errors.Is(s.late, ErrClosed) {
			s.late = nil // this is why
		}
		return errors.Join(s.late, early, s.release())
	}
	if s.space.Lack(floor) != nil {
		s.space.DropBallast() // the closing, too, writes a table
	}
	if err := s.space.Lack(floor); err != nil {
		// Badger is left as a kill would leave it, and dies with the process.
		s.db = nil
		return errors.Join(early, fmt.Errorf("close the index: %w", err), s.release())
	}
	s.stop.to("write the last uses")
	err := s.flushLast()
	whole := err == nil && !s.lag.some.Load() && s.writer.failed.Load() == nil && !s.broken.Load()
	err = errors.Join(err, s.closeIndex())
	s.db = nil
	if whole && err == nil && s.isLoaded() {
		s.stop.to("write the table of tokens")
		err = s.leaveTableAtLast()
	}
	if err == nil {
		s.stop.to("write what is known of the clock")
		s.closeTimes()
	}
	return errors.Join(err, s.release())
}

// leaveTableAtLast leaves the table as the next start would have to make it.
func (s *Store) leaveTableAtLast() error {
	end, err := s.useLog.End()
	if err != nil {
		return err
	}
	return s.leaveTable(table.Moment{Position: s.journal.End(), Uses: end})
}

// closeWithin is how long a stop may take to bring uses into Badger. What is
// left then stays in their log, and the next start recovers it as after a kill.
const closeWithin = 2 * time.Second

func (s *Store) flushLast() error {
	if err := s.save(); err != nil {
		return fmt.Errorf("the last uses are not all written: %w", err)
	}
	if !s.uses.Recovered() {
		return nil
	}
	err := s.uses.Merge(time.Now().Add(s.stopWithin), func() error { return nil })
	switch {
	case errors.Is(err, uses.ErrBusy):
		return nil
	case errors.Is(err, ErrDamaged):
		s.damaged(err) // the uses stay in their log
		return nil
	}
	return err
}

// closeIndex gives up when Badger can't end, since a compaction waits for room on the
// disk, or its last writes go on failing: Badger is then left as a kill would leave it.
func (s *Store) closeIndex() error {
	s.stop.to("close the index")
	closed := make(chan error, 1)
	db, before := s.db, s.badgerSaid.failed.Load()
	go func() { closed <- db.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := s.stop.end
	if end.IsZero() { // it is closed to be built again
		end = time.Now().Add(closeIndexMost)
	}
	for {
		select {
		case err := <-closed:
			return err
		case now := <-tick.C:
			if why := s.space.Short(); why != nil && s.space.waiting.Load() > 0 {
				return fmt.Errorf("close the index: %w", why)
			}
			if now.After(end) || s.badgerSaid.failed.Load()-before >= closeTries {
				return fmt.Errorf("%w: the index does not close: %s", ErrFailed, s.badgerSaid.latest())
			}
		}
	}
}
