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
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/wallclock"
)

// times is the store's clock, and what was last logged and kept of it. What it knows
// is in a file of its own, beside the journal: the journal's records bear the times of
// a wrong clock too.
type times struct {
	*wallclock.Clock
	wrong lasting.State

	options wallclock.Options

	mu     sync.Mutex
	doubt  bool
	kept   wallclock.Known // as it is in the file
	opened bool            // the store is open, and the file may be written

	// What believe needs, for readers that hold no lock.
	trusted atomic.Bool
	set     atomic.Int64
	floor   atomic.Int64 // while the clock is in doubt, when it was right last
	wanted  atomic.Bool  // rectify is to go through the table
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
func (s *Store) now() int64 { return max(s.wall(), s.times.floor.Load()) }

// wall is what the clock says.
func (s *Store) wall() int64 { return s.opts.Now().UnixMilli() }

// Now returns the time by the store's clock, and a *wallclock.Doubt if nothing that
// can't be undone must be done because of it.
func (s *Store) Now() (time.Time, error) {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	now, doubt := s.times.Look()
	s.tellTime(doubt)
	return within(now), doubt
}

// ConfirmTime takes the clock for right, as an administrator says.
func (s *Store) ConfirmTime(by Actor) {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	s.times.Confirm()
	s.tellTime(nil)
	s.Note(by, Event{Action: ActionClockConfirm})
}

// openTimes begins with what the last program has kept. Of a store that has no such
// file, it knows only when the last record was written.
func (s *Store) openTimes() error {
	var known wallclock.Known
	b, err := os.ReadFile(s.path("clock"))
	if err == nil {
		if b, err = s.seals.Open(clockKey, b); err == nil {
			err = json.Unmarshal(b, &known)
		}
	}
	if err != nil {
		if known, err = s.timeOfLastRecord(); err != nil {
			return err
		}
	}
	s.times.Clock = wallclock.New(s.times.options, known)
	s.times.wrong = lasting.State{
		Log: s.opts.Log, Level: slog.LevelWarn,
		Begins: "the clock is in doubt: until it is confirmed (`gatehouse user offboard --confirm`), or has run evenly for a day, nothing is revoked or dropped because of its age",
		Ends:   "the clock is no longer in doubt",
	}
	s.Now()
	return nil
}

func (s *Store) timeOfLastRecord() (known wallclock.Known, err error) {
	last := s.journal.LastSequence()
	if last < s.journal.FirstSequence() {
		return known, nil
	}
	err = s.journal.Replay(context.Background(), last-1, func(r journal.Record) error {
		known = wallclock.Known{Right: r.Time, Proven: true}
		return nil
	})
	if err != nil {
		err = disk.NotRead("read the journal", err)
	}
	return known, err
}

// tellTime logs when a doubt begins, while it lasts and when it ends, and keeps what is
// known. The caller holds mu.
func (s *Store) tellTime(doubt error) {
	t := &s.times
	t.wrong.Set(doubt)
	if doubt != nil && !t.doubt {
		s.Note(Actor{Name: "clock"}, Event{Action: ActionClockDoubt, Detail: doubt.Error()})
	}
	t.doubt = doubt != nil
	was, known := t.kept, t.Known()
	t.trusted.Store(doubt == nil)
	t.set.Store(known.Set)
	if doubt == nil {
		t.floor.Store(0)
	} else {
		t.floor.Store(known.Right)
	}
	if known.Set != was.Set {
		t.wanted.Store(true)
	}
	t.kept.Right, t.kept.Since, t.kept.Offset = known.Right, known.Since, known.Offset // these move a little all the time
	if known != t.kept || known.Right-was.Right >= keepEvery.Milliseconds() {
		s.keepTime(known)
		return
	}
	t.kept = was
}

// keepTime writes the file. When it can't, because the disk is full, a later start
// knows less, and holds more.
func (s *Store) keepTime(known wallclock.Known) {
	s.times.kept = known
	if !s.times.opened {
		return
	}
	b, err := json.Marshal(known)
	if err == nil && s.space.Lack(index.Floor) == nil {
		err = disk.WriteFile(s.path("clock"), s.seals.Seal(clockKey, b))
	}
	if err != nil {
		s.opts.Log.Debug("what is known of the clock is not kept", "error", err)
	}
}

// timesOpened lets the file be written: a store that is refused stays as it was.
func (s *Store) timesOpened() {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	s.times.opened = true
	s.keepTime(s.times.Known())
}

// closeTimes is for a stop.
func (s *Store) closeTimes() {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	s.times.Look()
	s.keepTime(s.times.Known())
}

// A time that is still to come was written by a clock that was ahead, and has been set
// right since. What it says happened before that.

// plausible returns the latest time that can be right, and what to take instead of a
// later one. While the clock is in doubt, every time can be.
func (s *Store) plausible() (limit, instead int64) {
	if !s.times.trusted.Load() {
		if s.times.Clock == nil {
			return math.MaxInt64, 0
		}
		if _, doubt := s.Now(); doubt != nil { // it may have been set right just now
			return math.MaxInt64, 0
		}
	}
	return s.latest()
}

// latest is plausible by a clock that is trusted.
func (s *Store) latest() (limit, instead int64) {
	now := s.wall()
	if instead = s.times.set.Load(); instead <= 0 || instead > now {
		instead = now
	}
	return now + wallclock.Tolerance.Milliseconds(), instead
}

// Past returns a time of the past as it is to be shown: never one still to come.
func (s *Store) Past(ms int64) int64 {
	if limit, instead := s.plausible(); ms > limit {
		return instead
	}
	return min(ms, s.wall())
}

// believe returns a last use, or what to take instead.
func (s *Store) believe(u record.LastUse) record.LastUse {
	limit, instead := s.plausible()
	return u.Believed(limit, instead)
}

func (s *Store) believeUsage(r *record.UsageRecord) {
	limit, instead := s.plausible()
	r.Used = r.Used.Believed(limit, instead)
	r.Believed(limit, instead)
}

// rectify goes through the table once, after a start and when the clock has been set
// right, and replaces what its tokens have of times to come. What it has replaced goes
// the way of a use, so that it is so for good.
func (s *Store) rectify() {
	if !s.isLoaded() || !s.times.trusted.Load() || !s.times.wanted.Swap(false) {
		return
	}
	s.table.Rectify(func() table.Times {
		limit, set := s.latest()
		return table.Times{Limit: limit, Set: set, Now: s.wall()}
	})
}
