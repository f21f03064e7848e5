package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// flushSlices is in how many parts the uses of a second are written. In one
// burst they would hold up whoever wants a change just then.
const flushSlices = 16

const flushTick = time.Second / flushSlices

// flushEverySecond writes what uses and failed logins left in memory.
func (s *Store) flushEverySecond() {
	defer s.closed.Done()
	tick := time.NewTicker(flushTick)
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
	err := s.saveSlice(slice)
	if slice == 0 {
		err = errors.Join(err, s.flushAttempts())
	}
	if err != nil {
		s.opts.Log.Warn("uses are not yet saved; they are tried again", "error", err)
	}
	if slice == 0 {
		s.checkpointIfDue(ctx)
	}
}

// saveSlice writes the uses of one slice to their log, and goes on merging.
func (s *Store) saveSlice(slice int) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.saveUses(slice); err != nil {
		return err
	}
	return s.mergeSome(mergeShare(flushTick, s.uses.bytes))
}

// save writes to the log all that uses left in memory, and to Badger all that
// failed logins did.
func (s *Store) save() error {
	var errs []error
	for slice := range flushSlices {
		s.flushing.Lock()
		errs = append(errs, s.saveUses(slice))
		s.flushing.Unlock()
	}
	return errors.Join(append(errs, s.flushAttempts())...)
}

// flush brings into Badger all that uses and failed logins left in memory.
func (s *Store) flush(ctx context.Context) error {
	select {
	case <-s.old.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	if s.old.err != nil {
		return s.old.err
	}
	if err := s.save(); err != nil {
		return err
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(time.Hour)
	}
	return s.mergeAll(end)
}

// saveUses writes the uses of one slice of the shards to their log.
func (s *Store) saveUses(slice int) error {
	const each = shardCount / flushSlices
	shards := s.table.shards[slice*each:][:each]
	block := useBlock{slice: byte(slice), run: s.uses.run}
	var saved [each][]ID
	for i := range shards {
		saved[i] = shards[i].save(&block, s.order.noteUses)
	}
	if len(block.tokens) == 0 {
		return nil
	}
	err := s.uses.append(block.payload())
	if err != nil {
		for i := range shards {
			shards[i].unsave(saved[i])
		}
	}
	return err
}

// save says in a block what the log has not, and returns of which tokens; note
// is told before they are no longer among the unsaved.
func (sh *shard) save(b *useBlock, note func([]ID)) (ids []ID) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.unsaved) == 0 {
		return nil
	}
	note(sh.unsaved)
	numbers := make([]uint16, len(sh.origins.list)+1) // in the block
	for _, id := range sh.unsaved {
		n, _, ok := sh.find(id)
		if !ok {
			if d := sh.left[id]; d != nil {
				b.addUsage(id, d.used, &d.usage)
			}
			continue
		}
		s := sh.at(n)
		s.flags &^= flagUnsaved
		if sh.more[id] != nil {
			var u Usage
			sh.unwritten(id, s, &u)
			b.addUsage(id, s.lastUse(), &u)
			continue
		}
		if s.origin != 0 && numbers[s.origin] == 0 {
			numbers[s.origin] = b.origin(sh.origins.at(s.origin))
		}
		b.add(oneUse{id: id, used: s.lastUse(), uses: int64(s.uses), origin: numbers[s.origin]})
	}
	ids, sh.unsaved = sh.unsaved, nil
	return ids
}

// unsave has the tokens saved again.
func (sh *shard) unsave(ids []ID) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, id := range ids {
		if n, _, ok := sh.find(id); ok {
			sh.at(n).flags |= flagUnsaved
		}
	}
	sh.unsaved = append(ids, sh.unsaved...)
}

func (s *Store) flushAttempts() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	err := s.writeEntries(s.takeAttempts())
	s.attempts.settle(err == nil)
	return err
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
