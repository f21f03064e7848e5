package opening

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/marks"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// openIndex opens the index and brings it, and the table, up to the end of the journal. It
// fills a damaged index again.
func (o *Opening) openIndex() error {
	switch {
	case o.fresh:
		return o.create()
	case o.restored:
		return o.fill()
	}
	if o.partial {
		if err := o.verifyJournal(); err != nil {
			return err
		}
	}
	if o.Index.HasNote() {
		return o.fill()
	}
	err := o.catchUpIndex()
	if err == nil {
		err = o.loadTable()
	}
	if errors.As(err, new(*index.Fault)) {
		o.Log.Warn("the index is rebuilt from the journal", "because", err)
		return o.fill()
	}
	return err
}

// newIndex describes the index of a store: see the keys in package record.
func (o *Opening) newIndex() *index.Index {
	return index.New(index.Options{
		Dir: o.path(""), Seals: o.Seals, Space: o.Space, Log: o.Log,
		Closing: o.Closing, Yield: o.yield,
		Kinds: index.Kinds{
			Counted: record.Counted, Reported: [2]byte{'n', 't'}, Dense: "te", Sealed: record.SealedKinds,
			NewerKind: 'l', // an import writes last uses to the journal, but later uses are not in the journal
			Newer:     func(has, brings []byte) bool { return record.ParseLastUse(has) >= record.ParseLastUse(brings) },
		},
	})
}

// create makes the index of a new store. The file format comes last: files that a
// crash leaves before that are empty, and are created again.
func (o *Opening) create() error {
	if err := o.Index.OpenEmpty(); err != nil {
		return fmt.Errorf("make the index: %w", err)
	}
	if err := o.Index.Create(o.Journal.End()); err != nil {
		return err
	}
	// Otherwise a power failure takes the directory, and everything that was
	// synced in it.
	if err := errors.Join(disk.SyncDir(o.Dir), disk.SyncDir(filepath.Dir(o.Dir))); err != nil {
		return err
	}
	o.whole()
	return o.Marks.SetFormat()
}

// catchUpIndex opens the existing index. After a clean stop it does not read the
// index; compare does that later.
func (o *Opening) catchUpIndex() error {
	closed, err := o.Index.Open()
	if err != nil {
		return err
	}
	if err := o.placeIndex(); err != nil {
		return err
	}
	if !o.Marks.Current() {
		if err := o.bringUpToDate(); err != nil {
			return err
		}
		closed = false // read and compare all of it
	}
	if o.Closed = closed && o.Index.Position() == o.Journal.End(); o.Closed {
		return o.Index.Settle()
	}
	err = o.Index.CatchUp(record.Journal{Journal: o.Journal})
	o.matches = err == nil
	return err
}

// placeIndex compares the index's position with the journal.
func (o *Opening) placeIndex() error {
	at, last := o.Index.Position(), o.Journal.LastSequence()
	if at.Sequence > last {
		return fmt.Errorf("%w: the index has record %d, and the journal in %s ends with record %d: put back the newer journal, or %s",
			disk.ErrDamaged, at.Sequence, o.path("journal"), last, disk.RestoreAdvice)
	}
	switch err := o.Journal.Has(context.Background(), at); {
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
func (o *Opening) bringUpToDate() error {
	v, end, err := o.Index.Begin()
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
		return fmt.Errorf("%w: the store in %s is of another version of gatehouse, and nothing in it was changed: use the program that made it", err, o.path(""))
	}
	if err != nil {
		return index.FaultOf("read the index", err)
	}
	if former := o.Marks.Format(); former != "" {
		o.Log.Info("the store was upgraded; earlier versions of gatehouse refuse it from now on", "from", former, "to", marks.Format)
	}
	return o.Marks.SetFormat()
}

// closeMost is how long a damaged index may take to close before it is filled again.
const closeMost = 12 * time.Second

// fill fills the index and the table again, from the checkpoint and the journal. It
// removes nothing until it knows that these are sufficient.
func (o *Opening) fill() error {
	if first := o.Journal.FirstSequence(); first != 1 || o.restored {
		if err := o.Checkpoint.Completes(first); err != nil {
			return err
		}
	}
	if err := o.stillOpen(); err != nil {
		return err
	}
	if o.Index.IsOpen() {
		err := o.Index.Close(time.Now().Add(closeMost))
		if errors.Is(err, disk.ErrNoSpace) || errors.Is(err, disk.ErrNoDirectory) || errors.Is(err, disk.ErrUnavailable) || errors.Is(err, disk.ErrFailed) {
			return err // Badger is still at work
		}
	}
	if err := o.Index.OpenEmpty(); err != nil {
		return fmt.Errorf("rebuild the index: %w", err)
	}
	if o.File == nil {
		o.Table = table.New() // it may contain entries from the damaged index
	}
	err := o.Index.Fill(record.Journal{Journal: o.Journal}, o.Checkpoint.Put)
	o.matches = err == nil
	if err == nil {
		err = o.loadTable()
	}
	if errors.Is(err, disk.ErrClosed) {
		return err // the next start tries again
	}
	if err != nil {
		err = disk.NotRead("build the index in "+o.path("index")+" again from the checkpoint and the journal", err)
		if errors.Is(err, disk.ErrDamaged) {
			err = fmt.Errorf("%w: %s", err, disk.RestoreAdvice)
		}
		return err
	}
	return errors.Join(o.Marks.NoteFirstStart(o.Seals, o.Clock.Now()), o.Marks.SetFormat(),
		o.Index.RemoveNote(), o.Marks.ClearRestored(), disk.SyncDir(o.path("")))
}

// compare compares an index that is not yet compared. The store answers requests
// at the same time.
func (o *Opening) compare() {
	if !o.matches {
		if err := o.Index.Compare(); err != nil {
			if !errors.Is(err, disk.ErrClosed) {
				o.Index.NoteDamage(err)
			}
			return
		}
	}
	close(o.compared)
}

// yield lets requests use the processor that the walk has kept busy since start. When
// the store is open, nobody waits for the walk: it uses at most 1/25 of the time, and
// less when other work delays it.
func (o *Opening) yield(start time.Time) time.Time {
	runtime.Gosched()
	if disk.IsClosed(o.opened) {
		select {
		case <-time.After(min(24*time.Since(start), 100*time.Millisecond)):
		case <-o.Closing:
		}
	}
	return time.Now()
}
