package storage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// replay puts into the index what the journal has after a sequence. Into an
// index made anew it puts without looking.
func (s *Store) replay(after uint64, anew bool) error {
	after = max(after, s.journal.FirstSequence()-1)
	r := &replayer{Store: s, anew: anew, latest: map[string]record.Op{}}
	err := s.journal.Replay(context.Background(), after, r.add)
	if err == nil {
		err = r.flush()
	}
	if err == nil {
		s.marks.at = s.journal.End() // nobody appends yet
		err = s.db.Update(s.setApplied)
	}
	if err != nil {
		return fmt.Errorf("replay the journal: %w", err)
	}
	return nil
}

// replayer puts operations into Badger, of each key only the latest of some
// thousands. How far it is, it leaves to the end: interrupted, it begins again.
type replayer struct {
	*Store
	anew   bool
	latest map[string]record.Op
	size   int
}

// replayWindow is how many bytes of operations are gathered.
const replayWindow = 8 << 20

func (r *replayer) add(jr journal.Record) error {
	if r.isClosing() {
		return ErrClosed
	}
	_, b, err := record.CutEntry(jr)
	if err != nil {
		return err
	}
	ops, err := record.AllOps(b)
	if err != nil {
		return err
	}
	for _, o := range ops {
		if err := r.take(o); err != nil {
			return err
		}
	}
	r.mark(ops)
	r.marks.at.Sequence = jr.Sequence // for mark
	if r.size < replayWindow {
		return nil
	}
	return r.flush()
}

func (r *replayer) take(o record.Op) error {
	r.latest[string(o.Key)] = o
	r.size += len(o.Key) + len(o.Value)
	return r.takeCounts(o)
}

func (r *replayer) flush() error {
	txn := r.db.NewTransaction(false)
	defer txn.Discard()
	batch := r.db.NewWriteBatch()
	defer batch.Cancel()
	for _, k := range slices.Sorted(maps.Keys(r.latest)) {
		o := r.latest[k]
		if there, err := r.there(txn, o); err != nil {
			return err
		} else if there {
			continue
		}
		err := error(nil)
		if o.Value == nil {
			err = batch.Delete(o.Key)
		} else {
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

// there reports whether the index needs no putting: it has the same, or a last
// use that came after the one that was imported.
func (r *replayer) there(txn *badger.Txn, o record.Op) (bool, error) {
	if r.anew {
		return false, nil
	}
	stored, ok, err := r.read(txn, o.Key)
	if err != nil || !ok {
		return !ok && o.Value == nil, err
	}
	if o.Value == nil || o.Key[0] != 'l' {
		return o.Value != nil && bytes.Equal(stored, o.Value), nil
	}
	has, err := r.seals.Open(o.Key, stored)
	if err != nil {
		return false, nil // what is there does not verify
	}
	brings, err := r.seals.Open(o.Key, o.Value)
	if err != nil {
		return false, err
	}
	return record.ParseLastUse(has) >= record.ParseLastUse(brings), nil
}
