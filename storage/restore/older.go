package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gatehouse/storage/backup"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/marks"
	"gatehouse/storage/record"
)

// older reads the ends in the store that is being replaced: from the records of its
// checkpoint, then of its journal, and from those of its index. The journal alone is not enough:
// its oldest part is dropped over time, and it may be damaged or missing. If the store is
// damaged, older reads as much as it can.
type older struct {
	record.Ends
	last   uint64   // the last record of the journal
	unread []string // the parts that could not be read
	found  bool     // a record has verified
	seals  *keys.Seals
}

// takeOp notes what an operation ends.
func (e *older) takeOp(o record.Op) error {
	if len(o.Key) == 0 || bytes.IndexByte([]byte("tuexk"), o.Key[0]) < 0 {
		return nil
	}
	if o.Value == nil {
		e.Drop(o.Key)
		return nil
	}
	b, err := e.seals.Open(o.Key, o.Value)
	if err != nil {
		return nil // read as much as possible of a damaged store
	}
	e.found = true
	e.Take(o.Key, b)
	return nil
}

// readJournal reads checkpoint and journal.
func (e *older) readJournal(ctx context.Context, store string, key [32]byte, progress func(step string, done, of int)) error {
	checkpoint, dir := filepath.Join(store, "checkpoint"), filepath.Join(store, "journal")
	var covered uint64 // by the checkpoint
	f, err := os.Open(checkpoint)
	if err == nil {
		covered, err = e.readCheckpoint(ctx, f)
		f.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.unread = append(e.unread, checkpoint)
	}
	lost, err := journal.Salvage(dir, key, nil, func(jr journal.Record) error {
		e.last, e.found = max(e.last, jr.Sequence), true
		if jr.Sequence%4096 == 0 {
			progress("Reading the records of the older store", int(jr.Sequence), 0)
		}
		if jr.Sequence > covered { // otherwise the checkpoint has a later state of the user
			if _, ops, err := record.CutEntry(jr); err == nil {
				record.EachOp(ops, e.takeOp)
			}
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, c := range lost {
		e.unread = append(e.unread, fmt.Sprintf("%s at byte %d", c.File, c.Offset))
	}
	if errors.Is(err, journal.ErrEmpty) || err == nil && e.last == 0 {
		err = nil
		if !marks.In(store).IsRestored() { // otherwise the journal would have begun with the first start
			e.unread = append(e.unread, dir)
		}
	}
	return err
}

// readCheckpoint returns the record up to which the checkpoint has everything, or 0
// if it can't be read completely.
func (e *older) readCheckpoint(ctx context.Context, f io.Reader) (covered uint64, err error) {
	in, err := backup.Open(f)
	if err != nil {
		return 0, err
	}
	err = in.Records(func(ops []byte) error {
		record.EachOp(ops, e.takeOp)
		return ctx.Err()
	})
	if err != nil {
		return 0, err
	}
	return in.Manifest.Sequence, nil
}

// readIndex adds the ends in the index. If checkpoint and journal were read, the index has no
// others. But if the journal or its last segments are gone, the index may be the only record
// of those ends. An index that can't be read adds nothing. readIndex reads it through
// another directory.
func (e *older) readIndex(ctx context.Context, store, by string) error {
	defer os.RemoveAll(by)
	also := older{Ends: record.NewEnds(), seals: e.seals}
	err := index.Salvage(filepath.Join(store, "index"), by, "utexk", func(key, stored []byte) error {
		also.takeOp(record.Op{Key: key, Value: stored})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	e.found = e.found || also.found
	e.Join(also.Ends)
	return nil
}
