package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse/storage/lasting"
)

// oldEvents is what is known of the events that are older than they are kept. They are
// dropped after a checkpoint, by segments of the journal. That can't be undone. So when
// the clock is in doubt, or many segments would go at once, nothing is dropped because
// of its age until an administrator confirms it. The bound on the journal's size holds
// all the same.
type oldEvents struct {
	covered atomic.Uint64 // the sequence of the last checkpoint
	agreed  atomic.Bool   // an administrator has said that they may go
	held    lasting.State
}

// More than fewSegments and more than one in segmentShare are many.
const (
	fewSegments  = 5
	segmentShare = 10
)

var (
	retention         = Actor{Name: "retention"}
	errTooManyOld     = errors.New("they are more than a tenth of the audit log, which is too much to be believed unseen")
	longAgo           = time.Time{} // before it nothing was written
	heldEventsMessage = "old events are not dropped until an administrator confirms it; see `gatehouse user offboard`"
)

func (s *Store) openOldEvents() {
	s.oldEvents.held = lasting.State{
		Log: s.opts.Log, Level: slog.LevelWarn,
		Begins: heldEventsMessage, Ends: "old events are no longer held",
	}
	s.oldEvents.covered.Store(s.lastCheckpoint().Sequence)
}

// HeldEvents returns how many events are older than they are kept and are not dropped,
// of how many, and why; no error if none is held.
func (s *Store) HeldEvents() (n, of int, why error) {
	_, n, of, why = s.lookAtOldEvents()
	return n, of, why
}

// lookAtOldEvents returns also before which time events may go.
func (s *Store) lookAtOldEvents() (before time.Time, n, of int, why error) {
	if s.opts.KeepEvents == 0 {
		return longAgo, 0, 0, nil
	}
	now, doubt := s.Now()
	before = now.Add(-s.opts.KeepEvents)
	segments, all, first := s.journal.Older(before, s.oldEvents.covered.Load())
	oldest, last := s.journal.FirstSequence(), s.journal.LastSequence()
	switch {
	case segments == 0 || first <= oldest:
		return before, 0, 0, nil
	case doubt != nil:
		why = doubt
	case segments > max(fewSegments, all/segmentShare) && !s.oldEvents.agreed.Load():
		why = errTooManyOld
	default:
		return before, 0, 0, nil
	}
	return before, int(first - oldest), int(last - oldest + 1), why
}

// tellOldEvents logs when events begin to be held, while they are, and when that ends.
func (s *Store) tellOldEvents() {
	n, of, why := s.HeldEvents()
	if why != nil && !s.oldEvents.held.Lasts() {
		s.Note(retention, Event{Action: ActionAuditHeld, Count: n, Detail: fmt.Sprintf("of %d events, held because %v; see `gatehouse user offboard`", of, why)})
	}
	s.oldEvents.held.Set(why, "events", n, "of", of)
}

// DropHeldEvents lets the events that are held go.
func (s *Store) DropHeldEvents(by Actor) error {
	n, _, why := s.HeldEvents()
	if why == nil {
		return nil
	}
	for s.checkpoint.busy.Swap(true) { // a checkpoint is being made, which drops events too
		if s.isClosing() {
			return ErrClosed
		}
		time.Sleep(20 * time.Millisecond)
	}
	defer s.checkpoint.busy.Store(false)
	s.Note(by, Event{Action: ActionAuditConfirm, Count: n})
	s.oldEvents.agreed.Store(true)
	defer s.oldEvents.agreed.Store(false)
	s.prune()
	s.tellOldEvents()
	return nil
}

// prune drops the events that need not be kept, and notes that in the audit log.
// Below its bound it goes by a sixteenth, so that not each change takes another
// checkpoint.
func (s *Store) prune() {
	first := s.journal.FirstSequence()
	before, _, _, held := s.lookAtOldEvents()
	if held != nil {
		before = longAgo
	}
	most := s.opts.MostEvents
	if s.journal.Size() > most {
		most -= most / 16
	}
	if _, err := s.journal.Prune(before, most, s.oldEvents.covered.Load()); err != nil {
		s.opts.Log.Error("the journal keeps old segments", "error", err)
	}
	if gone := s.journal.FirstSequence() - first; gone > 0 {
		s.Note(retention, Event{
			Action: ActionAuditPrune, Count: int(gone),
			Detail: fmt.Sprintf("events up to %d are no longer kept", s.journal.FirstSequence()-1),
		})
	}
}
