// Package wallclock judges the wall clock. It never sets a clock, and never decides what
// must wait while the clock is in doubt.
//
// Some changes can't be undone and are made because a time has passed: idle tokens are
// revoked, old events are dropped. Such a change must not rest on one reading of a clock.
// An empty battery, a typing error or a broken time server may have set it a year ahead.
//
// There are two witnesses. The first is the clock that counts since the system was
// started, sleep included. It can't be set. As long as the system runs, even while no
// program of ours does, it tells how far the wall clock must have moved. Over a restart
// of the system there is only the second, the time that was right last: the wall clock
// must not be behind it, and not more than [Absence] ahead of it.
//
// A clock that both witnesses agree with is trusted. Any other clock is in doubt,
// because nobody can tell a long absence from a wrong clock. The doubt ends when the
// clock is back where it should be, when it has run evenly for [Settle], or when an
// administrator says that it is right.
package wallclock

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Tolerance is how far the clocks may be apart. A time server may step a clock by
	// less, which is harmless.
	Tolerance = time.Minute
	// Absence is how long a system may have been off without any doubt: a weekend.
	Absence = 3 * 24 * time.Hour
	// Settle is how long a clock must run evenly to be trusted again. A wrong clock
	// is usually noticed and corrected sooner.
	Settle = 24 * time.Hour

	earliest = 1_767_225_600_000 // 2026, in ms: this program is not older
)

// Known is the knowledge about the clock that must survive a restart. With the zero
// value nothing is known: then the first reading is trusted. Times are in ms: those of
// the wall clock since 1970, those of the other clock since the system was started.
type Known struct {
	Right  int64  `json:"right"`            // when the clock was trusted last
	Boot   string `json:"boot,omitempty"`   // identifies the start of the system at that time
	Offset int64  `json:"offset,omitempty"` // how far the wall clock was ahead of the other
	Since  int64  `json:"since,omitempty"`  // since when it has been that far ahead, by the other clock
	Proven bool   `json:"proven,omitempty"` // it stayed so for Settle, or an administrator has confirmed it
	Set    int64  `json:"set,omitempty"`    // when it was last set right; later times that were recorded before that are wrong
	Doubt  *doubt `json:"doubt,omitempty"`
}

// doubt is an offset that contradicts the knowledge about the clock.
type doubt struct {
	Boot   string `json:"boot"`
	Offset int64  `json:"offset"`
	Since  int64  `json:"since"`
}

// Options are the clocks to read. The zero value uses the system's.
type Options struct {
	Now    func() time.Time
	Boot   func() time.Duration // time since the system was started; nil: it always agrees with Now, if that is set
	BootID string               // identifies that start
}

// Clock judges a wall clock each time it is read.
type Clock struct {
	now  func() time.Time
	boot func() time.Duration
	id   string

	mu    sync.Mutex
	known Known
}

// New returns a clock, given what is already known about it.
func New(o Options, known Known) *Clock {
	c := &Clock{now: o.Now, boot: o.Boot, id: o.BootID, known: known}
	switch {
	case c.boot != nil:
	case c.now != nil:
		c.boot = func() time.Duration { return time.Duration(c.now().UnixNano()) }
	default:
		c.boot = sinceBoot
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.id == "" {
		b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		c.id = strings.TrimSpace(string(b))
	}
	return c
}

// sinceBoot reads the clock that nobody can set. It also runs while the system
// sleeps.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Look reads the clock, and returns a *Doubt if the time must not be trusted.
func (c *Clock) Look() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, boot := c.read()
	wall := now.UnixMilli()
	offset := wall - boot
	d := c.known.Doubt
	switch {
	case c.follows(wall, offset):
		c.trust(wall, boot)
		return now, nil
	// If the clock was never proven right, nobody knows since when it is wrong. Trust it
	// when it goes back: that makes nothing look old.
	case !c.known.Proven && wall < c.expected(boot) && wall >= earliest:
		c.trust(wall, boot)
		return now, nil
	case d == nil || d.Boot != c.id || !near(offset, d.Offset):
		c.known.Doubt = &doubt{Boot: c.id, Offset: offset, Since: boot}
	case boot-d.Since >= Settle.Milliseconds():
		c.trust(wall, boot)
		return now, nil
	}
	return now, &Doubt{Says: now, Expected: time.UnixMilli(c.expected(boot)), Booted: c.known.Boot != c.id}
}

// read reads both clocks at the same moment. It reads again if the program was
// stopped in between, for example because the system slept.
func (c *Clock) read() (now time.Time, boot int64) {
	for range 10 {
		before := c.boot()
		now = c.now()
		after := c.boot()
		if boot = after.Milliseconds(); after-before < time.Second {
			break
		}
	}
	return now, boot
}

// Confirm accepts the clock as right because an administrator says so.
func (c *Clock) Confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, boot := c.read()
	c.trust(now.UnixMilli(), boot)
	c.known.Proven = true
}

// Known returns the knowledge that must survive a restart.
func (c *Clock) Known() Known {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// follows reports whether a reading agrees with the knowledge about the clock.
func (c *Clock) follows(wall, offset int64) bool {
	switch k := &c.known; {
	case k.Right == 0:
		return true
	case k.Boot == c.id:
		return near(offset, k.Offset)
	default:
		return wall >= k.Right-Tolerance.Milliseconds() && wall <= k.Right+Absence.Milliseconds()
	}
}

// expected returns the time that the wall clock should show, or the earliest
// such time.
func (c *Clock) expected(boot int64) int64 {
	if c.known.Boot == c.id {
		return c.known.Offset + boot
	}
	return c.known.Right
}

func (c *Clock) trust(wall, boot int64) {
	k := &c.known
	if k.Doubt != nil || k.Right != 0 && wall < c.expected(boot)-Tolerance.Milliseconds() {
		k.Set = wall
	}
	offset := wall - boot
	switch {
	case k.Boot != c.id:
		k.Since = boot
	case !near(offset, k.Offset):
		k.Since, k.Proven = boot, false
	}
	if k.Doubt != nil && k.Doubt.Boot == c.id && near(offset, k.Doubt.Offset) {
		k.Since = k.Doubt.Since
	}
	k.Boot, k.Offset, k.Right, k.Doubt = c.id, offset, max(wall, 1), nil
	k.Proven = k.Proven || boot-k.Since >= Settle.Milliseconds()
}

func near(a, b int64) bool {
	d := a - b
	return d >= -Tolerance.Milliseconds() && d <= Tolerance.Milliseconds()
}

// Doubt is the error for a clock that must not be trusted.
type Doubt struct {
	Says     time.Time
	Expected time.Time // or later, if the system was started since
	Booted   bool
}

func (d *Doubt) Error() string {
	says, expected := d.Says.UTC().Format(time.RFC3339), d.Expected.UTC().Format(time.RFC3339)
	if d.Booted {
		return fmt.Sprintf("the clock says %s; it was last right at %s, before the system restarted", says, expected)
	}
	return fmt.Sprintf("the clock says %s, but by the time that has passed it should say %s", says, expected)
}
