package storage

import (
	"context"
	"errors"
	"fmt"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/marks"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"path/filepath"
	"runtime"
	"time"
)

// openIndex opens the index and brings it, and the table, up to the end of the log. It
// fills a damaged index again.
func (o *opening) openIndex() error {
	s := o.s
	switch {
	case o.fresh:
		return o.create()
	case o.restored:
		return o.fill()
	}
	if o.partial {
		if err := o.verifyLog(); err != nil {
			return err
		}
	}
	if s.index.HasNote() {
		return o.fill()
	}
	err := o.catchUpIndex()
	if err == nil {
		err = o.loadTable()
	}
	if errors.As(err, new(*index.Fault)) {
		s.opts.Log.Warn("the index is rebuilt from the journal", "because", err)
		return o.fill()
	}
	return err
}

// create makes the index of a new store. The file format comes last: files that a
// crash leaves before that are empty, and are created again.
func (o *opening) create() error {
	s := o.s
	if err := s.index.OpenEmpty(); err != nil {
		return fmt.Errorf("make the index: %w", err)
	}
	if err := s.index.Create(s.journal.End()); err != nil {
		return err
	}
	// Otherwise a power failure takes the directory, and everything that was
	// synced in it.
	if err := errors.Join(disk.SyncDir(s.dir), disk.SyncDir(filepath.Dir(s.dir))); err != nil {
		return err
	}
	o.whole()
	return s.marks.SetFormat()
}

// catchUpIndex opens the existing index. After a clean stop it does not read the
// index; compare does that later.
func (o *opening) catchUpIndex() error {
	s := o.s
	closed, err := s.index.Open()
	if err != nil {
		return err
	}
	if err := o.placeIndex(); err != nil {
		return err
	}
	if !s.marks.Current() {
		if err := o.bringUpToDate(); err != nil {
			return err
		}
		closed = false // read and compare all of it
	}
	if closed && s.index.Position() == s.journal.End() {
		return s.index.Settle()
	}
	err = s.index.CatchUp(record.Log{Journal: s.journal})
	o.matches = err == nil
	return err
}

// placeIndex compares the index's position with the log.
func (o *opening) placeIndex() (err error) {
	s := o.s
	at, last := s.index.Position(), s.journal.LastSequence()
	if at.Sequence > last {
		return fmt.Errorf("%w: the index has record %d, and the journal in %s ends with record %d: put back the newer journal, or %s",
			ErrDamaged, at.Sequence, s.path("journal"), last, disk.RestoreAdvice)
	}
	if s.index.Hashed() {
		err = s.journal.Has(context.Background(), at)
	} else { // format 1
		_, err = s.journal.At(context.Background(), at.Sequence)
	}
	switch {
	case errors.Is(err, journal.ErrElsewhere), errors.Is(err, journal.ErrPruned):
		return &index.Fault{Err: err}
	case err != nil:
		return disk.NotRead("compare the index with the journal", err)
	}
	return nil
}

// bringUpToDate makes sure that this program can read every record of a store of the
// former format. Only then does it note the new format: from that moment the store
// begins to change. (A release once changed the form of records without a new
// number: verification went on, and logins failed after every start.)
func (o *opening) bringUpToDate() error {
	s := o.s
	v, end, err := s.index.Begin()
	if err != nil {
		return err
	}
	defer end()
	for _, kind := range []byte(record.Parsed) {
		if err == nil {
			err = v.Each([]byte{kind}, record.Check)
		}
	}
	if errors.As(err, new(*record.FormError)) {
		return fmt.Errorf("%w: the store in %s is of another version of gatehouse, and nothing in it was changed: use the program that made it", err, s.path(""))
	}
	if err != nil {
		return index.FaultOf("read the index", err)
	}
	if former := s.marks.Former(); former != "" {
		s.opts.Log.Info("the store was upgraded; earlier versions of gatehouse refuse it from now on", "from", former, "to", marks.Format)
	}
	return s.marks.SetFormat()
}

// fill fills the index and the table again, from the checkpoint and the log. It
// removes nothing until it knows that these are sufficient.
func (o *opening) fill() error {
	s := o.s
	if first := s.journal.FirstSequence(); first != 1 || o.restored {
		if err := s.checkpoints.file.Completes(first); err != nil {
			return err
		}
	}
	if s.index.IsOpen() {
		err := s.stop.closeIndex()
		if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNoDirectory) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFailed) {
			return err // Badger is still at work
		}
	}
	if err := s.index.OpenEmpty(); err != nil {
		return fmt.Errorf("rebuild the index: %w", err)
	}
	if o.file == nil {
		s.table = table.New() // it may contain entries from the damaged index
	}
	err := s.index.Fill(record.Log{Journal: s.journal}, s.checkpoints.file.Put)
	o.matches = err == nil
	if err == nil {
		err = o.loadTable()
	}
	if errors.Is(err, ErrClosed) {
		return err // the next start tries again
	}
	if err != nil {
		err = disk.NotRead("build the index in "+s.path("index")+" again from the checkpoint and the journal", err)
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %s", err, disk.RestoreAdvice)
		}
		return err
	}
	return errors.Join(s.marks.NoteFirstStart(s.seals, s.clock.Now()), s.marks.SetFormat(),
		s.index.RemoveNote(), s.marks.ClearRestored(), disk.SyncDir(s.path("")))
}

// compare compares an index that is not yet compared. The store answers requests
// at the same time.
func (o *opening) compare() {
	if !o.matches {
		if err := o.s.index.Compare(); err != nil {
			if !errors.Is(err, ErrClosed) {
				o.s.index.NoteDamage(err)
			}
			return
		}
	}
	close(o.compared)
}

// yield lets requests use the processor that the walk has kept busy since start. When
// the store is open, nobody waits for the walk: it uses at most 1/25 of the time, and
// less when other work delays it.
func (o *opening) yield(start time.Time) time.Time {
	runtime.Gosched()
	if isClosed(o.opened) {
		select {
		case <-time.After(min(24*time.Since(start), 100*time.Millisecond)):
		case <-o.s.closing:
		}
	}
	return time.Now()
}
