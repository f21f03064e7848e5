package storage

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// Actor is who asked for a change, and from where.
type Actor struct {
	Name    string // a uid, "root (admin)", "gatehouse"
	Address string // empty for what came by the unix socket
}

// change is a function that waits for the writer.
type change struct {
	fn   func(*tx) error
	err  error
	done chan struct{}
}

// tx is what a change sees: the store as the changes before it left it.
//
// What a change puts takes effect when it returns nil, and all of it or none.
// It must not touch the table: what it wants done there it leaves with durable.
type tx struct {
	*Store
	txn     *badger.Txn
	now     int64 // ms
	puts    []*badger.Entry
	deletes [][]byte
	after   []func()
}

// What one commit may hold. Badger refuses a transaction of more than about
// 15 % of its memory table; a change puts a few records of a few hundred bytes.
const (
	batchChanges = 1024
	batchBytes   = 256 << 10
)

// change has the writer run fn, and returns when its effect is on the disk, or
// with the error for which it has none.
func (s *Store) change(fn func(*tx) error) error {
	if err := s.Writable(); err != nil {
		return err
	}
	c := &change{fn: fn, done: make(chan struct{})}
	select {
	case s.changes <- c:
	case <-s.closing:
		return ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-s.closing:
	}
	s.closed.Wait() // the writer takes what is queued before it ends
	select {
	case <-c.done:
		return c.err
	default:
		return ErrClosed
	}
}

// write is the writer: it runs until the store closes.
func (s *Store) write() {
	defer s.closed.Done()
	for {
		select {
		case c := <-s.changes:
			s.commit(s.gather(c))
		case <-s.closing:
			for {
				select {
				case c := <-s.changes:
					s.commit(s.gather(c))
				default:
					return
				}
			}
		}
	}
}

// gather takes all that waits, without waiting for more.
func (s *Store) gather(first *change) []*change {
	batch := []*change{first}
	for len(batch) < batchChanges {
		select {
		case c := <-s.changes:
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

// commit runs the changes in order and commits them, in one transaction or,
// when they are large, a few.
func (s *Store) commit(batch []*change) {
	for len(batch) > 0 {
		n, after, err := s.commitSome(batch)
		if err != nil {
			s.failed.Store(true)
			s.opts.Log.Error("the store takes no more changes until it is opened again", "error", err)
			err = fmt.Errorf("%w: %w", ErrFailed, err)
		}
		for _, c := range batch[:n] {
			if err != nil {
				c.err = err
			}
		}
		if err == nil {
			for _, f := range after {
				f()
			}
		}
		for _, c := range batch[:n] {
			close(c.done)
		}
		batch = batch[n:]
	}
}

// commitSome commits the first n changes of a batch. The changes' own errors
// are in them; err is that of the commit.
func (s *Store) commitSome(batch []*change) (n int, after []func(), err error) {
	if s.failed.Load() {
		return len(batch), nil, errors.New("an earlier write was lost")
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	size := 0
	for n < len(batch) && size < batchBytes {
		c := batch[n]
		n++
		t := &tx{Store: s, txn: txn, now: s.now()}
		if c.err = c.fn(t); c.err != nil {
			continue
		}
		if err := t.apply(&size); err != nil {
			return n, nil, err
		}
		after = append(after, t.after...)
	}
	return n, after, txn.Commit()
}

// apply moves what the change put into the transaction.
func (t *tx) apply(size *int) error {
	for _, e := range t.puts {
		*size += len(e.Key) + len(e.Value) + 64
		if err := t.txn.SetEntry(e); err != nil {
			return err
		}
	}
	for _, k := range t.deletes {
		*size += len(k) + 64
		if err := t.txn.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// put stores a sealed value.
func (t *tx) put(key, value []byte) {
	t.puts = append(t.puts, badger.NewEntry(key, t.seals.seal(key, value)))
}

// hint stores an unsealed value.
func (t *tx) hint(key, value []byte) {
	t.puts = append(t.puts, badger.NewEntry(key, value))
}

func (t *tx) delete(key []byte) { t.deletes = append(t.deletes, key) }

// durable leaves something to be done once the change is on the disk, before
// its caller is answered.
func (t *tx) durable(f func()) { t.after = append(t.after, f) }

// get returns the sealed value of a key; ok is false when there is none.
func (s *Store) get(txn *badger.Txn, key []byte) (value []byte, ok bool, err error) {
	stored, ok, err := read(txn, key)
	if err != nil || !ok {
		return nil, false, err
	}
	value, err = s.seals.open(key, stored)
	return value, err == nil, err
}

// read returns a copy of what is stored under a key.
func read(txn *badger.Txn, key []byte) (stored []byte, ok bool, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("%w: read %q: %w", ErrDamaged, key, err)
	}
	if stored, err = item.ValueCopy(nil); err != nil {
		return nil, false, fmt.Errorf("%w: read %q: %w", ErrDamaged, key, err)
	}
	return stored, true, nil
}

// view runs fn on the store as it is now.
func (s *Store) view(fn func(txn *badger.Txn) error) error {
	if s.isClosing() {
		return ErrClosed
	}
	return s.db.View(fn)
}

// scan walks the items under a prefix, from a key on, in order. What it yields
// is valid until the next.
func scan(txn *badger.Txn, prefix, from []byte) iter.Seq[*badger.Item] {
	return func(yield func(*badger.Item) bool) {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
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

// key builds a key of the table in the package comment.
func key(kind byte, parts ...[]byte) []byte {
	return slices.Concat(append([][]byte{{kind}}, parts...)...)
}
