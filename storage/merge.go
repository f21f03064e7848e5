package storage

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// The uses that gather in the table are brought into Badger by passes through
// it. To write one token's usage takes a read and a write of Badger, as long as
// a verification by HTTP; so a pass takes its time, and what it has not come to
// is in the log of uses, which is kept short in another way (restate.go). When a
// pass has ended, what the log had before it began may go.
type pass struct {
	shard  int    // to go on with; table.Shards: there is none under way
	slot   uint32 // to go on with, downwards
	before uint64 // the segments that may go when it ends
	next   time.Time
}

const (
	passEvery  = 10 * time.Second
	mergeBatch = 32
	mergeShare = 200 // a pass takes one part in so many of each tick
)

// errBusy says that somebody is reading a listing.
var errBusy = errors.New("the usages are being read")

// mergeSome goes on with a pass for so long, or begins one when it is time.
func (s *Store) mergeSome(d time.Duration) error {
	if !s.old.recovered() || s.broken.Load() {
		return nil // a mark must not pass what is not counted; a broken index is built anew
	}
	if s.pass.shard == table.Shards {
		if time.Now().Before(s.pass.next) || s.uses.bytes == 0 {
			return nil
		}
		s.beginPass()
	}
	err := s.goOn(time.Now().Add(d))
	switch {
	case errors.Is(err, errBusy):
		return nil // there is time
	case errors.Is(err, ErrDamaged):
		s.damaged(err)
		return nil
	}
	return err
}

func (s *Store) beginPass() { s.pass = pass{before: s.uses.rotate(), slot: s.table.Top(0)} }

// goOn merges until the pass or the time ends, or somebody reads.
func (s *Store) goOn(end time.Time) error {
	for time.Now().Before(end) {
		shard := s.pass.shard
		if err := s.mergeBatch(shard); err != nil {
			return err
		}
		if s.pass.slot > 0 || s.table.Departed(shard) {
			continue
		}
		s.table.Tidy(shard)
		if s.pass.shard++; s.pass.shard == table.Shards {
			s.pass.next = time.Now().Add(passEvery)
			return s.uses.drop(s.pass.before)
		}
		s.pass.slot = s.table.Top(s.pass.shard)
	}
	return nil
}

// mergeAll merges all that there is; it returns errBusy when that takes longer
// than until end, and ErrClosed when stop is closed before.
func (s *Store) mergeAll(end time.Time, stop <-chan struct{}) error {
	for _, anew := range []bool{false, true} { // the pass under way may have passed by what is new
		s.flushing.Lock()
		if anew {
			s.beginPass()
		}
		s.flushing.Unlock()
		for {
			s.flushing.Lock()
			if s.pass.shard == table.Shards {
				s.flushing.Unlock()
				break
			}
			err := s.goOn(time.Now().Add(20 * time.Millisecond))
			s.flushing.Unlock()
			switch busy := errors.Is(err, errBusy); {
			case err != nil && !busy:
				return err
			case isClosed(stop):
				return ErrClosed
			case time.Now().After(end):
				return errBusy
			case busy:
				time.Sleep(time.Millisecond)
			}
		}
	}
	return nil
}

// mergeBatch merges a few tokens of a shard. Readers wait meanwhile, so that
// they find each use once.
func (s *Store) mergeBatch(shard int) error {
	if !s.merges.TryLock() {
		return errBusy
	}
	defer s.merges.Unlock()
	batch, slot := s.table.Take(shard, s.pass.slot, mergeBatch)
	ids := make([]ID, 0, len(batch))
	for id := range batch {
		ids = append(ids, id)
	}
	err := s.writeUsages(s.uses.last, ids, func(id ID, r *record.UsageRecord) {
		r.Take(batch[id])
	})
	if err != nil {
		s.table.GiveBack(shard, batch)
		return err
	}
	s.pass.slot = slot
	return nil
}

// writeUsages brings usages into Badger. Whoever calls it holds merges.
func (s *Store) writeUsages(mark uint64, ids []ID, bring func(ID, *record.UsageRecord)) error {
	if len(ids) == 0 {
		return nil
	}
	if err := s.space.ready(200 * len(ids)); err != nil {
		return err
	}
	return s.db.Update(func(txn *badger.Txn) error {
		for n, id := range ids {
			if n%8 == 0 {
				runtime.Gosched() // requests come first
			}
			if there, err := s.hasToken(txn, id); err != nil || !there {
				if err != nil {
					return err
				}
				continue // its record was dropped, and its usage with it
			}
			r, err := s.usageOf(txn, id)
			if err != nil {
				return err
			}
			bring(id, &r)
			r.Mark = mark
			k := record.UsageKey(id)
			if err := txn.Set(k, s.seals.Seal(k, r.Value())); err != nil {
				return err
			}
		}
		return nil
	})
}

// hasToken reports whether a token is live, or has a record.
func (s *Store) hasToken(txn *badger.Txn, id ID) (ok bool, err error) {
	if _, live, _ := s.table.Get(id); live {
		return true, nil
	}
	_, ok, err = s.read(txn, record.TokenKey(id))
	return ok, err
}

// usageOf reads what Badger has of a token's usage.
func (s *Store) usageOf(txn *badger.Txn, id ID) (r record.UsageRecord, err error) {
	b, ok, err := s.get(txn, record.UsageKey(id))
	if err != nil || !ok {
		return r, err
	}
	if r, err = record.ParseUsage(b); err != nil {
		return r, fmt.Errorf("token %s: %w", id, err)
	}
	s.believeUsage(&r)
	return r, nil
}
