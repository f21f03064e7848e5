// Package audit reads the journal as the audit log: in order and as it grows, backwards from
// its end, and to prove that nothing in it was changed. It also drops the events that
// need not be kept any longer.
//
// It owns no file: the journal does. It never writes an event. While the clock is in
// doubt, or when very many events would go at once, it never drops events for their age
// until an administrator confirms it.
package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Log is the audit log.
type Log struct{ journal *journal.Journal }

// Of returns the audit log of a journal.
func Of(j *journal.Journal) Log { return Log{j} }

// Last returns the sequence of the latest durable record.
func (l Log) Last() uint64 { return l.journal.LastSequence() }

// Events yields the audit log after the given sequence, the oldest first.
func (l Log) Events(ctx context.Context, after uint64) iter.Seq2[record.Event, error] {
	return l.events(after, func(after uint64, one func(journal.Record) error) error {
		return l.journal.Replay(ctx, after, one)
	})
}

// Follow is like Events, and then goes on with each event as it becomes durable, until ctx
// ends.
func (l Log) Follow(ctx context.Context, after uint64) iter.Seq2[record.Event, error] {
	return l.events(after, func(after uint64, one func(journal.Record) error) error {
		for r, err := range l.journal.Follow(ctx, after) {
			if err == nil {
				err = one(r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (l Log) events(after uint64, read func(uint64, func(journal.Record) error) error) iter.Seq2[record.Event, error] {
	return func(yield func(record.Event, error) bool) {
		after = max(after, l.journal.FirstSequence()-1)
		stop := errors.New("stop")
		one := func(jr journal.Record) error {
			r, err := record.ParseEntry(jr)
			if err != nil {
				return err
			}
			if r.Event.Action != "" && !yield(r.Event, nil) {
				return stop
			}
			return nil
		}
		if err := read(after, one); err != nil && err != stop {
			yield(record.Event{}, err)
		}
	}
}

// Verified describes what a verification of the audit log has read.
type Verified struct {
	First, Last uint64 // the oldest record that is kept, and the latest
	End         string // the number and the hash of the latest, as atLeast takes them
}

// RolledBackError says that the audit log is intact but does not have a record that
// somebody has seen in it: it is from an older copy of the directory, or has continued
// from one.
type RolledBackError struct{ Message string }

func (e *RolledBackError) Error() string { return e.Message }

// Verify reads the whole chain of the audit log and, unless it is empty, looks for a
// record by the number and the hash that an earlier call gave. It returns disk.ErrDamaged
// as VerifyChain does, a *RolledBackError when the journal does not have that record, and a
// *record.InvalidError for an atLeast of another form.
func (l Log) Verify(ctx context.Context, atLeast string) (v Verified, err error) {
	end := l.journal.End()
	v = Verified{First: l.journal.FirstSequence(), Last: end.Sequence, End: end.String()}
	var known journal.Position
	if atLeast != "" {
		if known, err = journal.ParsePosition(atLeast); err != nil {
			return v, &record.InvalidError{Message: err.Error()}
		}
	}
	if err := l.VerifyChain(ctx); err != nil || atLeast == "" {
		return v, err
	}
	err = l.journal.Has(ctx, known)
	switch {
	case errors.Is(err, journal.ErrPruned):
		err = &RolledBackError{fmt.Sprintf("the audit log begins with record %d, so it can't be checked for record %d: use a later one", v.First, known.Sequence)}
	case errors.Is(err, journal.ErrElsewhere) && known.Sequence > v.Last:
		err = &RolledBackError{fmt.Sprintf("the audit log ends with record %d, before record %d: it is an older copy, or a backup was restored, and later records are gone", v.Last, known.Sequence)}
	case errors.Is(err, journal.ErrElsewhere):
		err = &RolledBackError{fmt.Sprintf("the audit log has a different record %d: it continues an older copy or a restored backup, without the later records", known.Sequence)}
	}
	return v, err
}

// VerifyChain reads the whole chain of the audit log. It returns disk.ErrDamaged,
// with file and offset, for the first thing that was changed.
func (l Log) VerifyChain(ctx context.Context) error {
	err := l.journal.Verify(ctx)
	if errors.As(err, new(*journal.CorruptError)) {
		return fmt.Errorf("%w: %w", disk.ErrDamaged, err)
	}
	return err
}
