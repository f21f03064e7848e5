package uses

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Slices is in how many parts uses are written to the log: in one burst they would
// hold up callers that want a change just then.
const Slices = 16

// Options say between what a flusher stands.
type Options struct {
	Table *table.Table
	Log   *Log

	// Update changes the usage records of tokens in one transaction of the index.
	// Of a token that has no record there it changes none.
	Update func(ids []keys.ID, change func(keys.ID, *record.UsageRecord)) error
	// Noted is called before tokens leave the table's unsaved: see [table.Table.Save].
	Noted func(unsaved func() []keys.ID)
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

	mu        sync.Mutex // for the log and what follows
	pass      pass
	shorter   *shortening // nil: none is under way
	shortened int64       // how long the last one left the log, in bytes

	// What a listing shows of a token's uses is in two places. What moves it
	// from one to the other only ever tries the lock: readers never wait for
	// each other.
	moving sync.RWMutex

	counted chan struct{} // closed when the old segments are in the index, or can't be brought in
	err     error         // why they can't; to be read when counted is closed
}

// New returns a flusher. What the log had when it was opened waits for Recover.
func New(o Options) *Flusher {
	return &Flusher{Options: o, pass: pass{shard: table.Shards}, counted: make(chan struct{})}
}

// RLock keeps uses where they are until RUnlock: callers that read both the index and
// the table find each use once.
func (f *Flusher) RLock() { f.moving.RLock() }

// RUnlock undoes RLock.
func (f *Flusher) RUnlock() { f.moving.RUnlock() }

// Save writes to the log what one slice of the table has and the log does not.
func (f *Flusher) Save(slice int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.save(slice)
}

// SaveAll is Save for all slices.
func (f *Flusher) SaveAll() error {
	var errs []error
	for slice := range Slices {
		errs = append(errs, f.Save(slice))
	}
	return errors.Join(errs...)
}

// Tick writes the uses of one slice to the log, and keeps the log short. With merge it
// also goes on for a moment with bringing uses into the index. It returns the errors
// of Update, too.
func (f *Flusher) Tick(slice int, merge bool, moment time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.save(slice); err != nil {
		return err
	}
	err := f.shortenSome()
	if merge {
		err = errors.Join(err, f.mergeSome(moment))
	}
	return err
}

// manyOrigins is how many of them a block may have before the next shard's come
// to it: of a slice they can be more than a block has numbers for.
const manyOrigins = 1 << 12

func (f *Flusher) save(slice int) (err error) {
	const each = table.Shards / Slices
	first := slice * each
	b := block{slice: byte(slice), run: f.Log.run}
	for i := range each {
		if !f.Hurry() {
			runtime.Gosched() // requests come first; all of it takes a millisecond
		}
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
		f.shorter = nil // the log lacks some of what it was to be told
		for i := range each {
			f.Table.Unsave(first + i)
		}
	}
	return err
}

// shortening makes the log shorter. A block says how often a token was used in all,
// since the index was told, and not by how much more. So when everything has been said
// once more, what the log had before may go, and the log is never much longer than what
// there is to say, however often tokens are used and however late a pass is.
//
// One shard is said again at each tick. In one burst it would hold up requests.
type shortening struct {
	shard  int    // the next
	before uint64 // the segments that may go at the end
}

// enoughLog is how long the log may become beyond twice what was left of it by
// the shortening before.
const enoughLog = 64 << 20

// Shorten has the next ticks shorten the log, however long it is.
func (f *Flusher) Shorten() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shorter == nil {
		f.shorter = &shortening{before: f.Log.rotate()}
	}
}

// shortenSome has the log told of one more shard, if there is a reason. The
// next ticks write it.
func (f *Flusher) shortenSome() error {
	if !f.Recovered() {
		return nil // the segments of before the start are still to be read
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
	f.Table.Unsave(r.shard%Slices*each + r.shard/Slices) // of another slice each time
	if r.shard++; r.shard < table.Shards {
		return nil
	}
	for slice := range Slices { // a tick may have been left out
		if err := f.save(slice); err != nil {
			return err
		}
	}
	f.shorter = nil
	err := f.Log.drop(r.before)
	f.shortened = f.Log.bytes
	return err
}
