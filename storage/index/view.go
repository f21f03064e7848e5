package index

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
)

// View reads the index as of one moment. While the index is behind the journal, a view also
// reads the waiting operations.
type View struct {
	x     *Index
	txn   *badger.Txn
	waits *waiting // the operations that Badger lacked then; nil: none
}

// now begins a view in any state of the index. The caller discards it.
func (x *Index) now(a access) *View {
	x.visible.RLock()
	defer x.visible.RUnlock()
	return x.begin(a)
}

func (x *Index) begin(a access) *View {
	return &View{x: x, waits: x.waits.Load(), txn: x.db.NewTransaction(bool(a))}
}

// access is what a transaction of Badger is for.
type access bool

const (
	toRead  access = false
	toWrite access = true
)

// Begin begins a view, and keeps the index open until end is called. It returns
// [disk.ErrClosed] after [Index.Shut], and [disk.ErrFailed] when Badger can't go on.
func (x *Index) Begin() (v *View, end func(), err error) { return x.enterUse(toRead) }

func (x *Index) enterUse(a access) (v *View, end func(), err error) {
	x.visible.RLock()
	defer x.visible.RUnlock()
	if x.shut {
		return nil, nil, disk.ErrClosed
	}
	if x.space.stuck.Load() {
		return nil, nil, disk.ErrFailed
	}
	x.using.Add(1)
	v = x.begin(a)
	return v, func() { v.txn.Discard(); x.using.Done() }, nil
}

// Steady reports whether the index had all records of the journal when the view
// began.
func (v *View) Steady() bool { return v.waits == nil }

// Get opens and returns the sealed value of a key; ok is false if there is none.
func (v *View) Get(key []byte) (value []byte, ok bool, err error) {
	stored, ok, err := v.Stored(key)
	if err != nil || !ok {
		return nil, false, err
	}
	value, err = v.x.opts.Seals.Open(key, stored)
	return value, err == nil, err
}

// Stored returns a copy of the stored bytes of a key.
func (v *View) Stored(key []byte) (stored []byte, ok bool, err error) {
	if o, ok := v.waits.get(key); ok {
		return o.Value, o.Value != nil, nil
	}
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err == nil {
		stored, err = item.ValueCopy(nil)
	}
	if err != nil {
		return nil, false, disk.NotRead(fmt.Sprintf("read %q", key), err)
	}
	return stored, true, nil
}

// Each walks the sealed records under a prefix. Key and value are valid during the call.
func (v *View) Each(prefix []byte, fn func(key, value []byte) error) error {
	return v.EachFrom(prefix, prefix, fn)
}

// EachFrom is like Each, but begins at a key, or where it would be.
func (v *View) EachFrom(prefix, from []byte, fn func(key, value []byte) error) error {
	n := 0
	for item := range v.scan(prefix, from, forwards) {
		if n++; n%64 == 0 {
			runtime.Gosched() // let requests run during a long walk
		}
		one := func(stored []byte) error {
			value, err := v.x.opts.Seals.Open(item.Key(), stored)
			if err != nil {
				return err
			}
			return fn(item.Key(), value)
		}
		var err error
		if o, ok := v.waits.get(item.Key()); ok {
			if o.Value != nil {
				err = one(o.Value)
			}
		} else {
			err = item.Value(one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Scan yields the keys under a prefix that Badger has, in order. A key is valid until
// the next one. While the index is behind, some keys may be deleted already: they are
// hints.
func (v *View) Scan(prefix []byte) iter.Seq[[]byte] { return v.ScanFrom(prefix, prefix) }

// ScanFrom is like Scan, but begins at a key, or where it would be.
func (v *View) ScanFrom(prefix, from []byte) iter.Seq[[]byte] { return v.keys(prefix, from, forwards) }

// ScanBack is like ScanFrom, but goes backwards.
func (v *View) ScanBack(prefix, from []byte) iter.Seq[[]byte] { return v.keys(prefix, from, backwards) }

func (v *View) keys(prefix, from []byte, to direction) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for item := range v.scan(prefix, from, to) {
			if !yield(item.Key()) {
				return
			}
		}
	}
}

// Items yields the items under a prefix as Badger has them: see [View.Steady].
func (v *View) Items(prefix []byte) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for item := range v.scan(prefix, nil, forwards) {
			if !yield(Item{item}) {
				return
			}
		}
	}
}

// Item is a key and its stored value. It is valid until the next one.
type Item struct{ item *badger.Item }

// Key is valid as long as the item.
func (i Item) Key() []byte { return i.item.Key() }

// Stored returns a copy of the value, as it is stored.
func (i Item) Stored() ([]byte, error) {
	b, err := i.item.ValueCopy(nil)
	if err != nil {
		return nil, disk.NotRead(fmt.Sprintf("read %q", i.item.Key()), err)
	}
	return b, nil
}

func (v *View) scan(prefix, from []byte, to direction) iter.Seq[*badger.Item] {
	return scan(v.txn, prefix, from, to)
}

// direction is that of a walk through the keys.
type direction bool

const (
	forwards  direction = false
	backwards direction = true
)

func scan(txn *badger.Txn, prefix, from []byte, to direction) iter.Seq[*badger.Item] {
	return func(yield func(*badger.Item) bool) {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: bool(to)})
		defer it.Close()
		if from == nil {
			from = prefix
		}
		for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
			if !yield(it.Item()) {
				return
			}
		}
	}
}

// Update is a view that also writes. It is for records that are not in the journal.
type Update struct{ View }

// Put seals a value and stores it. If keep is above 0, the value expires after that
// time.
func (u *Update) Put(key, value []byte, keep time.Duration) error {
	return u.put(key, u.x.opts.Seals.Seal(key, value), keep)
}

// Hint stores a value without a seal.
func (u *Update) Hint(key, value []byte, keep time.Duration) error { return u.put(key, value, keep) }

func (u *Update) put(key, stored []byte, keep time.Duration) error {
	e := badger.NewEntry(key, stored)
	if keep > 0 {
		e = e.WithTTL(keep)
	}
	return u.txn.SetEntry(e)
}

// Delete removes a key, if it exists.
func (u *Update) Delete(key []byte) error { return u.txn.Delete(key) }

// Update runs fn and writes everything that it puts, or nothing; bytes is about how much
// that is. Its errors are those of [disk.NotWritten].
func (x *Index) Update(bytes int, fn func(*Update) error) error {
	v, end, err := x.enterUse(toWrite)
	if err != nil {
		return err
	}
	defer end()
	return x.write(bytes, v, fn)
}

// Write is like Update, for the store's own upkeep, which goes on after
// [Index.Shut]. The index must be open.
func (x *Index) Write(bytes int, fn func(*Update) error) error {
	v := x.now(toWrite)
	defer v.txn.Discard()
	return x.write(bytes, v, fn)
}

func (x *Index) write(bytes int, v *View, fn func(*Update) error) error {
	if err := x.space.ready(bytes); err != nil {
		return err
	}
	if err := fn(&Update{*v}); err != nil {
		return err
	}
	if err := v.txn.Commit(); err != nil {
		return disk.NotWritten("write to the index", err)
	}
	return nil
}

// Size returns the disk space of Badger in bytes. It is at most a minute old.
func (x *Index) Size() int64 {
	tables, values := x.db.Size()
	return tables + values
}

// Ready returns nil when that number of bytes may be put into the index.
func (x *Index) Ready(bytes int) error { return x.space.ready(bytes) }

// Stuck reports whether Badger can't go on until it is opened again.
func (x *Index) Stuck() bool { return x.space.stuck.Load() }
