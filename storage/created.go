package storage

import (
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// lookedAt is how long what only administrators ask for stays in memory after
// they last did.
const lookedAt = 10 * time.Minute

// column says whether the table knows when its tokens were created: 8 bytes a
// token, which only a listing in that order needs.
type column struct {
	mu    sync.RWMutex
	there bool
	drop  *time.Timer
}

// withCreated runs fn while the table knows when its tokens were created. The
// first time that takes a walk through the index by owner.
func (s *Store) withCreated(fn func()) error {
	c := &s.column
	for {
		c.mu.RLock()
		if c.there {
			defer c.mu.RUnlock()
			c.drop.Reset(lookedAt)
			fn()
			return nil
		}
		c.mu.RUnlock()
		if err := s.fillCreated(); err != nil {
			return err
		}
	}
}

func (s *Store) fillCreated() error {
	c := &s.column
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.there {
		return nil
	}
	// From here on the writer adds what it makes; before, the index has it.
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		sh.mu.Lock()
		sh.created = make([]int64, sh.n)
		sh.mu.Unlock()
	}
	err := s.view(func(txn *badger.Txn) error {
		for item := range scan(txn, []byte{'o'}, nil) {
			created, id := ownedToken(item.Key())
			s.table.setCreated(id, created)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.there = true
	c.drop = time.AfterFunc(lookedAt, s.dropCreated)
	return nil
}

func (s *Store) dropCreated() {
	s.column.mu.Lock()
	defer s.column.mu.Unlock()
	s.column.there = false
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		sh.mu.Lock()
		sh.created = nil
		sh.mu.Unlock()
	}
}

func (t *table) setCreated(id ID, ms int64) {
	sh := t.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _, ok := sh.find(id); ok {
		sh.created[n] = ms
	}
}
