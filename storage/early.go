package storage

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"gatehouse/storage/journal"
)

// All that a verification needs is in the table that the last stop or checkpoint
// left (tablefile.go) and in the journal since. To verify the index takes a
// second for some millions of tokens, and after a kill some ten; a server that
// opens the store early answers from the table meanwhile, and whoever needs the
// index waits. It is opened as it always is, before anybody reads it: so when it
// must be built anew, that takes longer, and nothing else.

// openEarly opens the journal and what there is of the table. It is false when
// nothing can be answered from that.
func (s *Store) openEarly(clean uint64) (bool, error) {
	if !s.opts.Early {
		return false, nil
	}
	if clean == 0 {
		return s.openBehind()
	}
	if err := s.openJournal(journal.Options{Known: clean, VerifyAfter: clean}); err != nil {
		return false, err
	}
	if s.journal.LastSequence() == clean {
		s.left = s.openTable(clean)
	}
	return s.left != nil, nil
}

// openBehind is openEarly after a stop that was not clean. The table is of an
// earlier moment than the journal's end, and the journal brings it up, but for
// the last uses, which it has not. Of the journal only what comes after the
// table is verified before that; the rest is before the index is opened.
func (s *Store) openBehind() (bool, error) {
	left := s.openTable(anyMoment)
	if left == nil {
		return false, nil
	}
	start := time.Now()
	if err := s.openJournal(journal.Options{Known: left.sequence, VerifyAfter: left.sequence}); err != nil {
		return false, errors.Join(err, left.file.Close())
	}
	if err := s.catchUpTable(left.sequence); err != nil {
		s.opts.Log.Debug("the table that was left is not taken", "because", err)
		s.forgetTable()
		err = errors.Join(s.journal.Close(), left.file.Close())
		s.journal = nil // the next one to open it verifies all of it
		return false, err
	}
	s.left, s.behind = left, true
	s.opts.Log.Info("the last stop was not clean; until the index is open, tokens are verified by the table that was left",
		"records", s.journal.LastSequence()-left.sequence, "took", time.Since(start).Round(time.Millisecond))
	return true, nil
}

// catchUpTable does to the table what the changes since have done. Its shards
// may be loaded afterwards: what is newer than the file stays.
func (s *Store) catchUpTable(after uint64) error {
	if first := s.journal.FirstSequence(); first > after+1 {
		return fmt.Errorf("the journal begins with record %d, and the table ends with %d", first, after)
	}
	err := s.journal.Replay(context.Background(), after, func(jr journal.Record) error {
		_, b, err := cutRecord(jr)
		if err == nil {
			_, err = eachOp(b, s.takeToTable)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("bring the table up to the journal: %w", err)
	}
	var dead []ID
	s.table.each(func(e entry) {
		if s.owners.at(e.owner).state == UserRemoved {
			dead = append(dead, e.id) // removed since it was made
		}
	})
	s.drop(dead...)
	return nil
}

// takeToTable brings into table and owners what an operation says of a token or
// a user.
func (s *Store) takeToTable(o op) error {
	if o.key[0] != 't' && o.key[0] != 'u' {
		return nil
	}
	if o.value == nil {
		return fmt.Errorf("%w: the journal takes the record %q away", ErrDamaged, o.key)
	}
	b, err := s.seals.open(o.key, o.value)
	if err != nil {
		return err
	}
	if o.key[0] == 'u' {
		v, _, err := parseOwner(decodeUserID(o.key[1:]), b)
		if err == nil {
			s.owners.set(v)
		}
		return err
	}
	t, err := parseTokenHead(ID(o.key[1:]), b)
	switch {
	case err != nil:
		return err
	case t.Revoked != 0 || s.keys.keys[t.ID.kid()] == nil:
		s.drop(t.ID)
		return nil
	}
	if v, n, ok := s.owners.find(t.Owner); ok && v.state != UserRemoved {
		s.table.put(entry{id: t.ID, generation: t.Generation, flags: t.head, owner: n, used: createdAt(t.Created)})
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
	if s.behind {
		s.late = s.verifyJournal()
	}
	if s.late == nil {
		s.late = s.openOrRebuild(s.clean)
	}
	s.late = explain(s.late)
	if s.late != nil && !errors.Is(s.late, ErrClosed) {
		s.opts.Log.Error("the store can't be opened", "error", s.late)
	}
}

// verifyJournal verifies what openBehind has not.
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
		return notRead("verify the journal", err)
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
