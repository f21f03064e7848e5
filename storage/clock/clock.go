// Package clock owns what a store knows of the time: whether the clock can be believed,
// what to take instead of a time that can't be right, and the file in which that is kept.
// The log's records bear the times of a wrong clock too, so the file is beside the log.
//
// A time that is still to come was written by a clock that was ahead, and has been set
// right since. What it says happened before that.
//
// The package judges times. Its callers know what must not be done while the clock is in
// doubt. It never rewrites a record that has a wrong time.
package clock

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/wallclock"
)

// Clock is a store's clock. It may be used by many goroutines once it is open.
type Clock struct {
	opts     Options
	wall     *wallclock.Clock // nil until it is open
	seals    *keys.Seals
	doubtful lasting.State

	mu      sync.Mutex
	doubt   bool
	kept    wallclock.Known // as it is in the file
	written bool            // the store is not refused: the file may be written

	// What Believe needs, for readers that hold no lock.
	trusted atomic.Bool
	set     atomic.Int64
	floor   atomic.Int64 // while the clock is in doubt, when it was right last
	wanted  atomic.Bool  // Rectify is to go through the table

	rectifying sync.Mutex
}

// Options say what a clock is made of.
type Options struct {
	wallclock.Options
	File  string      // where what is known is kept
	Space *disk.Space // of the disk that the file is on
	Least uint64      // bytes that must be free there for the file to be written
	Log   *slog.Logger
	Note  func(doubt error) // brings a doubt that begins into the audit log
}

// New returns a clock that is not yet open: it tells the time, and believes every time.
func New(o Options) *Clock {
	c := &Clock{opts: o}
	c.wanted.Store(true)
	return c
}

// keepEvery is how often the file is written while the clock is right.
const keepEvery = time.Hour

var clockKey = []byte("m clock")

// The times that the store can hold: token tables keep 47 bits. A clock outside, such
// as one before 1970, counts as one at the end of the range; 0 means never.
const (
	firstTime = 1
	lastTime  = 1<<47 - 2
)

// within returns the time that a store can hold which is next to t.
func within(t time.Time) time.Time {
	switch ms := t.UnixMilli(); {
	case ms < firstTime:
		return time.UnixMilli(firstTime)
	case ms > lastTime:
		return time.UnixMilli(lastTime)
	}
	return t
}

// Now is the time, in ms, that is written and judged by. A clock in doubt that says a
// time before the one that was right last is certainly wrong: what is made then would be
// idle at once, and what has expired would work again.
func (c *Clock) Now() int64 { return max(c.ms(), c.floor.Load()) }

// ms is what the clock says.
func (c *Clock) ms() int64 { return c.Time().UnixMilli() }

// Time is what the clock says.
func (c *Clock) Time() time.Time {
	if c.opts.Now == nil {
		return within(time.Now())
	}
	return within(c.opts.Now())
}

// Look returns the time, and a *wallclock.Doubt if nothing that can't be undone must be
// done because of it.
func (c *Clock) Look() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, doubt := c.wall.Look()
	c.tell(doubt)
	return within(now), doubt
}

// Confirm takes the clock for right.
func (c *Clock) Confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall.Confirm()
	c.tell(nil)
}

// Open begins with what the last program has kept. Of a store that has no such file, it
// knows only when the last record of the log was written.
func (c *Clock) Open(log *journal.Journal, seals *keys.Seals) error {
	c.seals = seals
	var known wallclock.Known
	b, err := os.ReadFile(c.opts.File)
	if err == nil {
		if b, err = c.seals.Open(clockKey, b); err == nil {
			err = json.Unmarshal(b, &known)
		}
	}
	if err != nil {
		if known, err = timeOfLastRecord(log); err != nil {
			return err
		}
	}
	c.wall = wallclock.New(c.opts.Options, known)
	c.doubtful = lasting.State{
		Log: c.opts.Log, Level: slog.LevelWarn,
		Begins: "the clock is in doubt: until it is confirmed (`gatehouse user offboard --confirm`), or has run evenly for a day, nothing is revoked or dropped because of its age",
		Ends:   "the clock is no longer in doubt",
	}
	c.Look()
	return nil
}

