package opening

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

// openJournal opens the journal, and takes the existing table if that saves work.
func (o *Opening) openJournal() error {
	switch {
	case o.fresh:
		return o.openAs(journal.Options{Create: true})
	case o.restored:
		return o.openRestored()
	}
	file, err := table.Open(o.path("table"), o.Seals)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Debug("the saved table can't be used", "because", err)
	}
	// The oldest records that a table or a checkpoint has must still be there.
	opts := journal.Options{Known: o.Checkpoint.Last().Sequence}
	if file != nil {
		opts.Known, opts.VerifyAfter = max(opts.Known, file.Position.Sequence), file.Position.Sequence
	}
	err = o.openAs(opts)
	if err == nil && file != nil {
		o.useTable(file)
	}
	if o.File == nil && file != nil {
		err = errors.Join(err, file.Close())
		o.Table = table.New() // it may have some of the users
	}
	return err
}

// openRestored opens the journal of a store that was restored. A restore leaves journal and
// checkpoint, and the mark restored, which says where the journal must end: see
// [marks.Restored]. The first start makes index, table and format, and then removes that
// mark.
func (o *Opening) openRestored() error {
	for _, name := range []string{"index", "table", "format"} {
		if !disk.Exists(o.path("journal")) && disk.Exists(o.path(name)) {
			return o.journalGone()
		}
	}
	m, err := o.Checkpoint.Manifest()
	if disk.Refusal(err) != 0 {
		return fmt.Errorf("%w: read the checkpoint: %w", disk.ErrUnavailable, err)
	}
	opts := journal.Options{Known: m.Sequence}
	from, err := o.Marks.Restored()
	if err != nil {
		return err
	}
	if from.HasJournal() {
		opts.Known = max(m.Sequence, from.End.Sequence)
		if err := o.openAs(opts); err != nil {
			return err
		}
		if err := o.Journal.Has(context.Background(), from.End); err != nil {
			return fmt.Errorf("%w: the journal in %s is not the one of the backup: restore again (%w)", disk.ErrDamaged, o.path("journal"), err)
		}
		return nil
	}
	// Create a journal only if the checkpoint is the restored one, and not a later
	// one.
	opts.Create, opts.CreateAfter = from.After >= m.Sequence, from.After
	return o.openAs(opts)
}

func (o *Opening) openAs(opts journal.Options) (err error) {
	opts.Now, opts.SegmentSize = o.Clock.Time, o.Segment
	o.Journal, err = journal.Open(o.path("journal"), o.journalKey, opts)
	if errors.Is(err, journal.ErrEmpty) {
		return o.journalGone()
	}
	if err != nil {
		return disk.NotRead("", err)
	}
	if err := o.Space.Watch(o.path("journal")); err != nil {
		return disk.NotRead("open the journal", err)
	}
	if tear, ok := o.Journal.Torn(); ok {
		o.Log.Info("an interrupted write, never acknowledged, was removed from the journal",
			"file", tear.File, "offset", tear.Offset)
	}
	if err := o.Clock.Open(o.Journal, o.Seals); err != nil {
		return err
	}
	if opts.Create && o.Journal.LastSequence() == opts.CreateAfter {
		return o.firstRecord()
	}
	return nil
}

// journalGone refuses a store that has its other files but not the journal,
// which is the truth.
func (o *Opening) journalGone() error {
	return fmt.Errorf("%w: the journal in %s is missing: put it back, or %s",
		disk.ErrDamaged, o.path("journal"), disk.RestoreAdvice)
}

// firstRecord appends an empty record: a journal without any record would look as if
// somebody had removed it.
func (o *Opening) firstRecord() error {
	payload, err := record.Entry{}.AppendPayload(nil)
	if err != nil {
		return err
	}
	_, err = o.Journal.Append(journal.Essential, []journal.Entry{{Payload: payload}})
	return err
}

// verifyJournal also verifies the part of the journal that comes before the table's
// position.
func (o *Opening) verifyJournal() error {
	n := 0
	err := o.Journal.Replay(context.Background(), o.Journal.FirstSequence()-1, func(journal.Record) error {
		if n++; n%64 != 0 {
			return nil
		}
		runtime.Gosched() // let callers verify tokens
		if disk.IsClosed(o.Closing) {
			return disk.ErrClosed
		}
		return nil
	})
	if err != nil && !errors.Is(err, disk.ErrClosed) {
		return disk.NotRead("", err)
	}
	return err
}
