package storage

import (
	"errors"
	"fmt"
	"iter"
	"runtime"

	"gatehouse/storage/disk"

	"github.com/dgraph-io/badger/v4"
)

// begin begins a transaction, and keeps Badger open until end is called.
func (s *Store) begin(update bool) (txn *badger.Txn, end func(), err error) {
	if err := s.await(); err != nil {
		return nil, nil, err
	}
	s.visible.RLock()
	defer s.visible.RUnlock()
	if s.isClosing() {
		return nil, nil, ErrClosed
	}
	if s.space.stuck.Load() {
		return nil, nil, ErrFailed
	}
	s.using.Add(1)
	read := s.lag.reader()
	txn = s.db.NewTransaction(update)
	return txn, func() { txn.Discard(); read(); s.using.Done() }, nil
}

// view runs fn on the store as it is now.
func (s *Store) view(fn func(txn *badger.Txn) error) error {
	// Before it begins: what it finds in Badger of a token's uses, and what it
	// finds in the table, must fit together.
	s.uses.RLock()
	defer s.uses.RUnlock()
	txn, end, err := s.begin(false)
	if err != nil {
		return err
	}
	defer end()
	err = fn(txn)
	if errors.Is(err, ErrDamaged) && !s.broken.Load() {
		s.damaged(err)
	}
	return err
}

// Size is what the store takes on the disk, in bytes, but for the ballast. What
// Badger takes of it is as of a minute ago at most.
func (s *Store) Size() int64 {
	n := s.journal.Size()
	if !s.IsOpen() {
		return n // nobody who asks for a figure waits
	}
	s.view(func(*badger.Txn) error {
		tables, values := s.db.Size()
		n += tables + values
		return nil
	})
	return n
}

// update changes what is not in the journal. Its errors are those of [disk.NotWritten] when
// the change can't be written.
func (s *Store) update(fn func(txn *badger.Txn) error) error {
	txn, end, err := s.begin(true)
	if err != nil {
		return err
	}
	defer end()
	if err := s.space.ready(1 << 10); err != nil {
		return err
	}
	if err := fn(txn); err != nil {
		return err
	}
	if err := txn.Commit(); err != nil {
		return disk.NotWritten("write to the index", err)
	}
	return nil
}

// get returns the sealed value of a key; ok is false when there is none.
func (s *Store) get(txn *badger.Txn, key []byte) (value []byte, ok bool, err error) {
	stored, ok, err := s.read(txn, key)
	if err != nil || !ok {
		return nil, false, err
	}
	value, err = s.seals.Open(key, stored)
	return value, err == nil, err
}

// read returns a copy of what is stored under a key.
func (s *Store) read(txn *badger.Txn, key []byte) (stored []byte, ok bool, err error) {
	if o, ok := s.lag.get(key); ok {
		return o.Value, o.Value != nil, nil
	}
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, disk.NotRead(fmt.Sprintf("read %q", key), err)
	}
	if stored, err = item.ValueCopy(nil); err != nil {
		return nil, false, disk.NotRead(fmt.Sprintf("read %q", key), err)
	}
	return stored, true, nil
}

// each walks the sealed records under a prefix.
func (s *Store) each(txn *badger.Txn, prefix []byte, fn func(k, v []byte) error) error {
	n := 0
	for item := range scan(txn, prefix, nil) {
		if n++; n%64 == 0 {
			runtime.Gosched() // a long walk is no reason for a request to wait
		}
		one := func(stored []byte) error {
			v, err := s.seals.Open(item.Key(), stored)
			if err != nil {
				return err
			}
			return fn(item.Key(), v)
		}
		var err error
		if o, ok := s.lag.get(item.Key()); ok {
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
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(make([]byte, 0, n), kind)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}
