package storage

import (
	"context"
	"errors"
	"time"

	"gatehouse/storage/uses"
)

// flushTick is how often a slice of the uses is written. All of them are written in
// less than a second, so that a kill takes no more than those of a second even when a
// slice is late. mergeTick is how much of that brings uses into the index.
const (
	flushTick = 800 * time.Millisecond / uses.Slices
	mergeTick = flushTick / 200
)

// upkeep brings what is in memory to where it lasts: each second uses to their log,
// and failed logins to the index, and at leisure uses to the index.
type upkeep struct{ s *Store }

// run writes what uses and failed logins left in memory. A slice that
// took long does not make the next ones late.
func (u *upkeep) run() {
	defer u.s.closed.Done()
	due := time.Now().Add(flushTick)
	timer := time.NewTimer(flushTick)
	defer timer.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for slice := 0; ; slice = (slice + 1) % uses.Slices {
		select {
		case <-timer.C:
			u.tick(ctx, slice)
		case <-u.s.closing:
			return
		}
		now := time.Now()
		if due = due.Add(flushTick); now.Sub(due) > uses.Slices*flushTick {
			due = now // the machine slept
		}
		timer.Reset(due.Sub(now))
	}
}

func (u *upkeep) tick(ctx context.Context, slice int) {
	s := u.s
	if slice == 0 {
		s.Now() // a jump of the clock is seen within a second
		if isClosed(s.opening.loaded) {
			s.clock.rectify(s.table)
		}
	}
	if s.space.Short() != nil {
		return // what was used stays in memory
	}
	if !isClosed(s.opening.opened) || s.opening.err != nil {
		s.states.unsaved(slice, s.uses.Save(slice))
		return
	}
	s.space.KeepBallast() // it may have been thrown out
	if s.index.Behind() != nil {
		s.writer.wake()
		return
	}
	// A broken index is built again: nothing is brought into it.
	err := s.uses.Tick(slice, !s.index.Damaged(), mergeTick)
	if errors.Is(err, ErrDamaged) {
		s.index.NoteDamage(err)
		err = nil
	}
	if slice == 0 {
		err = errors.Join(err, s.memory.Save())
	}
	s.states.unsaved(slice, err)
	if slice == 0 {
		s.checkpoints.start(ctx)
	}
}

// save writes to the log all that uses left in memory, and to Badger all that
// failed logins did.
func (u *upkeep) save() error { return errors.Join(u.s.uses.SaveAll(), u.s.memory.Save()) }

// flush brings into Badger all that uses and failed logins left in memory.
func (u *upkeep) flush(ctx context.Context) error {
	s := u.s
	if err := s.opening.await(); err != nil {
		return err
	}
	select {
	case <-s.uses.Counted():
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	if err := s.uses.Err(); err != nil {
		return err
	}
	if err := u.save(); err != nil {
		return err
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(time.Hour)
	}
	return s.uses.Merge(end, s.stillOpen)
}
