package writer

import (
	"errors"
	"fmt"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// commit runs the changes in order and commits them, in one batch or, when
// they are large, a few. When space is short only the essential ones are run.
func (w *Writer) commit(batch []*change) {
	short := w.to.Space.Short()
	if short == nil {
		w.to.Index.Advance()
		short = w.to.Index.Behind() // later changes must not overtake the waiting ones
	}
	for len(batch) > 0 {
		if short != nil {
			if batch = w.refuseOthers(batch, short); len(batch) == 0 {
				return
			}
		}
		n, err := w.commitSome(batch, short)
		if errors.Is(err, journal.ErrNoSpace) && short == nil {
			short = err
			continue // this run has left no trace
		}
		for _, c := range batch[:n] {
			if err != nil {
				c.err = err
			}
			w.answer(c)
		}
		batch = batch[n:]
	}
}

// refuseOthers answers the changes that are not essential, and returns those
// that are. Nothing would last in a directory that was removed.
func (w *Writer) refuseOthers(batch []*change, why error) (essential []*change) {
	for _, c := range batch {
		if c.need == journal.Essential && !errors.Is(why, disk.ErrRemoved) && !w.to.Index.Stuck() {
			essential = append(essential, c)
			continue
		}
		c.err = why
		w.answer(c)
	}
	return essential
}

// answer lets the caller that waits for a change continue. Nobody waits for a
// note: a lost note is logged.
func (w *Writer) answer(c *change) {
	switch {
	case c.note == nil:
	case c.err == nil:
		w.lost.Set(nil)
	default:
		w.lose(c, c.err)
	}
	close(c.done)
}

// commitSome commits the first n changes of a batch. Each change holds its own error;
// err is the error of the commit. If short is not nil, it says why the index gets none
// of the changes.
func (w *Writer) commitSome(batch []*change, short error) (n int, err error) {
	b := w.to.Index.Batch()
	defer b.Discard()
	w.to.Begin()
	var records []record.Entry
	var after []func()
	for size := 0; n < len(batch) && size < batchBytes; n++ {
		if n > 0 && w.to.Index.Behind() != nil {
			break // while the index is behind: a scan would still find records that the previous change replaced
		}
		c := batch[n]
		t := &Tx{Reader: w.to.Read(&b.View), By: c.by, Now: w.to.Now(), seals: w.to.Seals}
		if c.err = c.fn(t); c.err != nil || len(t.records) == 0 {
			continue
		}
		for _, r := range t.records {
			if err := b.Enter(r.Ops); err != nil {
				return n + 1, fmt.Errorf("%w: %w", disk.ErrFailed, err)
			}
			size += r.Size()
		}
		records = append(records, t.records...)
		after = append(after, t.after...)
	}
	if len(records) == 0 {
		return n, nil
	}
	if o, changed := b.Counts(); changed {
		last := &records[len(records)-1] // the journal has all of a batch, or nothing
		last.Ops = append(last.Ops, o)
	}
	entries, err := w.entries(records)
	if err != nil {
		return n, fmt.Errorf("%w: %w", disk.ErrFailed, err)
	}
	need := journal.Ordinary
	if short != nil { // refuseOthers has left the essential ones
		need = journal.Essential
	}
	if _, err := w.to.Journal.Append(need, entries); err != nil {
		return n, w.appendFailed(err)
	}
	w.refused.Set(nil)
	end := w.to.Journal.End() // the writer alone appends
	b.Commit(end, short, func() {
		for _, f := range after {
			f()
		}
		w.to.Table.Reached(end)
	})
	return n, nil
}

// entries encodes the records for the journal. The result is valid until the
// next call.
func (w *Writer) entries(records []record.Entry) ([]journal.Entry, error) {
	list, b := w.encoded.entries[:0], w.encoded.payloads[:0]
	for _, r := range records {
		from, err := len(b), error(nil)
		if b, err = r.AppendPayload(b); err != nil {
			return nil, err
		}
		list = append(list, journal.Entry{Time: r.Event.Time, Actor: r.Event.Actor, Payload: b[from:]})
	}
	w.encoded.entries, w.encoded.payloads = list, b
	return list, nil
}

// appendFailed says what an append's error means to the callers.
func (w *Writer) appendFailed(err error) error {
	switch {
	case errors.Is(err, journal.ErrNoSpace):
		return fmt.Errorf("%w: %w", disk.ErrNoSpace, err)
	case errors.Is(err, journal.ErrTooLarge):
		return err // nothing was written
	case !errors.Is(err, journal.ErrFailed) && !errors.Is(err, journal.ErrClosed):
		w.refused.Set(err)
		return fmt.Errorf("%w: %w", disk.ErrUnavailable, err) // nothing was written, and the next change may succeed
	}
	err = fmt.Errorf("%w: %w", disk.ErrFailed, err)
	w.failed.CompareAndSwap(nil, &err)
	return err
}
