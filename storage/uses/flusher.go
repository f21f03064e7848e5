package uses

import (
	"errors"
	"sync"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Slices is the number of parts in which uses are written to the log: one burst
// would delay callers that want a change at that moment.
const Slices = 16

// Options connect a flusher to the table, the index and the store.
type Options struct {
	Table *table.Table
	Log   *Log

	// Update changes the usage records of tokens in one transaction of the index.
	// It skips tokens that have no record there.
	Update func(ids []keys.ID, change func(keys.ID, *record.UsageRecord)) error
	// Noted is called before tokens leave the table's unsaved: see [table.Table.Save].
	Noted func(unsaved func() []table.Sight)
	// Plausible says which times can be right: see [record.LastUse.Believed].
	Plausible func() (limit, instead int64)
	// Hurry reports whether a tick must not wait for requests.
	Hurry func() bool
	// Full reports whether an error of Update says that the disk is full for now.
	Full func(error) bool
	// Closing is closed when the store closes.
	Closing <-chan struct{}
}

// Flusher moves uses from the table to the log and to the index. Its methods may be
// called by many goroutines.
type Flusher struct {
	Options

	mu        sync.Mutex // guards the log and the fields below
	pass      pass
	shorter   *shortening // nil: none is in progress
	shortened int64       // the length of the log after the last one, in bytes

	// The uses that a listing shows are in two places. Code that moves uses from one
	// to the other uses TryLock: a waiting writer would make new readers wait.
	moving sync.RWMutex

	counted chan struct{} // closed when the old segments are in the index, or can't be brought in
	err     error         // why they can't; read it only after counted is closed
}

// New returns a flusher. Uses that the log had when it was opened wait for
// Recover.
func New(o Options) *Flusher {
	return &Flusher{Options: o, pass: pass{shard: table.Shards}, counted: make(chan struct{})}
}

// RLock keeps uses where they are until RUnlock: callers that read both the index and
// the table find each use exactly once.
func (f *Flusher) RLock() { f.moving.RLock() }

// RUnlock undoes RLock.
func (f *Flusher) RUnlock() { f.moving.RUnlock() }

// Save writes to the log the uses that one slice of the table has and the log
// does not.
func (f *Flusher) Save(slice int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.save(slice, &turn{})
}

// SaveAll is Save for all slices.
func (f *Flusher) SaveAll() error {
	var errs []error
	for slice := range Slices {
		errs = append(errs, f.Save(slice))
	}
	return errors.Join(errs...)
}

// Tick writes the uses of one slice to the log, and keeps the log short. If merge is not 0,
// it then brings uses into the index for about that long. It rests now and then, so that
// requests do not wait. It returns errors of Update, too.
func (f *Flusher) Tick(slice int, merge time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.save(slice, begin(!f.Hurry())); err != nil {
		return err
	}
	err := f.shortenSome()
	if merge != 0 {
		err = errors.Join(err, f.mergeSome(merge))
	}
	return err
}

// manyOrigins is how many origins a block may have before the next shard goes
// to a new block: a slice can have more origins than a block has numbers for.
const manyOrigins = 1 << 12

func (f *Flusher) save(slice int, t *turn) (err error) {
	const each = table.Shards / Slices
	first := slice * each
	b := block{slice: byte(slice), run: f.Log.run}
	for i := range each {
		t.rest()
		f.Table.Save(first+i, &b, f.Noted)
		if len(b.tokens) == 0 || len(b.origins) < manyOrigins && i < each-1 {
			continue
		}
		if err = f.Log.append(b.payload()); err != nil {
			break
		}
		b = block{slice: byte(slice), run: f.Log.run}
	}
	if err != nil {
		for i := range each {
			f.unsave(first + i)
		}
	}
	return err
}

// saveShard is Save for one shard.
func (f *Flusher) saveShard(shard int) error {
	b := block{slice: byte(shard * Slices / table.Shards), run: f.Log.run}
	f.Table.Save(shard, &b, f.Noted)
	if len(b.tokens) == 0 {
		return nil
	}
	err := f.Log.append(b.payload())
	if err != nil {
		f.unsave(shard)
	}
	return err
}

// unsave makes the next ticks save a shard again: the log lacks some uses that it should
// have got.
func (f *Flusher) unsave(shard int) {
	f.shorter = nil
	f.Table.Unsave(shard)
}

// shortening makes the log shorter. A block says how often a token was used in all
// since the index was last updated, not how often since the previous block. So after
// everything has been written once more, the older part of the log may go. The log is
// therefore never much longer than its content requires, however often tokens are used
// and however late a pass is.
//
// Each tick writes one shard again. One burst would delay requests.
type shortening struct {
	shard  int    // the next shard
	before uint64 // the segments that may go at the end
}

// enoughLog is how many bytes the log may grow beyond twice its length after
// the previous shortening.
const enoughLog = 64 << 20

// Shorten makes the next ticks shorten the log, even if it is short already.
func (f *Flusher) Shorten() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shorter == nil {
		f.shorter = &shortening{before: f.Log.rotate()}
	}
}

// shortenSome marks one more shard to be written again, if there is a reason.
// The next ticks write it.
func (f *Flusher) shortenSome() error {
	if !f.Recovered() {
		return nil // the segments from before the start are not read yet
	}
	r := f.shorter
	if r == nil && f.Log.bytes < 2*f.shortened+enoughLog {
		return nil
	}
	if r == nil {
		r = &shortening{before: f.Log.rotate()}
		f.shorter = r
	}
	const each = table.Shards / Slices
	f.Table.Unsave(r.shard%Slices*each + r.shard/Slices) // each time in another slice
	if r.shard++; r.shard < table.Shards {
		return nil
	}
	for slice := range Slices { // a tick may have been skipped
		if err := f.save(slice, begin(true)); err != nil {
			return err
		}
	}
	f.shorter = nil
	err := f.Log.drop(r.before)
	f.shortened = f.Log.bytes
	return err
}