func timeOfLastRecord(log *journal.Journal) (known wallclock.Known, err error) {
	last := log.LastSequence()
	if last < log.FirstSequence() {
		return known, nil
	}
	err = log.Replay(context.Background(), last-1, func(r journal.Record) error {
		known = wallclock.Known{Right: r.Time, Proven: true}
		return nil
	})
	if err != nil {
		err = disk.NotRead("read the journal", err)
	}
	return known, err
}

// tell logs when a doubt begins, while it lasts and when it ends, and keeps what is
// known. The caller holds mu.
func (c *Clock) tell(doubt error) {
	c.doubtful.Set(doubt)
	if doubt != nil && !c.doubt {
		c.opts.Note(doubt)
	}
	c.doubt = doubt != nil
	was, known := c.kept, c.wall.Known()
	c.trusted.Store(doubt == nil)
	c.set.Store(known.Set)
	if doubt == nil {
		c.floor.Store(0)
	} else {
		c.floor.Store(known.Right)
	}
	if known.Set != was.Set {
		c.wanted.Store(true)
	}
	c.kept.Right, c.kept.Since, c.kept.Offset = known.Right, known.Since, known.Offset // these move a little all the time
	if known != c.kept || known.Right-was.Right >= keepEvery.Milliseconds() {
		c.keep(known)
		return
	}
	c.kept = was
}

// keep writes the file. When it can't, because the disk is full, a later start knows
// less, and holds more.
func (c *Clock) keep(known wallclock.Known) {
	c.kept = known
	if !c.written {
		return
	}
	b, err := json.Marshal(known)
	if err == nil && c.opts.Space.Lack(c.opts.Least) == nil {
		err = disk.WriteFile(c.opts.File, c.seals.Seal(clockKey, b))
	}
	if err != nil {
		c.opts.Log.Debug("what is known of the clock is not kept", "error", err)
	}
}

// Stop ends the telling of a doubt.
func (c *Clock) Stop() { c.doubtful.Stop() }

// Accepted lets the file be written: a store that is refused stays as it was.
func (c *Clock) Accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = true
	c.keep(c.wall.Known())
}

// Close keeps what is known. It is for a stop.
func (c *Clock) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall.Look()
	c.keep(c.wall.Known())
}

// Plausible returns the latest time that can be right, and what to take instead of a
// later one. While the clock is in doubt, every time can be.
func (c *Clock) Plausible() (limit, instead int64) {
	if !c.trusted.Load() {
		if c.wall == nil {
			return math.MaxInt64, 0
		}
		if _, doubt := c.Look(); doubt != nil { // it may have been set right just now
			return math.MaxInt64, 0
		}
	}
	return c.latest()
}

// latest is plausible by a clock that is trusted.
func (c *Clock) latest() (limit, instead int64) {
	now := c.ms()
	if instead = c.set.Load(); instead <= 0 || instead > now {
		instead = now
	}
	return now + wallclock.Tolerance.Milliseconds(), instead
}

// Past returns a time of the past as it is to be shown: never one still to come.
func (c *Clock) Past(ms int64) int64 {
	if limit, instead := c.Plausible(); ms > limit {
		return instead
	}
	return min(ms, c.ms())
}

// Believe returns a last use, or what to take instead.
func (c *Clock) Believe(u record.LastUse) record.LastUse {
	limit, instead := c.Plausible()
	return u.Believed(limit, instead)
}

func (c *Clock) BelieveUsage(r *record.UsageRecord) {
	limit, instead := c.Plausible()
	r.Used = r.Used.Believed(limit, instead)
	r.Believed(limit, instead)
}

// Rectify goes through a table that is loaded, once, after a start and when the clock has
// been set right, and replaces what its tokens have of times to come. What it has replaced
// goes the way of a use, so that it is so for good. When it returns, that is done, also
// when another call had begun it.
func (c *Clock) Rectify(t *table.Table) {
	c.rectifying.Lock()
	defer c.rectifying.Unlock()
	if !c.trusted.Load() || !c.wanted.Swap(false) {
		return
	}
	t.Rectify(func() table.Times {
		limit, set := c.latest()
		return table.Times{Limit: limit, Set: set, Now: c.ms()}
	})
}
