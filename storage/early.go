package storage

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/storage/journal"
)

// After a clean stop all that a verification needs is in the table that it left
// (tablefile.go). To verify the index takes a second for some millions of
// tokens; a server that opens the store early answers from the table meanwhile,
// and whoever needs the index waits. It is opened as it always is, before
// anybody reads it: so when it must be built anew, that takes longer, and
// nothing else.

// openEarly opens the journal and what the last stop left of the table. It is
// false when nothing can be answered from that.
func (s *Store) openEarly(clean uint64) (bool, error) {
	if !s.opts.Early || clean == 0 {
		return false, nil
	}
	if err := s.openJournal(journal.Options{Known: clean, VerifyAfter: clean}); err != nil {
		return false, err
	}
	if s.journal.LastSequence() == clean {
		s.left = s.openTable(clean)
	}
	return s.left != nil, nil
}

// openLate opens the index of a store that was opened early, when the table
// answers already.
func (s *Store) openLate() {
	if s.clean == 0 {
		return
	}
	defer close(s.opened)
	if s.late = s.openOrRebuild(s.clean); s.late != nil && !errors.Is(s.late, ErrClosed) {
		s.opts.Log.Error("the store can't be opened", "error", s.late)
	}
}

// await waits until the index is open. It returns why it can't be opened, or
// ErrClosed.
func (s *Store) await() error {
	if isClosed(s.opened) {
		return s.late // also when the store is closing
	}
	select {
	case <-s.opened:
		return s.late
	case <-s.closing:
		return ErrClosed
	}
}

// Opened waits until a store that was opened early is open in full, or the
// context ends, which is ErrOpening. Another error says that it can't be opened:
// then its user does best to close it.
func (s *Store) Opened(ctx context.Context) error {
	if isClosed(s.opened) {
		return s.late
	}
	select {
	case <-s.opened:
		return s.late
	case <-ctx.Done():
		return ErrOpening
	}
}

// IsOpen reports whether all of the store is open.
func (s *Store) IsOpen() bool { return isClosed(s.opened) && s.late == nil }

// failedLate is why the index can't be opened, if that is known.
func (s *Store) failedLate() error {
	if isClosed(s.opened) {
		return s.late
	}
	return nil
}

// openJournalFor opens the journal, which must have all that the index has. It
// may be open already.
func (s *Store) openJournalFor(clean uint64) error {
	known := max(s.marks.last, clean)
	if s.journal == nil {
		return s.openJournal(journal.Options{Known: known, VerifyAfter: clean})
	}
	if last := s.journal.LastSequence(); last < known {
		return fmt.Errorf("%w: the index has record %d, and the journal ends with %d: restore a backup", ErrDamaged, known, last)
	}
	return nil
}

// errPast is of an index that is not of the moment of the last stop.
var errPast = &indexError{errors.New("it is not of the moment of the last stop")}
