package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine is a computer whose wall clock can be set while time passes by itself.
type machine struct {
	*clock
	since time.Duration
}

func newMachine() *machine { return &machine{newClock(), time.Hour} }

func (m *machine) pass(d time.Duration) {
	m.move(d)
	m.since += d
}

func (m *machine) options(t testing.TB) Options {
	o := m.clock.options(t)
	o.Boot = func() time.Duration { return m.since }
	return o
}

const year = 365 * 24 * time.Hour

// TestClockFile: whatever has become of the file in which the store keeps what it knows
// of the clock, a clock that is wrong by a year is not believed, and one that is right is.
func TestClockFile(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"whole":  func(string) error { return nil },
		"gone":   os.Remove,
		"empty":  func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"forged": func(file string) error { return os.WriteFile(file, []byte(`{"right":1}`), 0o600) },
	} {
		for wrong, doubt := range map[time.Duration]bool{0: false, year: true, -year: true, -100 * year: true} {
			dir, m := t.TempDir(), newMachine()
			s, err := Open(dir, m.options(t))
			if err != nil {
				t.Fatal(err)
			}
			addUser(t, s, "alice@example.com")
			s.ConfirmTime(admin) // a clock that was never proven right may go back
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(filepath.Join(dir, "store", "clock")); err != nil {
				t.Fatal(err)
			}
			m.pass(time.Hour)
			m.move(wrong)
			s = openWith(t, dir, m.options(t))
			if _, err := s.Now(); (err != nil) != doubt {
				t.Errorf("%s, the clock %v off: got doubt %v, want %t", name, wrong, err, doubt)
			}
		}
	}
}

// write appends events until the journal has so many more segments.
func write(t *testing.T, s *Store, segments int) {
	t.Helper()
	for want := len(s.journal.Segments()) + segments; len(s.journal.Segments()) < want; {
		if err := s.change(admin, func(t *tx) error {
			t.event(Event{Action: ActionImport, Detail: strings.Repeat("x", 2000)})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

const keep = 400 * 24 * time.Hour

func keeping(t *testing.T, segments int) (*Store, *machine) {
	m := newMachine()
	o := m.options(t)
	o.KeepEvents, o.Segment = keep, 32<<10
	s := openWith(t, t.TempDir(), o)
	write(t, s, segments)
	return s, m
}

// TestOldEventsAreHeld: what is dropped because of its age can't be undone.
func TestOldEventsAreHeld(t *testing.T) {
	for name, c := range map[string]struct {
		segments int
		then     func(*machine)
		goes     bool
		why      string
	}{
		"young":                       {3, func(m *machine) { m.pass(keep - time.Hour) }, false, ""},
		"old":                         {3, func(m *machine) { m.pass(2 * keep) }, true, ""},
		"many":                        {20, func(m *machine) { m.pass(2 * keep) }, false, "more than a tenth"},
		"by a clock that is ahead":    {3, func(m *machine) { m.move(2 * keep) }, false, "the clock says"},
		"by a clock before 1970":      {3, func(m *machine) { m.ms.Store(-1e12) }, false, ""},
		"by a clock that is at 1970":  {3, func(m *machine) { m.ms.Store(0) }, false, ""},
		"many, by a clock that jumps": {20, func(m *machine) { m.move(10 * keep) }, false, "the clock says"},
	} {
		s, m := keeping(t, c.segments)
		c.then(m)
		write(t, s, 1) // the clock of the newest is wrong, too
		first := s.journal.FirstSequence()
		settle(t, s)
		if went := s.journal.FirstSequence() > first; went != c.goes {
			t.Errorf("%s: events went: %t, want %t", name, went, c.goes)
		}
		n, of, why := s.HeldEvents()
		if held := why != nil; held != (c.why != "") || held && (!strings.Contains(why.Error(), c.why) || n == 0 || of < n) {
			t.Errorf("%s: %d of %d events are held because %v, want %q", name, n, of, why, c.why)
		}
		if c.why == "" {
			continue
		}
		s.ConfirmTime(admin)
		if err := s.DropHeldEvents(admin); err != nil {
			t.Fatal(err)
		}
		if _, _, why := s.HeldEvents(); why != nil && c.segments < 5 {
			t.Errorf("%s: held again because %v", name, why)
		}
		if s.journal.FirstSequence() == first && c.segments > 5 {
			t.Errorf("%s: confirmed, and nothing went", name)
		}
	}
}

// TestWrongTimesInTheJournal: some segments were begun by a clock that was wrong. They
// neither keep what is old for ever, nor have what is young dropped.
func TestWrongTimesInTheJournal(t *testing.T) {
	s, m := keeping(t, 1)
	for _, wrong := range []time.Duration{10 * year, -55 * year, 10 * year} {
		m.move(wrong)
		write(t, s, 1)
		m.move(-wrong)
		write(t, s, 1)
	}
	first := s.journal.FirstSequence()
	settle(t, s)
	if got := s.journal.FirstSequence(); got != first {
		t.Errorf("at once, events up to %d went", got)
	}
	m.pass(keep + time.Hour)
	write(t, s, 1)
	settle(t, s)
	s.Now()
	if err := s.DropHeldEvents(admin); err != nil {
		t.Fatal(err)
	}
	if got, want := len(s.journal.Segments()), 2; got > want {
		t.Errorf("when all of them are old, %d segments are left, want at most %d", got, want)
	}
}

// TestClockThroughRestore: a restore does not make a wrong clock right.
func TestClockThroughRestore(t *testing.T) {
	dir, m := t.TempDir(), newMachine()
	s := openWith(t, dir, m.options(t))
	addUser(t, s, "alice@example.com")
	var backup bytes.Buffer
	if _, err := s.Snapshot(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.move(year)
	if _, err := Restore(t.Context(), bytes.NewReader(backup.Bytes()), dir, m.options(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := openWith(t, dir, m.options(t)).Now(); err == nil {
		t.Error("after a restore, a clock that is a year ahead is believed")
	}
}
