package storage

import (
	"errors"
	"fmt"
	"time"
)

// release lets go of what Open got hold of.
func (s *Store) release() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.closeIndex())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.Close())
	}
	if s.uses != nil {
		errs = append(errs, s.uses.close())
	}
	if s.left != nil {
		errs = append(errs, s.left.file.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// Close waits for the changes under way, flushes lastUsed and closes the
// store. Changes asked for later return ErrClosed.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.visible.Lock()
		close(s.closing)
		s.visible.Unlock()
		early := s.saveAll() // the index may still be being opened, and a second signal come
		s.closed.Wait()
		s.using.Wait()
		if s.late != nil {
			if errors.Is(s.late, ErrClosed) {
				s.late = nil // this is why
			}
			err = errors.Join(s.late, early, s.release())
			return
		}
		if s.space.under(floor) {
			s.space.drop() // the closing, too, writes a table
		}
		if s.space.under(floor) {
			// Badger is left as a kill would leave it, and dies with the process.
			s.db, err = nil, fmt.Errorf("close the index: %w", ErrNoSpace)
			err = errors.Join(err, s.release())
			return
		}
		err = s.flushLast()
		whole := err == nil && !s.lag.some.Load() && !s.failed.Load() && !s.broken.Load()
		err = errors.Join(err, s.closeIndex())
		s.db = nil
		if whole && err == nil && s.isLoaded() {
			err = s.leaveTableAtLast()
		}
		err = errors.Join(err, s.release())
	})
	return err
}

// leaveTableAtLast leaves the table as the next start would have to make it.
func (s *Store) leaveTableAtLast() error {
	segments, err := s.uses.segments()
	if err != nil {
		return err
	}
	m := tableMoment{position: s.journal.End(), carried: s.carried}
	if m.uses, _, err = s.uses.end(segments); err != nil {
		return err
	}
	return s.leaveTable(m)
}

// closeWithin is how long a stop may take to bring uses into Badger. What is
// left then, the next start takes over (carry.go).
const closeWithin = 2 * time.Second

func (s *Store) flushLast() error {
	if err := s.save(); err != nil {
		return err
	}
	if !s.old.recovered() {
		return nil
	}
	err := s.mergeAll(time.Now().Add(s.stopWithin), nil)
	switch {
	case errors.Is(err, errBusy):
		s.carry()
		return nil
	case errors.Is(err, ErrDamaged):
		s.damaged(err) // the uses stay in their log
		return nil
	}
	return err
}

// closeIndex gives up when a compaction can't end, since the disk is too full:
// Badger is then left as a kill would leave it.
func (s *Store) closeIndex() error {
	closed := make(chan error, 1)
	db := s.db
	go func() { closed <- db.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-closed:
			return err
		case <-tick.C:
			if s.space.waiting.Load() > 0 && s.space.short() {
				return fmt.Errorf("close the index: %w", ErrNoSpace)
			}
		}
	}
}
