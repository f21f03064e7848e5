package storage

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
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/wallclock"
)

// clock is the store's clock, and what was last logged and kept of it. What it knows
// is in a file of its own, beside the log: the log's records bear the times of a wrong
// clock too.
//
// A time that is still to come was written by a clock that was ahead, and has been set
// right since. What it says happened before that.
type clock struct {
	*wallclock.Clock // nil until it is open
	options          wallclock.Options
	read             func() time.Time
	doubtful         lasting.State
	note             func(Event) // brings a doubt into the audit log

	file  string
	seals *keys.Seals
	space *disk.Space
	log   *slog.Logger

	mu      sync.Mutex
	doubt   bool
	kept    wallclock.Known // as it is in the file
	written bool            // the store is not refused: the file may be written

	// What believe needs, for readers that hold no lock.
	trusted atomic.Bool
	set     atomic.Int64
	floor   atomic.Int64 // while the clock is in doubt, when it was right last
	wanted  atomic.Bool  // rectify is to go through the table

	rectifying sync.Mutex
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

func within(t time.Time) time.Time {
	switch ms := t.UnixMilli(); {
	case ms < firstTime:
		return time.UnixMilli(firstTime)
	case ms > lastTime:
		return time.UnixMilli(lastTime)
	}
	return t
}

// now is the time that is written and judged by. A clock in doubt that says a time before
// the one that was right last is certainly wrong: what is made then would be idle at once,
// and what has expired would work again.
func (c *clock) now() int64 { return max(c.wall(), c.floor.Load()) }

// wall is what the clock says.
func (c *clock) wall() int64 { return c.read().UnixMilli() }

// look returns the time, and a *wallclock.Doubt if nothing that can't be undone must be
// done because of it.
func (c *clock) look() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, doubt := c.Look()
	c.tell(doubt)
	return within(now), doubt
}

// confirm takes the clock for right.
func (c *clock) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Confirm()
	c.tell(nil)
}

// open begins with what the last program has kept. Of a store that has no such file, it
// knows only when the last record of the log was written.
func (c *clock) open(log *journal.Journal) error {
	var known wallclock.Known
	b, err := os.ReadFile(c.file)
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
	c.Clock = wallclock.New(c.options, known)
	c.doubtful = lasting.State{
		Log: c.log, Level: slog.LevelWarn,
		Begins: "the clock is in doubt: until it is confirmed (`gatehouse user offboard --confirm`), or has run evenly for a day, nothing is revoked or dropped because of its age",
		Ends:   "the clock is no longer in doubt",
	}
	c.look()
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
func (c *clock) tell(doubt error) {
	c.doubtful.Set(doubt)
	if doubt != nil && !c.doubt {
		c.note(Event{Action: ActionClockDoubt, Detail: doubt.Error()})
	}
	c.doubt = doubt != nil
	was, known := c.kept, c.Known()
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
func (c *clock) keep(known wallclock.Known) {
	c.kept = known
	if !c.written {
		return
	}
	b, err := json.Marshal(known)
	if err == nil && c.space.Lack(index.Floor) == nil {
		err = disk.WriteFile(c.file, c.seals.Seal(clockKey, b))
	}
	if err != nil {
		c.log.Debug("what is known of the clock is not kept", "error", err)
	}
}

// accepted lets the file be written: a store that is refused stays as it was.
func (c *clock) accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = true
	c.keep(c.Known())
}

// closeAll is for a stop.
func (c *clock) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Look()
	c.keep(c.Known())
}

// plausible returns the latest time that can be right, and what to take instead of a
// later one. While the clock is in doubt, every time can be.
func (c *clock) plausible() (limit, instead int64) {
	if !c.trusted.Load() {
		if c.Clock == nil {
			return math.MaxInt64, 0
		}
		if _, doubt := c.look(); doubt != nil { // it may have been set right just now
			return math.MaxInt64, 0
		}
	}
	return c.latest()
}

// latest is plausible by a clock that is trusted.
func (c *clock) latest() (limit, instead int64) {
	now := c.wall()
	if instead = c.set.Load(); instead <= 0 || instead > now {
		instead = now
	}
	return now + wallclock.Tolerance.Milliseconds(), instead
}

// past returns a time of the past as it is to be shown: never one still to come.
func (c *clock) past(ms int64) int64 {
	if limit, instead := c.plausible(); ms > limit {
		return instead
	}
	return min(ms, c.wall())
}

// believe returns a last use, or what to take instead.
func (c *clock) believe(u record.LastUse) record.LastUse {
	limit, instead := c.plausible()
	return u.Believed(limit, instead)
}

func (c *clock) believeUsage(r *record.UsageRecord) {
	limit, instead := c.plausible()
	r.Used = r.Used.Believed(limit, instead)
	r.Believed(limit, instead)
}

// rectify goes through a table that is loaded, once, after a start and when the clock has
// been set right, and replaces what its tokens have of times to come. What it has replaced
// goes the way of a use, so that it is so for good. When it returns, that is done, also
// when another call had begun it.
func (c *clock) rectify(t *table.Table) {
	c.rectifying.Lock()
	defer c.rectifying.Unlock()
	if !c.trusted.Load() || !c.wanted.Swap(false) {
		return
	}
	t.Rectify(func() table.Times {
		limit, set := c.latest()
		return table.Times{Limit: limit, Set: set, Now: c.wall()}
	})
}

// Now returns the time by the store's clock, and a *wallclock.Doubt if nothing that
// can't be undone must be done because of it.
func (s *Store) Now() (time.Time, error) { return s.clock.look() }

// ConfirmTime takes the clock for right, as an administrator says.
func (s *Store) ConfirmTime(by Actor) {
	s.clock.confirm()
	s.Note(by, Event{Action: ActionClockConfirm})
}

// Past returns a time of the past as it is to be shown: never one still to come.
func (s *Store) Past(ms int64) int64 { return s.clock.past(ms) }
