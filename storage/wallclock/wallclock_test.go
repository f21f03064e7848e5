package wallclock_test

import (
	"encoding/json"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/wallclock"
)

// system is a computer with a wall clock that can be set.
type system struct {
	wall  time.Time
	since time.Duration // time since it was started
	id    string
}

func (s *system) clock(t *testing.T, known wallclock.Known) *wallclock.Clock {
	t.Helper()
	b := must.Get(json.Marshal(known))(t) // encoded as the store keeps it
	if known = (wallclock.Known{}); json.Unmarshal(b, &known) != nil {
		t.Fatalf("%s can't be read", b)
	}
	return wallclock.New(wallclock.Options{
		Now:    func() time.Time { return s.wall },
		Boot:   func() time.Duration { return s.since },
		BootID: s.id,
	}, known)
}

// pass lets time pass.
func (s *system) pass(d time.Duration) { s.wall, s.since = s.wall.Add(d), s.since+d }

func (s *system) set(d time.Duration) { s.wall = s.wall.Add(d) }

// off turns the computer off, and on again after a while.
func (s *system) off(d time.Duration) {
	s.wall, s.since, s.id = s.wall.Add(d), 5*time.Second, s.id+"'"
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// TestDoubt runs with a right clock for two days, and then as the case says. Each
// reading happens twice: by the same program, and by another one that knows only
// what the first has kept.
func TestDoubt(t *testing.T) {
	past := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		then  func(*system)
		doubt bool
	}{
		"nothing":                          {func(*system) {}, false},
		"an hour":                          {func(s *system) { s.pass(time.Hour) }, false},
		"stopped for a year":               {func(s *system) { s.pass(year) }, false},
		"a step of a second":               {func(s *system) { s.set(time.Second) }, false},
		"a step back of a second":          {func(s *system) { s.set(-time.Second) }, false},
		"a year ahead":                     {func(s *system) { s.set(year) }, true},
		"ten years ahead":                  {func(s *system) { s.set(10 * year) }, true},
		"an hour ahead":                    {func(s *system) { s.set(time.Hour) }, true},
		"an hour back":                     {func(s *system) { s.set(-time.Hour) }, true},
		"before 1970":                      {func(s *system) { s.wall = past }, true},
		"started again":                    {func(s *system) { s.off(time.Minute) }, false},
		"off for a weekend":                {func(s *system) { s.off(2 * day) }, false},
		"off for a year":                   {func(s *system) { s.off(year) }, true}, // this looks like a wrong clock
		"started again, a year ahead":      {func(s *system) { s.off(time.Minute); s.set(year) }, true},
		"started again, an hour back":      {func(s *system) { s.off(0); s.set(-time.Hour) }, true},
		"started again, before 1970":       {func(s *system) { s.off(0); s.wall = past }, true},
		"stopped for a year, and set back": {func(s *system) { s.pass(year); s.set(-year) }, true},
	} {
		for _, again := range []bool{false, true} {
			s := &system{time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), 7 * day, "boot"}
			k := s.clock(t, wallclock.Known{})
			for range 48 {
				if _, err := k.Look(); err != nil {
					t.Fatalf("%s: it is in doubt from the beginning: %v", name, err)
				}
				s.pass(time.Hour)
			}
			k.Look()
			c.then(s)
			if again || s.id != "boot" {
				k = s.clock(t, k.Known())
			}
			now, err := k.Look()
			if (err != nil) != c.doubt {
				t.Errorf("%s, by another program %t: got doubt %v, want %t", name, again, err, c.doubt)
			}
			if !now.Equal(s.wall) {
				t.Errorf("%s: got %v, want %v", name, now, s.wall)
			}
		}
	}
}

// TestDoubtEnds follows a doubt to its end, with and without restarts of the
// program.
func TestDoubtEnds(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*system, *wallclock.Clock)
		ends bool
	}{
		"it lasts":                  {func(s *system, _ *wallclock.Clock) { s.pass(23 * time.Hour) }, false},
		"the clock is right again":  {func(s *system, _ *wallclock.Clock) { s.pass(66 * time.Second); s.set(-year) }, true},
		"right again after a start": {func(s *system, _ *wallclock.Clock) { s.off(time.Minute); s.set(-year) }, true},
		"started again":             {func(s *system, _ *wallclock.Clock) { s.off(time.Minute) }, false},
		"it ran evenly for a day":   {func(s *system, _ *wallclock.Clock) { s.pass(day) }, true},
		"it jumped on": {func(s *system, k *wallclock.Clock) {
			s.pass(23 * time.Hour)
			s.set(year)
			k.Look()
			s.pass(2 * time.Hour)
		}, false},
		"an administrator confirms it": {func(_ *system, k *wallclock.Clock) { k.Confirm() }, true},
	} {
		for _, again := range []bool{false, true} {
			s := &system{time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), 7 * day, "boot"}
			k := s.clock(t, wallclock.Known{})
			k.Look()
			s.set(year)
			if _, err := k.Look(); err == nil {
				t.Fatalf("%s: a clock a year ahead is trusted", name)
			}
			if again {
				k = s.clock(t, k.Known())
			}
			c.then(s, k)
			if again || s.id != "boot" {
				k = s.clock(t, k.Known())
			}
			if _, err := k.Look(); (err == nil) != c.ends {
				t.Errorf("%s, by other programs %t: got doubt %v, want it to end: %t", name, again, err, c.ends)
			}
		}
	}
}

// TestWrongFromTheBeginning: a clock that was never proven right is trusted when it
// goes back, because that makes nothing look old.
func TestWrongFromTheBeginning(t *testing.T) {
	s := &system{time.Date(2036, 11, 29, 12, 0, 0, 0, time.UTC), time.Hour, "boot"}
	k := s.clock(t, wallclock.Known{})
	k.Look()
	s.pass(time.Hour)
	k.Look()
	s.set(-10 * year)
	if _, err := k.Look(); err != nil || k.Known().Set != s.wall.UnixMilli() {
		t.Errorf("set right: got doubt %v, and that it was set right at %d, want none, and %d", err, k.Known().Set, s.wall.UnixMilli())
	}
	s.set(year)
	if _, err := k.Look(); err == nil {
		t.Error("a year ahead, it is believed")
	}
}

// TestUpgraded: for a store without knowledge about the clock, only the time of the
// last record is known.
func TestUpgraded(t *testing.T) {
	last := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for d, doubt := range map[time.Duration]bool{0: false, 2 * day: false, year: true, -time.Hour: true, -60 * year: true} {
		s := &system{last.Add(d), time.Hour, "boot"}
		_, err := s.clock(t, wallclock.Known{Right: last.UnixMilli(), Proven: true}).Look()
		if (err != nil) != doubt {
			t.Errorf("%v after the last record: got doubt %v, want %t", d, err, doubt)
		}
	}
}

// TestSystem reads the clocks of this system.
func TestSystem(t *testing.T) {
	k := wallclock.New(wallclock.Options{}, wallclock.Known{})
	for range 3 {
		if now, err := k.Look(); err != nil || time.Since(now) > time.Hour {
			t.Errorf("got %v, %v", now, err)
		}
	}
	if v := k.Known(); v.Boot == "" || v.Offset == 0 || v.Right == v.Offset {
		t.Errorf("got %+v, want a system that was started some time ago", v)
	}
}
