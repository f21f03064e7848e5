package audit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/audit"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestRetention: old events are dropped when a checkpoint covers them, unless the
// clock is in doubt or they are many. Then they stay until somebody confirms it. The
// bound on the size holds in any case.
func TestRetention(t *testing.T) {
	storagetest.Slow(t)
	doubt := errors.New("the clock is in doubt")
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		keep    time.Duration
		most    int64
		covered bool
		doubt   error
		held    string // why; empty: nothing is
		gone    bool   // some are dropped without confirmation
		confirm bool   // the held events are dropped on confirmation
	}{
		"for as long as there is room": {covered: true},
		"a few old ones":               {keep: 46 * day, covered: true, gone: true},
		"no checkpoint has them":       {keep: 46 * day},
		"the clock is in doubt":        {keep: 46 * day, covered: true, doubt: doubt, held: doubt.Error()},
		"many old ones":                {keep: day, covered: true, held: "more than a tenth", confirm: true},
		"many, and a bound":            {keep: day, most: 128 << 10, covered: true, held: "more than a tenth", gone: true, confirm: true},
		"a bound":                      {most: 128 << 10, covered: true, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			clock := storagetest.NewClock(time.UnixMilli(1_800_000_000_000))
			j := must.Get(journal.Open(t.TempDir(), [32]byte{1}, journal.Options{Create: true, SegmentSize: 8 << 10, Now: clock.Now}))(t)
			defer j.Close()
			for range 50 { // about a segment a day
				clock.Move(day)
				for range 6 {
					must.Get(j.Append(journal.Essential, []journal.Entry{{Payload: bytes.Repeat([]byte{1}, 1000)}}))(t)
				}
			}
			var noted []record.Event
			r := audit.NewRetention(audit.Options{
				Journal: j, Keep: func() time.Duration { return c.keep }, Most: func() int64 { return c.most }, Failed: func(err error) { t.Error(err) }, Log: slog.New(slog.DiscardHandler),
				Now:  func() (time.Time, error) { return clock.Now(), c.doubt },
				Note: func(e record.Event) { noted = append(noted, e) },
			})
			defer r.Stop()
			if c.covered {
				r.Cover(j.LastSequence())
			}
			n, of, why := r.Held()
			if (why == nil) != (c.held == "") || why != nil && (!strings.Contains(why.Error(), c.held) || n == 0 || of != 300) {
				t.Errorf("held: %d of %d, %v, want %q", n, of, why, c.held)
			}
			r.Prune()
			if gone := j.FirstSequence() > 1; gone != c.gone || gone != (len(noted) == 1 && noted[0].Action == record.ActionAuditPrune) {
				t.Errorf("the log begins with %d, want a later one than 1: %t; noted %+v", j.FirstSequence(), c.gone, noted)
			}
			before := j.FirstSequence()
			r.Tell()
			if told := len(noted) > 0 && noted[len(noted)-1].Action == record.ActionAuditHeld; told != (c.held != "") {
				t.Errorf("noted %+v, want that events are held: %t", noted, c.held != "")
			}
			r.PruneHeld()
			if gone := j.FirstSequence() > before; gone != c.confirm {
				t.Errorf("after a confirmation the log begins with %d, and did with %d", j.FirstSequence(), before)
			}
		})
	}
}
