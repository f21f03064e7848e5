package index

import (
	"sync"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// waiting holds the operations that the journal has and Badger does not, because the disk is
// full or failing. A view keeps the waiting from its beginning, and reads there first.
// It does so even after Badger has caught up, since the view sees an older state of
// Badger. When the index falls behind again, a new waiting begins.
type waiting struct {
	mu     sync.RWMutex
	ops    []record.Op          // in order
	latest map[string]record.Op // for each key
	end    journal.Position     // of the journal, after them
	why    error                // Badger does not have them
}

// get also works for a nil waiting, which is empty.
func (w *waiting) get(key []byte) (o record.Op, ok bool) {
	if w == nil {
		return o, false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	o, ok = w.latest[string(key)]
	return o, ok
}

func (w *waiting) add(ops []record.Op, end journal.Position, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops, w.end, w.why = append(w.ops, ops...), end, why
	for _, o := range ops {
		w.latest[string(o.Key)] = o
	}
}

func (w *waiting) blame(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why = why
}

// next returns the operations for one transaction.
func (w *waiting) next() []record.Op {
	const most = 256 << 10 // bytes: Badger refuses more than about 15 % of its memory table
	size := 0
	for n, o := range w.ops {
		if size += len(o.Key) + len(o.Value); size > most {
			return w.ops[:max(n, 1)]
		}
	}
	return w.ops
}

// keep keeps operations that Badger does not take, and the reason. The caller
// holds visible.
func (x *Index) keep(ops []record.Op, end journal.Position, why error) {
	w := x.waits.Load()
	if w == nil {
		w = &waiting{latest: make(map[string]record.Op)}
	}
	w.add(ops, end, why)
	x.waits.Store(w)
	x.behind.Set(why)
}

// Behind returns why the index is behind the journal, or nil if it is not.
func (x *Index) Behind() error {
	w := x.waits.Load()
	if w == nil {
		return nil
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.why
}

// Advance brings the waiting operations into Badger, as far as the disk has room.
// Only the writer calls it, before it begins a batch: later operations must not
// overtake the waiting ones.
func (x *Index) Advance() {
	w := x.waits.Load()
	if w == nil {
		return
	}
	for len(w.ops) > 0 {
		why := x.space.Short()
		if why == nil {
			why = x.space.ready(1 << 20)
		}
		if why == nil {
			why = x.advance(w)
		}
		if why != nil {
			w.blame(why)
			return
		}
	}
	x.visible.Lock()
	x.waits.Store(nil)
	x.visible.Unlock()
	x.behind.Set(nil)
}

func (x *Index) advance(w *waiting) error {
	part := w.next()
	size := 0
	for _, o := range part {
		size += len(o.Key) + len(o.Value)
	}
	txn := x.db.NewTransaction(true)
	defer txn.Discard()
	err := setAll(txn, part)
	if err == nil && len(part) == len(w.ops) { // the position of Badger stays until everything is in
		x.progress.at = w.end
		err = txn.Set(appliedKey, x.appliedValue())
	}
	if err == nil {
		err = txn.Commit()
	}
	if err != nil {
		return disk.NotWritten("write to the index", err)
	}
	x.progress.advance(uint64(size))
	w.mu.Lock()
	w.ops = w.ops[len(part):]
	w.mu.Unlock()
	return nil
}
