package index

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Journal is what the index needs from the journal. Nobody appends to the journal during
// these calls.
type Journal interface {
	// Ops calls fn with the operations of each record after a sequence, or of all
	// records if the journal begins later.
	Ops(after uint64, fn func(sequence uint64, ops []record.Op) error) error
	End() journal.Position
}

// Settle notes that Badger has everything in its tables, as after a clean stop.
func (x *Index) Settle() error {
	x.progress.settle()
	return x.setApplied()
}

// Create begins an empty index at the end of a journal.
func (x *Index) Create(end journal.Position) error {
	x.progress.at = end
	return x.Settle()
}

func (x *Index) setApplied() error {
	return x.db.Update(func(txn *badger.Txn) error { return txn.Set(appliedKey, x.appliedValue()) })
}

// CatchUp brings in the records that the journal has and the index lacks, and then compares
// the index with the counts. After a kill only the last records are missing. After a
// power failure more may be missing; CatchUp then starts again from where Badger was
// settled. It returns a *Fault when even that is not enough.
func (x *Index) CatchUp(j Journal) error {
	start := time.Now()
	last, settled := x.progress.at.Sequence, x.progress.settled()
	var err error
	for _, from := range []uint64{last, settled} {
		if err = (&replayer{x: x}).replay(j, from); err != nil {
			return err
		}
		if err = x.Compare(); err == nil {
			x.opts.Log.Info("the last stop was not clean; the index was verified and brought up to date",
				"records", x.progress.at.Sequence-last, "took", time.Since(start).Round(time.Millisecond))
			return nil
		}
		if !errors.As(err, new(*Fault)) {
			return err
		}
	}
	return err
}

// Fill fills an empty index from a checkpoint and then from the journal after it. source
// puts the operations of the checkpoint in the order of their keys, and returns its
// sequence. When the checkpoint can't be used, Fill takes everything from the journal. It
// then compares, and returns a *Fault when records are missing.
func (x *Index) Fill(j Journal, source func(put func(record.Op) error) (sequence uint64, err error)) error {
	from, err := x.stream(source)
	switch {
	case errors.Is(err, disk.ErrClosed):
		return err
	case disk.Refusal(err) != 0:
		return fmt.Errorf("%w: read the checkpoint: %w", disk.ErrUnavailable, err)
	case err != nil:
		x.opts.Log.Debug("the index is rebuilt from the journal alone", "because", err)
		from = 0
	}
	x.progress.at.Sequence = from
	if err := (&replayer{x: x, empty: true}).replay(j, from); err != nil {
		return err
	}
	return x.Compare()
}

// replay puts the records of the journal after a sequence into the index.
func (r *replayer) replay(j Journal, after uint64) error {
	r.latest = map[string]record.Op{}
	err := j.Ops(after, r.add)
	if err == nil {
		err = r.flush()
	}
	if err == nil {
		r.x.progress.at = j.End()
		err = r.x.setApplied()
	}
	if err != nil {
		return fmt.Errorf("replay the journal: %w", err)
	}
	return nil
}

// replayer puts operations into Badger: among some thousands, only the latest for each
// key. It writes the position only at the end, so an interrupted replay begins again.
type replayer struct {
	x      *Index
	empty  bool // the index is: nothing needs to be read before it is written
	latest map[string]record.Op
	size   int
}

// replayWindow is how many bytes of operations are gathered.
const replayWindow = 8 << 20

func (r *replayer) add(sequence uint64, ops []record.Op) error {
	if r.x.closing() {
		return disk.ErrClosed
	}
	size := 0
	for _, o := range ops {
		r.latest[string(o.Key)] = o
		size += len(o.Key) + len(o.Value)
		if err := r.x.take(o); err != nil {
			return err
		}
	}
	r.size += size
	r.x.progress.advance(uint64(size))
	r.x.progress.at.Sequence = sequence // for the earlier ones
	if r.size < replayWindow {
		return nil
	}
	return r.flush()
}

func (r *replayer) flush() error {
	v := r.x.begin(toRead)
	defer v.txn.Discard()
	batch := r.x.db.NewWriteBatch()
	defer batch.Cancel()
	for _, k := range slices.Sorted(maps.Keys(r.latest)) {
		o := r.latest[k]
		has, err := r.has(v, o)
		switch {
		case err != nil || has:
		case o.Value == nil:
			err = batch.Delete(o.Key)
		default:
			err = batch.Set(o.Key, o.Value)
		}
		if err != nil {
			return err
		}
	}
	clear(r.latest)
	r.size = 0
	return batch.Flush()
}

// has reports whether the index has the same value, or a newer one.
func (r *replayer) has(v *View, o record.Op) (bool, error) {
	if r.empty {
		return false, nil
	}
	kinds, seals := &r.x.opts.Kinds, r.x.opts.Seals
	stored, ok, err := v.Stored(o.Key)
	if err != nil || !ok {
		return !ok && o.Value == nil, err
	}
	if o.Value == nil || o.Key[0] != kinds.NewerKind {
		return o.Value != nil && bytes.Equal(stored, o.Value), nil
	}
	has, err := seals.Open(o.Key, stored)
	if err != nil {
		return false, nil // the existing values do not verify
	}
	brings, err := seals.Open(o.Key, o.Value)
	if err != nil {
		return false, err
	}
	return kinds.Newer(has, brings), nil
}
