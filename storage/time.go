package storage

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/lasting"
	"gatehouse/storage/wallclock"
)

// times is the store's clock, and what was last logged and kept of it. What it knows
// is in a file of its own, beside the journal: the journal's records bear the times of
// a wrong clock too.
type times struct {
	*wallclock.Clock
	wrong lasting.State

	mu    sync.Mutex
	doubt bool
	kept  wallclock.Known // as it is in the file
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

func (s *Store) now() int64 { return s.opts.Now().UnixMilli() }

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
func (s *Store) openTimes(o wallclock.Options) error {
	var known wallclock.Known
	b, err := os.ReadFile(s.path("clock"))
	if err == nil {
		if b, err = s.seals.open(clockKey, b); err == nil {
			err = json.Unmarshal(b, &known)
		}
	}
	if err != nil {
		if known, err = s.timeOfLastRecord(); err != nil {
			return err
		}
	}
	s.times.Clock = wallclock.New(o, known)
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
		err = notRead("read the journal", err)
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
	b, err := json.Marshal(known)
	if err == nil && !s.space.under(floor) {
		err = WriteFile(s.path("clock"), s.seals.seal(clockKey, b))
	}
	if err != nil {
		s.opts.Log.Debug("what is known of the clock is not kept", "error", err)
	}
}

// closeTimes is for a stop.
func (s *Store) closeTimes() {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	s.times.Look()
	s.keepTime(s.times.Known())
}
