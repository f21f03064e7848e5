package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
)

// Retention drops old events, in whole segments of the journal: those that are past
// the time for which events are kept, and the oldest ones when all events take too
// much room. That can't be undone. So when the clock is in doubt, or many segments
// would go at once, it drops nothing because of age until an administrator confirms
// it. The bound on the size still holds.
type Retention struct {
	Options
	covered atomic.Uint64 // see Cover
	agreed  atomic.Bool   // an administrator has agreed to dropping them
	state   lasting.State
}

// Options say how a Retention works. All are required.
type Options struct {
	Journal *journal.Journal
	Keep    func() time.Duration      // how long events are kept; 0: for as long as there is room
	Most    func() int64              // bytes that they may take, in addition to the records that a rebuild needs; 0: no limit
	Now     func() (time.Time, error) // the error says why the clock is not trusted
	Note    func(record.Event)        // writes an event
	Failed  func(error)               // is told why old segments could not be dropped
	Log     *slog.Logger
}

// More than fewSegments and more than one in segmentShare are many.
const (
	fewSegments  = 5
	segmentShare = 10
)

var (
	errTooMany = errors.New("they are more than a tenth of the audit log, too many to drop without confirmation")
	longAgo    = time.Time{} // nothing was written before it
)

// NewRetention returns a Retention that drops nothing until [Retention.Cover] is called.
func NewRetention(o Options) *Retention {
	return &Retention{Options: o, state: lasting.State{
		Log: o.Log, Level: slog.LevelWarn,
		Begins: "old events are not dropped until an administrator confirms it; see `gatehouse user offboard`", Ends: "old events are no longer held",
	}}
}

// Cover says that the store can be built again from a checkpoint and the records after
// this one.
func (r *Retention) Cover(sequence uint64) { r.covered.Store(sequence) }

// Stop ends the log messages about held events.
func (r *Retention) Stop() { r.state.Stop() }

// Held returns how many events are old enough to be dropped but are held, out of
// how many, and why. The error is nil if no events are held.
func (r *Retention) Held() (n, of int, why error) {
	_, n, of, why = r.look()
	return n, of, why
}

// look also returns the time before which events may go.
func (r *Retention) look() (before time.Time, n, of int, why error) {
	keep := r.Keep()
	if keep == 0 {
		return longAgo, 0, 0, nil
	}
	now, doubt := r.Now()
	before = now.Add(-keep)
	segments, all, first := r.Journal.Older(before, r.covered.Load())
	oldest, last := r.Journal.FirstSequence(), r.Journal.LastSequence()
	switch {
	case segments == 0 || first <= oldest:
		return before, 0, 0, nil
	case doubt != nil:
		why = doubt
	case segments > max(fewSegments, all/segmentShare) && !r.agreed.Load():
		why = errTooMany
	default:
		return before, 0, 0, nil
	}
	return before, int(first - oldest), int(last - oldest + 1), why
}

// Tell logs when events begin to be held, while they are, and when that ends.
func (r *Retention) Tell() {
	n, of, why := r.Held()
	if why != nil && !r.state.Lasts() {
		r.Note(record.Event{Action: record.ActionAuditHeld, Count: n, Detail: fmt.Sprintf("of %d events, held because %v; see `gatehouse user offboard`", of, why)})
	}
	r.state.Set(why, "events", n, "of", of)
}

// PruneHeld is Prune after an administrator has agreed to dropping the held
// events.
func (r *Retention) PruneHeld() {
	r.agreed.Store(true)
	defer r.agreed.Store(false)
	r.Prune()
	r.Tell()
}

// Prune drops the events that need not be kept, and notes that in the audit log.
// It shrinks the journal to a sixteenth below its bound, so that not every change
// needs another checkpoint. Calls must not overlap.
func (r *Retention) Prune() {
	first := r.Journal.FirstSequence()
	before, _, _, held := r.look()
	if held != nil {
		before = longAgo
	}
	most := r.Most()
	if r.Journal.Size() > most {
		most -= most / 16
	}
	if _, err := r.Journal.Prune(before, most, r.covered.Load()); err != nil {
		r.Failed(err)
	}
	if gone := r.Journal.FirstSequence() - first; gone > 0 {
		r.Note(record.Event{
			Action: record.ActionAuditPrune, Count: int(gone),
			Detail: fmt.Sprintf("events up to %d are no longer kept", r.Journal.FirstSequence()-1),
		})
	}
}
