package clock_test

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
	"gatehouse/storage/wallclock"
)

var seals = keys.Ring{}.Seals()

// fixture holds the parts of a clock.
type fixture struct {
	*storagetest.Clock
	t      *testing.T
	dir    string
	log    *journal.Journal
	doubts int // how many were noted
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Clock: storagetest.NewClock(time.UnixMilli(1_800_000_000_000)), t: t, dir: t.TempDir()}
	var err error
	if f.log, err = journal.Open(filepath.Join(f.dir, "journal"), [32]byte{1}, journal.Options{Create: true, Now: f.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.log.Close() })
	must.Get(f.log.Append(journal.Essential, []journal.Entry{{Payload: []byte("x")}}))(t)
	return f
}

func (f *fixture) file() string { return filepath.Join(f.dir, "clock") }

// open is a start of the program: the clock of a store that was not refused.
func (f *fixture) open() *clock.Clock {
	f.t.Helper()
	c := clock.New(clock.Options{
		Options: wallclock.Options{Now: f.Now, Boot: f.Boot, BootID: "this one"},
		File:    f.file(), Space: disk.NewSpace(f.dir, disk.Watermark), Log: slog.New(slog.DiscardHandler),
		Note: func(error) { f.doubts++ },
	})
	if err := c.Open(f.log, seals); err != nil {
		f.t.Fatal(err)
	}
	c.Accepted()
	f.t.Cleanup(c.Stop)
	return c
}

const year = 365 * 24 * time.Hour

// TestFile: with the file, without it, or with a wrong one, a clock that is wrong by a
// year is not trusted, and a right one is.
func TestFile(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"whole":  func(string) error { return nil },
		"gone":   os.Remove,
		"empty":  func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"forged": func(file string) error { return os.WriteFile(file, []byte(`{"right":1}`), 0o600) },
	} {
		for wrong, doubt := range map[time.Duration]bool{0: false, year: true, -year: true, -100 * year: true} {
			f := newFixture(t)
			c := f.open()
			c.Confirm() // a clock that was never proven right may go back
			c.Close()
			must.Do(t, spoil(f.file()))
			f.Pass(time.Hour)
			f.Move(wrong)
			if _, err := f.open().Look(); (err != nil) != doubt || (f.doubts > 0) != doubt {
				t.Errorf("%s, the clock %v off: got doubt %v, noted %d times, want %t", name, wrong, err, f.doubts, doubt)
			}
		}
	}
}

// TestRefused: a store that is refused stays as it was.
func TestRefused(t *testing.T) {
	f := newFixture(t)
	c := clock.New(clock.Options{
		Options: wallclock.Options{Now: f.Now, Boot: f.Boot}, File: f.file(), Space: disk.NewSpace(f.dir, disk.Watermark),
		Log: slog.New(slog.DiscardHandler), Note: func(error) {},
	})
	must.Do(t, c.Open(f.log, seals))
	c.Look()
	if disk.Exists(f.file()) {
		t.Error("the file was written")
	}
	c.Accepted()
	if !disk.Exists(f.file()) {
		t.Error("the file was not written")
	}
}

// TestRectify: times in the future are replaced once the clock is right. A clock that was
// set back, which nobody has noticed yet, makes no time one of the future.
func TestRectify(t *testing.T) {
	f := newFixture(t)
	c := f.open()
	c.Confirm()
	now := f.Milli()
	tab := table.New()
	right, wrong := keys.NewID(1), keys.NewID(1)
	tab.Put(table.Entry{ID: right, Used: record.UsedAt(now - 5)})
	tab.Put(table.Entry{ID: wrong, Used: record.UsedAt(now + year.Milliseconds())})
	want := func(id keys.ID, ms int64) {
		t.Helper()
		if e, _, _ := tab.Get(id); e.Used != record.UsedAt(ms) {
			t.Errorf("got %d, want %d", e.Used.Ms(), ms)
		}
	}
	f.Set(f.Now().Add(-60 * year))
	c.Rectify(tab)
	want(right, now-5)
	want(wrong, now+year.Milliseconds())
	f.Set(f.Now().Add(60 * year))
	c.Rectify(tab)
	want(right, now-5)
	want(wrong, now)
}

// TestBelieved: while the clock is right, no time in the future is shown. While it is in
// doubt every time may be right, and Now never goes below the last right time.
func TestBelieved(t *testing.T) {
	f := newFixture(t)
	c := f.open()
	c.Confirm()
	now := f.Milli()
	wantPast := func(ms, want int64) {
		t.Helper()
		if got := c.Past(ms); got != want {
			t.Errorf("past: got %d, want %d", got, want)
		}
	}
	wantPast(now-5, now-5)
	wantPast(now+5, now)
	wantPast(now+year.Milliseconds(), now)
	u := record.UsageRecord{Used: record.UsedAt(now + year.Milliseconds()), Usage: record.Usage{Seen: []record.Seen{{Time: now + year.Milliseconds()}}}}
	if c.BelieveUsage(&u); u.Used != record.UsedAt(now) || u.Seen[0].Time != now {
		t.Errorf("a usage of next year: got %+v", u)
	}

	// Nobody has noticed yet that the clock was set: what it says replaces nothing.
	for _, by := range []time.Duration{-year, year, -60 * year, -time.Hour} {
		f.Set(f.Now().Add(by))
		if limit, _ := c.Plausible(); limit != math.MaxInt64 {
			t.Errorf("set by %v: got limit %d", by, limit)
		}
		f.Set(f.Now().Add(-by))
		if limit, _ := c.Plausible(); limit != now+wallclock.Tolerance.Milliseconds() {
			t.Errorf("set back by %v: got limit %d", by, limit)
		}
	}
	f.doubts = 0

	f.Set(f.Now().Add(-year))
	if _, doubt := c.Look(); doubt == nil || f.doubts != 1 {
		t.Fatalf("a year back: got doubt %v, noted %d times", doubt, f.doubts)
	}
	if limit, _ := c.Plausible(); limit != math.MaxInt64 {
		t.Errorf("in doubt: got limit %d", limit)
	}
	if got := c.Now(); got != now {
		t.Errorf("in doubt: got %d, want %d, which was right last", got, now)
	}
	c.Confirm()
	if _, doubt := c.Look(); doubt != nil || c.Now() != f.Milli() {
		t.Errorf("confirmed: got %v, %d, want %d", doubt, c.Now(), f.Milli())
	}
	wantPast(now, f.Milli())
	for _, at := range []time.Time{time.Unix(-1e9, 0), time.UnixMilli(1 << 60)} {
		f.Set(at)
		if ms := c.Time().UnixMilli(); ms < 1 || ms > 1<<47-2 {
			t.Errorf("%v: got %d", at, ms)
		}
	}
}
