package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// A start is one sequence, after a stop as after a kill; a stop only leaves less
// to catch up with:
//
//	the log    is opened, and verified from the table's position on
//	the table  is loaded from its file, catches up with the log, and verification
//	           answers; when it lacks last uses, these are raised from theirs
//	the log    is verified in full, unless a stop left the table at its end
//	the index  is verified and opened, and catches up, or is built again
//	the uses   that are in their log, and not in the index, are brought in
//
// Table, index and checkpoint each name the position of the log up to which they
// have all records, and are compared with the log. One that is behind catches up.
// One of a position that the log does not have is of another history: it is built
// again. One that is ahead proves that the log has lost records that were
// acknowledged, and the store is refused. No file vouches for another: two that
// were put back from an older copy would agree with each other.
//
// To verify the index takes a second for some millions of tokens, and after a kill
// some ten. A server that opens the store early answers from the table meanwhile;
// callers that need the index wait.

// openTruth opens the log and what is made of it, except for the index of a store
// that is opened early.
func (s *Store) openTruth(fresh bool) error {
	if fresh {
		return s.create()
	}
	if disk.Exists(s.path("restored")) {
		// A restore leaves none of these; the first start after it makes them later.
		for _, name := range []string{"index", "table", "format"} {
			if !disk.Exists(s.path("journal")) && disk.Exists(s.path(name)) {
				return s.journalGone()
			}
		}
		return s.rebuild()
	}
	if err := s.openLog(); err != nil {
		return err
	}
	if s.early = s.opts.Early && s.left != nil; s.early {
		return nil
	}
	return s.openRest()
}

// openLog opens the journal, and takes the table that was left if it saves work.
func (s *Store) openLog() error {
	left, err := table.Open(s.path("table"), s.seals)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Log.Debug("the table that was left is not taken", "because", err)
	}
	// The oldest records that a table or a checkpoint has must still be there.
	o := journal.Options{Known: s.lastCheckpoint().Sequence}
	if left != nil {
		o.Known, o.VerifyAfter = max(o.Known, left.Position.Sequence), left.Position.Sequence
	}
	err = s.openJournal(o)
	if err == nil && left != nil {
		s.takeTable(left)
	}
	if s.left == nil && left != nil {
		err = errors.Join(err, left.Close())
		s.forgetTable() // it may have some of the users
	}
	return err
}

// takeTable takes the table, unless it is of no use. One that lacks changes or uses
// serves only until the index is open, so it is of no use to a start that waits
// for that.
func (s *Store) takeTable(left *table.File) {
	whole := left.Uses != 0 && left.Uses == s.useLog.Found() && left.Position == s.journal.End()
	s.unverified = !whole
	if !whole && !s.opts.Early {
		return
	}
	err := s.journal.Has(context.Background(), left.Position)
	if err == nil {
		err = left.Users(s.table, s.keys.Has, !whole)
	}
	if err == nil && !whole {
		err = s.catchUpTable(left.Position.Sequence)
	}
	if err != nil {
		s.opts.Log.Warn("the table that was left is not taken, and the start takes longer", "because", err)
		return
	}
	s.left, s.behind = left, !whole
	if s.behind {
		s.opts.Log.Info("the last stop was not clean; until the index is open, tokens are verified by the table that was left",
			"records", s.journal.LastSequence()-left.Position.Sequence)
	}
}

// journalGone refuses a store that has all but its truth.
func (s *Store) journalGone() error {
	return fmt.Errorf("%w: the journal in %s is missing: put it back, or %s",
		ErrDamaged, s.path("journal"), disk.RestoreAdvice)
}

// openRest opens what openLog has not.
func (s *Store) openRest() error {
	if s.unverified {
		if err := s.verifyJournal(); err != nil {
			return err
		}
	}
	if disk.Exists(s.path("damaged")) {
		return s.rebuild()
	}
	err := s.openIndex()
	if !errors.As(err, new(*indexError)) {
		return err
	}
	s.opts.Log.Warn("the index is built again from the journal", "because", err)
	return s.rebuild()
}

// catchUpTable applies every later change to the table. Its shards
// may be loaded afterwards: what is newer than the file stays.
func (s *Store) catchUpTable(after uint64) error {
	err := s.journal.Replay(context.Background(), after, func(jr journal.Record) error {
		_, b, err := record.CutEntry(jr)
		if err == nil {
			_, err = record.EachOp(b, s.takeToTable)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("bring the table up to the journal: %w", err)
	}
	var dead []ID
	s.table.Each(func(e table.Entry) {
		if s.table.Owners.At(e.Owner).State == UserRemoved {
			dead = append(dead, e.ID) // removed since it was made
		}
	})
	s.drop(dead...)
	return nil
}

// takeToTable brings into table and owners what an operation says of a token or
// a user.
func (s *Store) takeToTable(o record.Op) error {
	if o.Key[0] != 't' && o.Key[0] != 'u' {
		return nil
	}
	if o.Value == nil && o.Key[0] == 't' {
		s.drop(ID(o.Key[1:])) // it was revoked, and only its end is kept
		return nil
	}
	if o.Value == nil {
		return fmt.Errorf("%w: the journal takes the record %q away", ErrDamaged, o.Key)
	}
	b, err := s.seals.Open(o.Key, o.Value)
	if err != nil {
		return err
	}
	if o.Key[0] == 'u' {
		v, _, err := record.ParseOwner(record.DecodeUserID(o.Key[1:]), b)
		if err == nil {
			s.table.Owners.Set(v)
		}
		return err
	}
	t, err := record.ParseTokenHead(ID(o.Key[1:]), b)
	switch {
	case err != nil:
		return err
	case t.Revoked != 0 || !s.keys.Has(t.ID[0]):
		s.drop(t.ID)
		return nil
	}
	if v, n, ok := s.table.Owners.Find(t.Owner); ok && v.State != UserRemoved {
		s.table.Put(table.Entry{ID: t.ID, Generation: t.Generation, Flags: t.Flags, Owner: n, Used: s.believe(record.CreatedAt(t.Created))})
	}
	return nil
}

// openLate opens the index of a store that was opened early, when the table
// answers already.
func (s *Store) openLate() {
	if isClosed(s.opened) {
		return
	}
	defer close(s.opened)
	s.late = disk.Explain(s.openRest())
	if s.late != nil && !errors.Is(s.late, ErrClosed) {
		s.opts.Log.Error("the store can't be opened", "error", s.late)
	}
}

// verifyJournal verifies also what comes before the table.
func (s *Store) verifyJournal() error {
	n := 0
	err := s.journal.Replay(context.Background(), s.journal.FirstSequence()-1, func(journal.Record) error {
		if n++; n%64 != 0 {
			return nil
		}
		runtime.Gosched() // to whoever has a token verified
		if s.isClosing() {
			return ErrClosed
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		return disk.NotRead("verify the journal", err)
	}
	return err
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
