package uses

import (
	"errors"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// A pass goes through the table and brings its uses into the index. Writing the usage
// of one token takes a read and a write there, as long as a verification by HTTP. So
// a pass is slow on purpose. Uses that it has not reached yet are in the log, which
// is kept short in another way (see shortening). When a pass ends, the log from
// before the pass may go.
type pass struct {
	shard  int    // where to go on; table.Shards: no pass is in progress
	slot   uint32 // where to go on, downwards
	before uint64 // the segments before this one may go when the pass ends
	merged int    // tokens
	next   time.Time
}

const (
	mostPause  = 10 * time.Second
	leastPause = time.Second
	batch      = 8 // tokens of one transaction
)

// pause returns how long to wait after a pass: the less there was to do, the sooner the
// index has what is new.
func (p *pass) pause() time.Duration {
	return min(max(time.Duration(p.merged)*10*time.Millisecond, leastPause), mostPause)
}

// ErrBusy says that somebody is reading the usages, or that there was not
// enough time.
var ErrBusy = errors.New("the usages are being read")

// mergeSome continues a pass for the given time, or begins one when one is due.
func (f *Flusher) mergeSome(d time.Duration) error {
	if !f.Recovered() {
		return nil // a mark must not go beyond uses that are not counted yet
	}
	if f.pass.shard == table.Shards {
		if time.Now().Before(f.pass.next) || f.Log.bytes == 0 {
			return nil
		}
		f.beginPass()
	}
	if err := f.goOn(d, begin(true)); !errors.Is(err, ErrBusy) {
		return err
	}
	return nil // no hurry
}

func (f *Flusher) beginPass() { f.pass = pass{before: f.Log.rotate(), slot: f.Table.Top(0)} }

// goOn merges until the pass ends, somebody reads, or it has worked for so long.
func (f *Flusher) goOn(most time.Duration, t *turn) error {
	for t.work() < most {
		t.rest()
		shard := f.pass.shard
		if err := f.mergeBatch(shard); err != nil {
			return err
		}
		if f.pass.slot > 0 || f.Table.Departed(shard) {
			continue
		}
		f.Table.Tidy(shard)
		if f.pass.shard++; f.pass.shard == table.Shards {
			f.pass.next = time.Now().Add(f.pass.pause())
			return f.Log.drop(f.pass.before)
		}
		f.pass.slot = f.Table.Top(f.pass.shard)
	}
	return nil
}

// Merge brings all uses into the index. It returns ErrBusy if it is not done by
// end. Now and then it calls stop, and returns its error if there is one.
func (f *Flusher) Merge(end time.Time, stop func() error) error {
	for _, again := range []bool{false, true} { // the current pass may already have passed the newest uses
		if again {
			f.mu.Lock()
			f.beginPass()
			f.mu.Unlock()
		}
		for {
			done, err := f.mergeMore()
			if done {
				break
			}
			busy := errors.Is(err, ErrBusy)
			if err != nil && !busy {
				return err
			}
			if err := stop(); err != nil {
				return err
			}
			if time.Now().After(end) {
				return ErrBusy
			}
			if busy {
				time.Sleep(time.Millisecond)
			}
		}
	}
	return nil
}

// mergeMore continues a pass for a few milliseconds; done reports that no pass is
// left.
func (f *Flusher) mergeMore() (done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pass.shard == table.Shards {
		return true, nil
	}
	return false, f.goOn(20*time.Millisecond, begin(false))
}

// mergeBatch merges a few tokens of a shard. Readers wait for it, so that they
// find each use exactly once. A use is in the log before it is in the index, so that
// after a kill the log has the last one: see [table.Table.Recall].
func (f *Flusher) mergeBatch(shard int) error {
	if err := f.saveShard(shard); err != nil {
		return err
	}
	if !f.moving.TryLock() {
		return ErrBusy
	}
	defer f.moving.Unlock()
	taken, slot := f.Table.Take(shard, f.pass.slot, batch, f.Noted)
	ids := make([]keys.ID, 0, len(taken))
	for id := range taken {
		ids = append(ids, id)
	}
	err := f.update(ids, func(id keys.ID, r *record.UsageRecord) {
		r.Take(taken[id])
		r.Mark = f.Log.last
	})
	if err != nil {
		f.Table.GiveBack(shard, taken)
		return err
	}
	f.pass.slot = slot
	f.pass.merged += len(ids)
	return nil
}

func (f *Flusher) update(ids []keys.ID, change func(keys.ID, *record.UsageRecord)) error {
	if len(ids) == 0 {
		return nil
	}
	return f.Update(ids, change)
}
