package storage

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// load fills the table and the owners from Badger.
func (s *Store) load() error {
	err := s.db.View(func(txn *badger.Txn) error {
		return s.each(txn, []byte{'u'}, func(k, v []byte) error {
			id := decodeUserID(k[1:])
			if len(v) < userHead || v[0] != 1 {
				_, err := parseUser(id, v)
				return err
			}
			s.owners.set(owner{id, uint32(v[2])<<24 | uint32(v[3])<<16 | uint32(v[4])<<8 | uint32(v[5]), UserState(v[1])})
			return nil
		})
	})
	if err != nil {
		return err
	}
	for kid := range s.keys { // tokens of a retired key are dead, and not loaded
		if err := s.loadTokens(kid); err != nil {
			return err
		}
	}
	return nil
}

// loadTokens shares the ids out by their first random byte, which is also
// their shard: the workers never meet.
func (s *Store) loadTokens(kid byte) error {
	var next atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			errs[w] = s.db.View(func(txn *badger.Txn) error {
				for b := next.Add(1) - 1; b < shardCount; b = next.Add(1) - 1 {
					if err := s.loadShard(txn, kid, byte(b)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadShard(txn *badger.Txn, kid, b byte) error {
	err := s.each(txn, []byte{'t', kid, b}, func(k, v []byte) error {
		t, err := parseTokenHead(ID(k[1:]), v)
		if err != nil || t.Revoked != 0 {
			return err
		}
		if _, n, ok := s.owners.find(t.Owner); ok {
			s.table.put(entry{id: t.ID, generation: t.Generation, flags: v[2], owner: n, used: createdAt(t.Created)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.each(txn, []byte{'l', kid, b}, func(k, v []byte) error {
		used, _ := parseLastUse(v)
		s.table.raise(ID(k[1:]), used)
		return nil
	})
}

// each walks the sealed records under a prefix.
func (s *Store) each(txn *badger.Txn, prefix []byte, fn func(k, v []byte) error) error {
	for item := range scan(txn, prefix, nil) {
		err := item.Value(func(stored []byte) error {
			v, err := s.seals.open(item.Key(), stored)
			if err != nil {
				return err
			}
			return fn(item.Key(), v)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
