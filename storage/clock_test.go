package storage_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// booted returns the options of a store that also knows how long the system has
// run, and so notices when its clock is set.
func booted(t testing.TB, c *storagetest.Clock) storage.Options {
	o := timed(t, c)
	o.Boot = c.Boot
	return o
}

const year = 365 * 24 * time.Hour

// write appends events until the journal has that many more segments.
func write(t *testing.T, s *storage.Store, segments int) {
	t.Helper()
	for want := len(s.Journal().Segments()) + segments; len(s.Journal().Segments()) < want; {
		must.Do(t, s.Record(admin, storage.Event{Action: storage.ActionImport, Detail: strings.Repeat("x", 2000)}))
	}
}

const keep = 400 * 24 * time.Hour

func keeping(t *testing.T, segments int) (*storage.Store, *storagetest.Clock) {
	m := newClock()
	o := booted(t, m)
	o.KeepEvents, o.Segment = keep, 32<<10
	s := openWith(t, t.TempDir(), o)
	write(t, s, segments)
	return s, m
}

// TestOldEventsAreHeld: dropping events because of their age can't be undone.
func TestOldEventsAreHeld(t *testing.T) {
	for name, c := range map[string]struct {
		segments int
		then     func(*storagetest.Clock)
		goes     bool
		why      string
	}{
		"young":                       {3, func(m *storagetest.Clock) { m.Pass(keep - time.Hour) }, false, ""},
		"old":                         {3, func(m *storagetest.Clock) { m.Pass(2 * keep) }, true, ""},
		"many":                        {20, func(m *storagetest.Clock) { m.Pass(2 * keep) }, false, "more than a tenth"},
		"by a clock that is ahead":    {3, func(m *storagetest.Clock) { m.Move(2 * keep) }, false, "the clock says"},
		"by a clock before 1970":      {3, func(m *storagetest.Clock) { m.Set(time.UnixMilli(-1e12)) }, false, ""},
		"by a clock that is at 1970":  {3, func(m *storagetest.Clock) { m.Set(time.UnixMilli(0)) }, false, ""},
		"many, by a clock that jumps": {20, func(m *storagetest.Clock) { m.Move(10 * keep) }, false, "the clock says"},
	} {
		s, m := keeping(t, c.segments)
		first := s.Journal().FirstSequence() // the upkeep drops old events too
		c.then(m)
		write(t, s, 1) // the newest segment begins with the wrong clock, too
		settle(t, s)
		if went := s.Journal().FirstSequence() > first; went != c.goes {
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
		must.Do(t, s.DropHeldEvents(admin))
		if _, _, why := s.HeldEvents(); why != nil && c.segments < 5 {
			t.Errorf("%s: held again because %v", name, why)
		}
		if s.Journal().FirstSequence() == first && c.segments > 5 {
			t.Errorf("%s: confirmed, and nothing went", name)
		}
	}
}

// TestWrongTimesInTheJournal: some segments were begun with a wrong clock. They
// neither keep old events forever nor cause young events to be dropped.
func TestWrongTimesInTheJournal(t *testing.T) {
	s, m := keeping(t, 1)
	for _, wrong := range []time.Duration{10 * year, -55 * year, 10 * year} {
		m.Move(wrong)
		write(t, s, 1)
		m.Move(-wrong)
		write(t, s, 1)
	}
	first := s.Journal().FirstSequence()
	settle(t, s)
	if got := s.Journal().FirstSequence(); got != first {
		t.Errorf("at once, events up to %d went", got)
	}
	m.Pass(keep + time.Hour)
	write(t, s, 1)
	settle(t, s)
	s.Now()
	must.Do(t, s.DropHeldEvents(admin))
	if got, want := len(s.Journal().Segments()), 2; got > want {
		t.Errorf("when all of them are old, %d segments are left, want at most %d", got, want)
	}
}

// TestUseByAWrongClock uses tokens while the clock is wrong, sets it right, and uses some
// again. It follows one store, one that is stopped at each step, and one that is killed.
func TestUseByAWrongClock(t *testing.T) {
	elsewhere := storage.Origin{Address: netip.MustParseAddr("198.51.100.9")}
	for _, wrong := range []time.Duration{time.Hour, year, 10 * year} {
		for _, how := range []string{"running", "stopped", "killed"} {
			t.Run(fmt.Sprint(wrong, " ", how), func(t *testing.T) {
				t.Parallel()
				dir, m := t.TempDir(), newClock()
				s := openWith(t, dir, booted(t, m))
				next := func() {
					switch how {
					case "stopped":
						must.Do(t, s.Close())
						s = openWith(t, dir, booted(t, m))
					case "killed":
						must.Do(t, s.Uses().SaveAll())
						dir = copyDir(t, dir)
						s = openWith(t, dir, booted(t, m))
					}
					<-s.Loaded()
					<-s.Counted()
				}
				u := addUser(t, s, "alice@example.com")
				again, secret := create(t, s, u)
				never, _ := create(t, s, u)
				once, other := create(t, s, u)
				m.Pass(time.Hour)
				use := func(secret string, from storage.Origin) {
					t.Helper()
					must.Get(s.Authenticate(secret, from))(t)
				}
				use(secret, home)
				use(other, home)

				m.Move(wrong)
				next()
				m.Pass(time.Minute)
				use(secret, elsewhere)
				use(other, elsewhere)
				late, lateSecret := create(t, s, u) // created with the wrong clock
				use(lateSecret, elsewhere)
				wantPast(t, s, m, again, once, late, never)
				next()

				m.Move(-wrong)
				next()
				set := m.Milli()
				wantPast(t, s, m, again, once, late, never)
				m.Pass(10 * time.Minute)
				use(secret, home)
				used := m.Milli()
				m.Pass(10 * time.Minute)
				last := int64(0)
				for range 3 {
					s.Opening().Clock.Rectify(s.Table())
					wantPast(t, s, m, again, once, late, never)
					wantUsed(t, s, again, used)
					if v, err := s.Token(once); err != nil || v.LastUsed < set || last != 0 && v.LastUsed != last {
						t.Errorf("one that was not used since: got %d, %v, and %d before, want %d or later", v.LastUsed, err, last, set)
					} else {
						last = v.LastUsed
					}
					if tok, err := s.Token(again); err != nil || tok.From != home.Address.String() || tok.Usage.Uses != 3 {
						t.Errorf("it was last used from %s, %d times, %v, want %v, 3 times", tok.From, tok.Usage.Uses, err, home.Address)
					}
					if days := usageIn(t, s, again).Days(m.Milli()); sum(days) != 3 {
						t.Errorf("of the last 30 days, there are the uses %v, want 3", days)
					}
					next()
				}

				// Tokens that were not used since then become idle some day.
				m.Pass(idle + time.Hour)
				ids, err := s.MatchTokens(storage.TokenFilter{IdleSince: m.Milli() - idle.Milliseconds()})
				if err != nil || len(ids) != 4 {
					t.Errorf("%d tokens are idle, %v, want 4", len(ids), err)
				}
			})
		}
	}
}

const idle = 90 * 24 * time.Hour

func usageIn(t *testing.T, s *storage.Store, id storage.ID) *storage.Usage {
	t.Helper()
	v := must.Get(s.Token(id))(t)
	return &v.Usage
}

func sum(list []int64) (n int64) {
	for _, v := range list {
		n += v
	}
	return n
}

// wantPast fails if the store shows a time in the future.
func wantPast(t *testing.T, s *storage.Store, m *storagetest.Clock, ids ...storage.ID) {
	t.Helper()
	now := m.Milli()
	for _, id := range ids {
		v := must.Get(s.Token(id))(t)
		for what, ms := range map[string]int64{"created": s.Past(v.Created), "used": s.Past(v.LastUsed)} {
			if ms > now || ms < now-2*year.Milliseconds()*10 || ms <= 0 {
				t.Errorf("token %s was %s at %d, and it is %d", id, what, ms, now)
			}
		}
	}
}

// TestBefore1970: what happens before 1970 counts as happening at its beginning, and
// ends nothing.
func TestBefore1970(t *testing.T) {
	dir, m := t.TempDir(), newClock()
	s := openWith(t, dir, booted(t, m))
	u := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, u)
	m.Pass(time.Hour)
	wantLive(t, s, secret)
	used := m.Milli()

	s.ConfirmTime(admin)
	right := used
	for _, ms := range []int64{-1e12, -1, 0} {
		m.Set(time.UnixMilli(ms))
		wantLive(t, s, secret)
		early, other := create(t, s, u)
		wantLive(t, s, other)
		if v, err := s.Token(early); err != nil || v.Created < used || v.LastUsed <= v.Created || s.Past(v.LastUsed) != 1 {
			t.Errorf("at %d: created %d, used %d, %v, want no time before %d, which was right last, and none shown", ms, v.Created, v.LastUsed, err, used)
		}
		if got := s.Past(used); got != 1 {
			t.Errorf("at %d, a time of later is shown as %d", ms, got)
		}
		must.Get(s.RevokeTokens(admin, early))(t)
		wantDead(t, s, other) // 0 would mean: never
		must.Do(t, s.Close())
		s = openWith(t, dir, booted(t, m))
		wantDead(t, s, other)
	}
	m.Set(time.UnixMilli(right))
	s.Now()
	wantUsed(t, s, id, used)
	m.Pass(time.Hour)
	wantLive(t, s, secret)
	wantUsed(t, s, id, m.Milli())
}

