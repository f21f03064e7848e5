// Package clock owns what a store knows about the time: whether the clock can be trusted,
// what replaces a time that can't be right, and the file that keeps this knowledge. The
// journal's records have the times of a wrong clock too, so the file is separate from the
// log.
//
// A time in the future was written by a clock that was ahead and has been set right
// since. The event happened before the clock was set right.
//
// The package judges times. Its callers decide what must not be done while the clock is
// in doubt. It never rewrites a record that has a wrong time.
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
	kept    wallclock.Known // the content of the file
	written bool            // the store was accepted: the file may be written

	// What Plausible needs, for readers that hold no lock.
	trusted atomic.Bool
	right   atomic.Int64 // when it was trusted last
	set     atomic.Int64
	floor   atomic.Int64 // when the clock was right last; set while it is in doubt
	wanted  atomic.Bool  // Rectify must go through the table

	rectifying sync.Mutex
}

// Options say what a clock is made of.
type Options struct {
	wallclock.Options
	File  string      // the file that keeps the knowledge
	Space *disk.Space // the disk of the file
	Least uint64      // bytes that must be free there for the file to be written
	Log   *slog.Logger
	Note  func(doubt error) // writes the beginning of a doubt to the audit log
}

// New returns a clock that is not open yet: it tells the time, and accepts every time
// as right.
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

// within returns the time nearest to t that a store can hold.
func within(t time.Time) time.Time {
	switch ms := t.UnixMilli(); {
	case ms < firstTime:
		return time.UnixMilli(firstTime)
	case ms > lastTime:
		return time.UnixMilli(lastTime)
	}
	return t
}

// Now returns the time in ms for new records and for judging expiry. If a clock in doubt
// shows a time before the last right one, that is certainly wrong: new tokens would be
// idle at once, and expired ones would work again. So Now never goes below the last
// right time.
func (c *Clock) Now() int64 { return max(c.ms(), c.floor.Load()) }

// ms reads the clock in ms.
func (c *Clock) ms() int64 { return c.Time().UnixMilli() }

// Time reads the clock.
func (c *Clock) Time() time.Time {
	if c.opts.Now == nil {
		return within(time.Now())
	}
	return within(c.opts.Now())
}

// Look returns the time. It also returns a *wallclock.Doubt if the clock may be wrong:
// then nothing that can't be undone may rest on it.
func (c *Clock) Look() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, doubt := c.wall.Look()
	c.tell(doubt)
	return within(now), doubt
}

// Confirm accepts the clock as right.
func (c *Clock) Confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall.Confirm()
	c.tell(nil)
}

// Open begins with the knowledge of the last program. Without the file it knows only
// when the last record of the journal was written.
func (c *Clock) Open(j *journal.Journal, seals *keys.Seals) error {
	c.seals = seals
	var known wallclock.Known
	b, err := os.ReadFile(c.opts.File)
	if err == nil {
		if b, err = c.seals.Open(clockKey, b); err == nil {
			err = json.Unmarshal(b, &known)
		}
	}
	if err != nil {
		if known, err = timeOfLastRecord(j); err != nil {
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

func timeOfLastRecord(j *journal.Journal) (known wallclock.Known, err error) {
	last := j.LastSequence()
	if last < j.FirstSequence() {
		return known, nil
	}
	err = j.Replay(context.Background(), last-1, func(r journal.Record) error {
		known = wallclock.Known{Right: r.Time, Proven: true}
		return nil
	})
	if err != nil {
		err = disk.NotRead("", err)
	}
	return known, err
}

// tell logs a doubt when it begins, while it lasts and when it ends, and keeps the
// knowledge. The caller holds mu.
func (c *Clock) tell(doubt error) {
	c.doubtful.Set(doubt)
	if doubt != nil && !c.doubt {
		c.opts.Note(doubt)
	}
	c.doubt = doubt != nil
	was, known := c.kept, c.wall.Known()
	c.trusted.Store(doubt == nil)
	c.right.Store(known.Right)
	c.set.Store(known.Set)
	if doubt == nil {
		c.floor.Store(0)
	} else {
		c.floor.Store(known.Right)
	}
	if known.Set != was.Set {
		c.wanted.Store(true)
	}
	c.kept.Right, c.kept.Since, c.kept.Offset = known.Right, known.Since, known.Offset // these change slightly all the time
	if known != c.kept || known.Right-was.Right >= keepEvery.Milliseconds() {
		c.keep(known)
		return
	}
	c.kept = was
}

// keep writes the file. If it can't, because the disk is full, a later start knows
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
		c.opts.Log.Debug("the state of the clock could not be saved", "error", err)
	}
}

// Stop ends the logging of a doubt.
func (c *Clock) Stop() { c.doubtful.Stop() }

// Accepted lets the file be written: a store that is refused stays as it was.
func (c *Clock) Accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = true
	c.keep(c.wall.Known())
}

// Close writes the knowledge to the file, at a stop.
func (c *Clock) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall.Look()
	c.keep(c.wall.Known())
}

// Plausible returns the latest time that can be right, and the replacement for later
// ones. While the clock is in doubt, every time can be right.
func (c *Clock) Plausible() (limit, instead int64) {
	if c.wall == nil {
		return math.MaxInt64, 0
	}
	at, sure := c.times()
	if !sure { // the clock may just have been set, right or wrong
		if now, doubt := c.Look(); doubt == nil {
			at = c.timesAt(now.UnixMilli())
		}
	}
	return at.Limit, at.Set
}

// times says which times are in the future. It is not sure if the clock is in doubt, or has
// moved more since it was last looked at than it may: then every time can be right.
func (c *Clock) times() (at table.Times, sure bool) {
	now := c.ms()
	ahead := now - c.right.Load()
	if !c.trusted.Load() || ahead > wallclock.Tolerance.Milliseconds() || ahead < -wallclock.Tolerance.Milliseconds() {
		return table.Times{Limit: math.MaxInt64}, false
	}
	return c.timesAt(now), true
}

// timesAt is times for a clock that is right.
func (c *Clock) timesAt(now int64) table.Times {
	set := c.set.Load()
	if set <= 0 || set > now {
		set = now
	}
	return table.Times{Limit: now + wallclock.Tolerance.Milliseconds(), Set: set, Now: now}
}

// Past returns a time of the past for display: it is never in the future.
func (c *Clock) Past(ms int64) int64 {
	if limit, instead := c.Plausible(); ms > limit {
		return instead
	}
	return min(ms, c.ms())
}

// BelieveUsage replaces the times of a usage that can't be right.
func (c *Clock) BelieveUsage(r *record.UsageRecord) {
	limit, instead := c.Plausible()
	r.Used = r.Used.Believed(limit, instead)
	r.Believed(limit, instead)
}

// Rectify goes through a loaded table and replaces times in the future, once after a
// start and once each time when the clock has been set right. A replacement is written
// like a use, so that it is permanent. When Rectify returns the work is done, even if
// another call had begun it, or the clock has been set again and a later call does it.
func (c *Clock) Rectify(t *table.Table) {
	c.rectifying.Lock()
	defer c.rectifying.Unlock()
	if _, doubt := c.Look(); doubt != nil || !c.wanted.Swap(false) {
		return
	}
	t.Rectify(func() table.Times {
		at, sure := c.times() // without Look, which may wait for a change, and that for the table
		if !sure {
			c.wanted.Store(true)
		}
		return at
	})
}
