package index

import (
	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Batch holds the operations that one append to the journal puts into the index. Its view
// sees the operations entered before. Only the writer makes batches, one after the
// other.
type Batch struct {
	View
	holds Counts // what the index must hold after the batch
	ops   []record.Op
	size  int
}

// Batch begins a batch. The caller discards it.
func (x *Index) Batch() *Batch {
	return &Batch{View: *x.begin(toWrite), holds: x.holds, ops: x.batch[:0]}
}

// Discard ends the batch. Uncommitted operations have no effect.
func (b *Batch) Discard() { b.txn.Discard() }

// Enter puts operations, and counts them. It reads the value that an operation
// replaces, unless the operation is the first under its key.
func (b *Batch) Enter(ops []record.Op) error {
	for _, o := range ops {
		if err := b.count(o); err != nil {
			return err
		}
		if err := setOne(b.txn, o); err != nil {
			return err
		}
		b.size += len(o.Key) + len(o.Value)
	}
	b.ops = append(b.ops, ops...)
	return nil
}

func (b *Batch) count(o record.Op) error {
	if !b.x.counted(o.Key[0]) {
		return nil
	}
	if !o.First {
		old, ok, err := b.Stored(o.Key)
		if err != nil {
			return err
		}
		if ok {
			b.x.enter(&b.holds, o.Key, old, -1)
		}
	}
	if o.Value != nil {
		b.x.enter(&b.holds, o.Key, o.Value, 1)
	}
	return nil
}

// Counts returns the operation that records in the journal what the index must hold
// after the batch. changed is false if the batch does not change that.
func (b *Batch) Counts() (o record.Op, changed bool) {
	if b.holds == b.x.holds {
		return o, false
	}
	o = b.x.CountsOp(b.holds)
	b.ops = append(b.ops, o)
	return o, true
}

// Commit brings into Badger the operations that the journal now has, up to end. If it can't,
// the change has not failed, since it is durable: the operations wait in memory, and the
// next start reads them from the journal. If short is not nil, it says why Badger gets
// nothing. No view begins before also has returned, so everything that also changes
// becomes visible at the same time as the batch.
func (b *Batch) Commit(end journal.Position, short error, also func()) {
	x := b.x
	x.holds, x.batch = b.holds, b.ops
	x.visible.Lock()
	defer x.visible.Unlock()
	defer also()
	why := short
	if why == nil {
		why = x.space.ready(b.size)
	}
	if why == nil {
		x.progress.advance(uint64(b.size))
		x.progress.at = end
		err := b.txn.Set(appliedKey, x.appliedValue())
		if err == nil {
			err = b.txn.Commit()
		}
		if err == nil {
			return
		}
		why = disk.NotWritten("write to the index", err)
	}
	x.keep(b.ops, end, why)
}

func setAll(txn *badger.Txn, ops []record.Op) error {
	for _, o := range ops {
		if err := setOne(txn, o); err != nil {
			return err
		}
	}
	return nil
}

func setOne(txn *badger.Txn, o record.Op) error {
	if o.Value == nil {
		return txn.Delete(o.Key)
	}
	return txn.Set(o.Key, o.Value)
}
