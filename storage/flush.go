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

// flushSlices is in how many parts the last uses of a second are written. In one
// burst they would hold up whoever wants a change just then.
const flushSlices = 16

// flushEverySecond writes what uses and failed logins left in memory.
func (s *Store) flushEverySecond() {
	defer s.closed.Done()
	tick := time.NewTicker(time.Second / flushSlices)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for slice := 0; ; slice = (slice + 1) % flushSlices {
		select {
		case <-tick.C:
			s.flushNow(ctx, slice)
		case <-s.closing:
			return
		}
	}
}

func (s *Store) flushNow(ctx context.Context, slice int) {
	if s.space.short() {
		return // what was used stays in memory
	}
	s.space.ballast() // it may have been thrown out
	if s.lag.some.Load() {
		s.wakeWriter()
		return
	}
	err := s.flushUses(slice)
	if slice == 0 {
		err = errors.Join(err, s.flushAttempts())
	}
	if err != nil {
		s.opts.Log.Warn("last uses are not yet saved; they are tried again", "error", err)
	}
	if slice == 0 {
		s.checkpointIfDue(ctx)
	}
}

// flush writes all that uses and failed logins left in memory.
func (s *Store) flush(context.Context) error {
	var errs []error
	for slice := range flushSlices {
		errs = append(errs, s.flushUses(slice))
	}
	return errors.Join(append(errs, s.flushAttempts())...)
}

// flushUses writes the last uses of one slice of the shards.
func (s *Store) flushUses(slice int) error {
	s.flushing.Lock() // a backup flushes, too
	defer s.flushing.Unlock()
	const each = shardCount / flushSlices
	shards := s.table.shards[slice*each:][:each]
	var list []*badger.Entry
	for i := range shards {
		list = append(list, s.takeUses(&shards[i])...)
	}
	err := s.writeEntries(list)
	for i := range shards {
		shards[i].settle(err == nil)
	}
	return err
}

func (s *Store) flushAttempts() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	err := s.writeEntries(s.takeAttempts())
	s.attempts.settle(err == nil)
	return err
}

func (s *Store) takeUses(sh *shard) (list []*badger.Entry) {
	sh.dirtyMu.Lock()
	sh.flushing, sh.dirty = sh.dirty, nil
	sh.dirtyMu.Unlock()
	s.order.noteUses(sh.flushing)       // before they are no longer among the unsaved
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
