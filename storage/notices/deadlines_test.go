package notices

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

// TestDeadlines: each deadline comes once and in time, also when there are more than are
// kept, and while tokens are made.
func TestDeadlines(t *testing.T) {
	const n, day = 5000, int64(24 * time.Hour / time.Millisecond)
	ends := map[keys.ID]int64{}
	known := map[keys.ID]record.Known{}
	walks, now := 0, int64(0)
	d := &Deadlines{
		most: 100,
		Walk: func(fn func(keys.ID, int64, int64) error) error {
			walks++
			for id, end := range ends {
				if err := fn(id, 0, end); err != nil {
					return err
				}
			}
			return nil
		},
		Known: func(id keys.ID) (record.Known, error) { return known[id], nil },
	}
	d.Use([]time.Duration{24 * time.Hour, 7 * 24 * time.Hour})
	add := func(i int, end int64) {
		var id keys.ID
		binary.BigEndian.PutUint32(id[:], uint32(i))
		ends[id] = end
		d.Note(id, 0, end, now)
	}
	for i := range n {
		add(i, 8*day+int64(i)*day/50) // fifty a day
	}
	told := map[keys.ID][]int64{}
	for ; now < 8*day+n*day/50; now += day / 4 {
		for {
			due := must.Get(d.Due(now, 30))(t)
			if len(due) == 0 {
				break
			}
			for _, id := range due {
				step := d.Step(0, ends[id], now)
				if !known[id].Told(ends[id], step) {
					told[id] = append(told[id], step/day)
					known[id] = record.Known{End: ends[id], Before: step}
					if late := now - (ends[id] - step); late < 0 || late >= day/4 {
						t.Errorf("%v is told %d ms late", id, late)
					}
				}
				d.Note(id, 0, ends[id], now)
			}
		}
		if len(d.next) > 2*d.most {
			t.Fatalf("%d are kept", len(d.next))
		}
		if now == 20*day {
			add(n, 40*day)
		}
	}
	for id := range ends {
		if !slices.Equal(told[id], []int64{7, 1}) {
			t.Errorf("%v is told at %v", id, told[id])
		}
	}
	if walks > 4*n/d.most {
		t.Errorf("all tokens were read %d times", walks)
	}
}
