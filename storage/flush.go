package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// A token's last use is kept apart from its record, so that using a token
// never touches what says whether it lives:
//
//	lastUse 8 | address 16 (zero: unknown)
func lastUseValue(u lastUse, from netip.Addr) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(u))
	var a [16]byte
	if from.IsValid() {
		a = from.As16()
	}
	return append(b, a[:]...)
}

func parseLastUse(b []byte) (u lastUse, from netip.Addr) {
	if len(b) != 24 {
		return 0, from
	}
	if from = netip.AddrFrom16([16]byte(b[8:])).Unmap(); from.IsUnspecified() {
		from = netip.Addr{}
	}
	return lastUse(binary.BigEndian.Uint64(b)), from
}

// flushEverySecond writes what uses and failed logins left in memory.
func (s *Store) flushEverySecond() {
	defer s.closed.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-tick.C:
			s.flushNow(ctx)
		case <-s.closing:
			return
		}
	}
}

func (s *Store) flushNow(ctx context.Context) {
	if s.space.short() {
		return // what was used stays in memory
	}
	s.space.ballast() // it may have been thrown out
	if s.lag.some.Load() {
		s.wakeWriter()
		return
	}
	if err := s.flush(ctx); err != nil {
		s.opts.Log.Warn("last uses are not yet saved; they are tried again", "error", err)
	}
	s.checkpointIfDue(ctx)
}

// flush writes the last uses shard by shard: small transactions, so that a
// change that comes meanwhile does not wait for a burst.
func (s *Store) flush(context.Context) error {
	var errs []error
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		list := s.takeUses(sh)
		err := s.writeEntries(list)
		sh.settle(err == nil)
		errs = append(errs, err)
	}
	err := s.writeEntries(s.takeAttempts())
	s.attempts.settle(err == nil)
	return errors.Join(append(errs, err)...)
}

func (s *Store) takeUses(sh *shard) (list []*badger.Entry) {
	sh.dirtyMu.Lock()
	sh.flushing, sh.dirty = sh.dirty, nil
	sh.dirtyMu.Unlock()
	for id, from := range sh.flushing { // only this goroutine writes the map
		e, ok, _ := s.table.get(id)
		if !ok {
			continue // revoked meanwhile; its uses up to then are lost with its place
		}
		k := lastUseKeyOf(id)
		list = append(list, badger.NewEntry(k, s.seals.seal(k, lastUseValue(e.used, from))))
	}
	return list
}

func (sh *shard) settle(written bool) {
	sh.dirtyMu.Lock()
	defer sh.dirtyMu.Unlock()
	for id, from := range sh.flushing {
		if _, newer := sh.dirty[id]; !written && !newer {
			if sh.dirty == nil {
				sh.dirty = make(map[ID]netip.Addr)
			}
			sh.dirty[id] = from
		}
	}
	sh.flushing = nil
}

func (s *Store) writeEntries(list []*badger.Entry) error {
	for part := range slices.Chunk(list, 1000) {
		if !s.space.ready(100 * len(part)) {
			return ErrNoSpace
		}
		err := s.db.Update(func(txn *badger.Txn) error {
			for _, e := range part {
				if err := txn.SetEntry(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
