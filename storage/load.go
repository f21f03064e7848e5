package storage

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// loadOwners fills the owners from Badger.
func (s *Store) loadOwners() error {
	return s.db.View(func(txn *badger.Txn) error {
		return s.each(txn, []byte{'u'}, func(k, v []byte) error {
			o, _, err := record.ParseOwner(record.DecodeUserID(k[1:]), v)
			if err == nil {
				s.table.Owners.Set(o)
			}
			return err
		})
	})
}

// lookup finds a live token. While the table is being loaded, the shard of a
// token that is not in it yet is loaded first; or, after a stop that left no
// table, the token is looked for in Badger, and put in.
func (s *Store) lookup(id ID) (table.Entry, bool, error) {
	e, ok, whole := s.table.Lookup(id)
	if ok || whole {
		return e, ok, nil
	}
	err := s.view(func(txn *badger.Txn) error {
		b, ok, err := s.get(txn, record.TokenKey(id))
		if !ok {
			return err
		}
		t, err := record.ParseTokenHead(id, b)
		if err != nil {
			return err
		}
		used := record.CreatedAt(t.Created)
		b, ok, err = s.get(txn, record.UsageKey(id))
		if ok {
			used = max(s.believe(used), s.believe(record.ParseLastUse(b)))
		}
		if err == nil {
			s.loadToken(t, used)
		}
		return err
	})
	if err != nil {
		return table.Entry{}, false, err
	}
	e, ok, _ = s.table.Get(id)
	return e, ok, nil
}

// load fills the table in the background.
func (s *Store) load() {
	defer s.closed.Done()
	err := s.loadNow()
	if err == nil {
		return
	}
	if !errors.Is(err, ErrClosed) {
		s.damaged(err) // tokens go on being looked for in Badger, one by one
	}
	close(s.unloadable)
}

// loadNow fills the table, once, and compares what there is with what there
// should be.
func (s *Store) loadNow() error {
	start := time.Now()
	quick := s.left != nil && s.left.LoadAll(s.stillOpen) == nil
	exact := quick && !s.behind // else the last uses are missing
	if exact {
		s.whole()
		s.opts.Log.Info("the table of tokens is loaded", "tokens", s.table.Len(), "took", time.Since(start))
	}
	if s.openLate(); s.late != nil {
		return ErrClosed // as good as
	}
	debug.FreeOSMemory() // what verifying the index left behind
	switch {
	case exact:
		if err := s.compareCounts(); err != nil {
			return err
		}
	case !s.isLoaded(): // else mend or rebuild did both
		if err := s.loadTable(); err != nil {
			return err
		}
		if err := s.compareCounts(); err != nil {
			return err
		}
		s.whole()
		s.opts.Log.Info("the table of tokens is loaded from the records", "tokens", s.table.Len(), "took", time.Since(start))
	}
	s.tableDue = !exact
	close(s.compared)
	return nil
}

// loadTable fills owners and table.
func (s *Store) loadTable() error {
	if s.table.Owners.Len() == 0 {
		if err := s.loadOwners(); err != nil {
			return err
		}
	}
	for kid := range 256 {
		if !s.keys.Has(byte(kid)) {
			continue // tokens of a retired key are dead, and not loaded
		}
		if err := s.loadTokens(byte(kid)); err != nil {
			return err
		}
	}
	return s.raiseFromLog()
}

// whole says that verification needs Badger no more.
func (s *Store) whole() {
	s.table.Whole()
	close(s.loaded)
	debug.FreeOSMemory() // what growing left behind is not needed again
}

// loadTokens shares the ids out by their first random byte, which is also
// their shard: the workers never meet.
func (s *Store) loadTokens(kid byte) error {
	var next atomic.Int32
	return inParallel(func(int) error {
		return s.db.View(func(txn *badger.Txn) error {
			for b := next.Add(1) - 1; b < table.Shards; b = next.Add(1) - 1 {
				if s.isClosing() {
					return ErrClosed
				}
				if err := s.loadShard(txn, kid, byte(b)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// inParallel runs a function by as many workers as there are processors.
func inParallel(work func(worker int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() { errs[w] = work(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loadToken puts a token into the table unless it is dead, or its owner is.
func (s *Store) loadToken(t record.TokenHead, used record.LastUse) {
	if used&1 == 1 {
		used = record.UsedAt(used.Shown(s.believe(record.CreatedAt(t.Created)).Ms())) // as raise leaves it
	}
	if o, n, ok := s.table.Owners.Find(t.Owner); ok && o.State != UserRemoved && t.Revoked == 0 {
		s.table.Load(table.Entry{ID: t.ID, Generation: t.Generation, Flags: t.Flags, Owner: n, Used: used})
	}
}

// loadShard reads the last uses first, so that no token is seen with an older
// one than it has.
func (s *Store) loadShard(txn *badger.Txn, kid, b byte) error {
	uses := map[ID]record.LastUse{}
	err := s.each(txn, []byte{'l', kid, b}, func(k, v []byte) error {
		uses[ID(k[1:])] = record.ParseLastUse(v)
		return nil
	})
	if err != nil {
		return err
	}
	return s.each(txn, []byte{'t', kid, b}, func(k, v []byte) error {
		t, err := record.ParseTokenHead(ID(k[1:]), v)
		if err == nil {
			s.loadToken(t, max(s.believe(record.CreatedAt(t.Created)), s.believe(uses[t.ID])))
		}
		return err
	})
}
