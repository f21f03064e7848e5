package storage

import (
	"bytes"
	"os"
	"path/filepath"
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
