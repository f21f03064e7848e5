package uses

import (
	"errors"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Counted is closed when the index has the uses that the log had when it was
// opened, or when they can't be brought in: see [Flusher.Err].
func (f *Flusher) Counted() <-chan struct{} { return f.counted }

// Err returns why the uses that the log had when it was opened can't be brought into
// the index. It is nil until Counted is closed.
func (f *Flusher) Err() error {
	if disk.IsClosed(f.counted) {
		return f.err
	}
	return nil
}

// Recovered reports whether the index has the uses that the log had when it was
// opened.
func (f *Flusher) Recovered() bool { return disk.IsClosed(f.counted) && f.err == nil }

// LastUses calls fn with the last uses that the log had when it was opened, in its order:
// for each block once with each token in it.
func (l *Log) LastUses(fn func(keys.ID, record.LastUse)) error {
	var block uint64
	var last use
	err := l.readOld(-1, func(number, _ uint64, u use, _ record.Origin) {
		if number == block && u.id == last.id { // a token's entries are next to each other
			last.used = last.used.Later(u.used)
			return
		}
		if block > 0 {
			fn(last.id, last.used)
		}
		block, last = number, u
	})
	if block > 0 {
		fn(last.id, last.used)
	}
	return err
}

// HasOld reports whether the log had anything when it was opened.
func (l *Log) HasOld() bool { return len(l.old) > 0 }

// readOld reads the old segments. If the end of a segment does not verify, it
// was being written when the program was killed, or it is lost.
func (l *Log) readOld(slice int, fn func(number, run uint64, u use, from record.Origin)) error {
	for _, first := range l.old {
		whole, err := l.readSegment(first, func(number uint64, payload []byte) error {
			l.oldLast = max(l.oldLast, number)
			return eachUse(payload, slice, func(run uint64, u use, from record.Origin) { fn(number, run, u, from) })
		})
		if err != nil {
			return err
		}
		if !whole && slice <= 0 {
			l.warn.Warn("the end of a log of uses is damaged; the uses in it are not counted", "file", l.path(first))
		}
	}
	return nil
}

// Recover brings the uses that the log had when it was opened into the index, slice by
// slice, and then removes them from the log. Until then no newer uses go to the index:
// a record's mark must not go beyond uses that it does not count. Call it once, when
// the table is loaded, or with the error that prevents the loading.
func (f *Flusher) Recover(failed error) error {
	defer close(f.counted)
	if f.err = failed; f.err == nil && f.Log.HasOld() {
		f.err = f.recoverAll()
	}
	return f.err
}

func (f *Flusher) recoverAll() error {
	for slice := range Slices {
		if err := f.recoverSlice(slice); err != nil {
			return err
		}
	}
	debug.FreeOSMemory() // free what was found in one slice
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Log.drop(f.Log.run)
}

var errClosing = errors.New("the store is closing")

// recoverBatch is how many tokens are recovered between two pauses. A pause takes a millisecond
// on an idle machine, so a smaller number makes recovery slower.
const recoverBatch = 32

func (f *Flusher) recoverSlice(slice int) error {
	found := map[keys.ID]*recovered{}
	err := f.Log.readOld(slice, func(number, run uint64, u use, from record.Origin) {
		r := found[u.id]
		if r == nil {
			r = new(recovered)
			found[u.id] = r
		}
		r.add(pastUse{number, run, u, from})
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(slices.Collect(maps.Keys(found)), recoverBatch) {
		for {
			start := time.Now()
			err := f.recoverSome(part, found)
			if err == nil {
				worked := time.Since(start)
				start = time.Now()
				runtime.Gosched() // let requests run first: the longer they take, the longer is the pause
				if f.pause(min(worked+40*time.Since(start), 20*time.Millisecond)) {
					return errClosing
				}
				break
			}
			if !errors.Is(err, ErrBusy) && !f.Full(err) {
				return err
			}
			if f.pause(time.Millisecond) {
				return errClosing
			}
		}
	}
	return nil
}

// pause waits, and stops waiting when the store closes.
func (f *Flusher) pause(d time.Duration) (closing bool) {
	select {
	case <-time.After(d):
		return false
	case <-f.Closing:
		return true
	}
}

func (f *Flusher) recoverSome(ids []keys.ID, found map[keys.ID]*recovered) error {
	if !f.moving.TryLock() {
		return ErrBusy
	}
	defer f.moving.Unlock()
	limit, instead := f.Plausible()
	return f.update(ids, func(id keys.ID, r *record.UsageRecord) {
		found[id].bring(r, limit, instead)
		r.Mark = f.Log.oldLast
	})
}

// recovered is what the old segments say about one token.
type recovered []pastUse

type pastUse struct {
	block, run uint64
	use
	from record.Origin
}

// add notes what a block says; calls come in the order of the blocks. It drops
// the previous note if that is no longer needed: a token that is used all the
// time is in a block of each second.
func (p *recovered) add(u pastUse) {
	if n := len(*p) - 1; n >= 0 && u.covers((*p)[n]) {
		(*p)[n] = u
		return
	}
	*p = append(*p, u)
}

// covers reports whether a use says everything that an earlier one says.
func (u pastUse) covers(v pastUse) bool {
	return u.run == v.run && u.from == v.from && record.DayOf(u.used.Ms()) == record.DayOf(v.used.Ms()) && u.uses >= v.uses && u.used >= v.used
}

// bring adds to a token's usage the uses that it does not count yet: for each
// run and day the largest count. The last block says when the last use was. If an
// earlier one has a later time, that was written by a clock that was ahead.
func (p recovered) bring(r *record.UsageRecord, limit, instead int64) {
	type when struct {
		run uint64
		day int32
	}
	most := map[when]int64{}
	last := r.Mark
	for _, u := range p {
		if u.block <= r.Mark {
			continue
		}
		used := u.used.Believed(limit, instead)
		if u.block > last && used.IsUse() {
			r.Used = used
		}
		r.Used, last = r.Used.Later(used), u.block
		r.Saw(record.Seen{Origin: u.from, Time: used.Ms()})
		at := when{u.run, record.DayOf(u.used.Ms())}
		most[at] = max(most[at], u.uses)
	}
	for at, n := range most {
		if n > 0 {
			r.Count(at.day, n) // its readers check it for plausibility
		}
	}
}