// TestEndsByAWrongClock: if a clock that was ahead has put an end into the far
// future, nothing waits for that end once the clock is right again.
func TestEndsByAWrongClock(t *testing.T) {
	m := newClock()
	s := openWith(t, t.TempDir(), booted(t, m))
	u := addUser(t, s, "alice@example.com")
	id, old := create(t, s, u)
	m.Move(10 * year)
	must.Get2(s.RotateToken(admin, id, time.Hour, storage.ByUser))(t)
	cookie := must.Get(s.CreateSession(storage.Actor{Name: u.UID}, u.ID, "local", ""))(t)
	must.Do(t, s.NoteBackup())
	wantLive(t, s, old)
	must.Get(s.Session(cookie.Reveal()))(t)
	m.Move(-10 * year)
	wantDead(t, s, old)
	if _, err := s.Session(cookie.Reveal()); err != storage.ErrNoSession {
		t.Errorf("a session that would last for ten years: got %v, want %v", err, storage.ErrNoSession)
	}
	if got, _ := s.LastBackup(); got != 0 {
		t.Errorf("a backup was made at %d, in ten years", got)
	}
}

// TestClockThroughRestore: a restore does not make a wrong clock right.
func TestClockThroughRestore(t *testing.T) {
	dir, m := t.TempDir(), newClock()
	s := openWith(t, dir, booted(t, m))
	addUser(t, s, "alice@example.com")
	backup := backupOf(t, s)
	must.Do(t, s.Close())
	m.Move(year)
	restoreTo(t, backup, dir, booted(t, m))
	if _, err := openWith(t, dir, booted(t, m)).Now(); err == nil {
		t.Error("after a restore, a clock that is a year ahead is believed")
	}
}

// TestWaitsAnnounced: a caller who must know is told before a use may wait for the disk, and of
// no other use.
func TestWaitsAnnounced(t *testing.T) {
	m := newClock()
	s := openWith(t, t.TempDir(), booted(t, m))
	u := addUser(t, s, "alice@example.com")
	_, secret := create(t, s, u)
	waits := 0
	use := func(what string, text string, want bool) {
		t.Helper()
		waits = 0
		must.Get(s.AuthenticateWaiting(text, home, func() { waits++ }))(t)
		if waits > 0 != want {
			t.Errorf("%s: announced %d times", what, waits)
		}
	}
	use("one like all others", secret, false)
	m.Move(time.Hour)
	use("when the clock is ahead", secret, false)
	m.Move(-time.Hour)
	use("when the clock was set back", secret, true) // it is noted on the disk
}
