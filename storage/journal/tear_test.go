package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/journal/journaltest"
)

const small = 16 * journaltest.Sector

// interrupted returns a disk on which acked records are durable and one more
// batch has been written but not synced, and the sectors of that batch.
func interrupted(t *testing.T, segment int64, before []int, size int) (d *journaltest.Disk, acked uint64, name string, dirty []int64) {
	t.Helper()
	d = journaltest.New()
	j := mustOpen(t, d, 0, segment)
	for _, n := range before {
		acked = appendBatch(t, j, n, 200)
	}
	for n := 1; ; n++ { // the power goes at the batch's sync, whichever operation that is
		c := d.Clone()
		j := mustOpen(t, c, acked, segment)
		c.Stop(n)
		if _, err := j.Append(journal.Ordinary, batchOf(acked, 1, size)); err == nil {
			t.Fatal("the append survived")
		}
		for i := 1; i < 9; i++ {
			name = fmt.Sprintf("%010d.seg", i)
			if dirty = c.Dirty(name); len(dirty) > 0 {
				break
			}
		}
		if len(dirty) == 0 {
			continue
		}
		// One operation later the batch has been written in whole.
		if size := (size + 200) / journaltest.Sector; len(dirty) < size {
			t.Fatalf("%d sectors written, want more than %d", len(dirty), size)
		}
		return c, acked, name, dirty
	}
}

// Every subset of the sectors of an interrupted write, in the middle of a
// segment and with the header of a new one. Acknowledged records are there, the
// interrupted batch is there completely or cut off, and the journal goes on.
func TestTornSubsets(t *testing.T) {
	for _, c := range []struct {
		name   string
		before []int
		size   int
	}{
		{"one sector", []int{1, 2}, 10},
		{"two sectors", []int{1, 2}, 600},
		{"many sectors", []int{1, 2}, 3900},
		{"a new segment, one sector", []int{5, 5, 12, 5}, 100},
		{"a new segment, many sectors", []int{5, 5, 12}, 3900},
		{"the first batch ever", nil, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, acked, name, dirty := interrupted(t, small, c.before, c.size)
			t.Logf("%d unsynced sectors of %s from %d on", len(dirty), name, dirty[0])
			for mask := range 1 << len(dirty) {
				after := d.Crash(func(file string, sector int64) bool {
					return file == name && sector >= dirty[0] && mask>>(sector-dirty[0])&1 == 1
				})
				whole := mask == 1<<len(dirty)-1
				tornOnce(t, after, acked, mask, whole)
			}
		})
	}
}

func tornOnce(t *testing.T, d *journaltest.Disk, acked uint64, mask int, whole bool) {
	t.Helper()
	seen := d.Clone()
	j, err := on(d, acked, small)
	if err != nil {
		t.Fatalf("mask %b: %v", mask, err)
	}
	last := acked
	if whole {
		last++
	}
	check(t, j, 1, last)
	if tear, ok := j.Torn(); ok != (mask != 0 && !whole) || ok && tear.Sequence != acked+1 {
		t.Fatalf("mask %b: torn %v %+v", mask, ok, tear)
	}
	last = appendBatch(t, j, 2, 900)
	j = mustOpen(t, d.Crash(func(string, int64) bool { return false }), last, small)
	check(t, j, 1, last)
	if _, ok := j.Torn(); ok {
		t.Fatalf("mask %b: torn twice", mask)
	}
	if whole {
		return
	}
	// If the index has seen the batch, its absence is a loss of data.
	if _, err := on(seen, acked+1, small); !errors.As(err, new(*journal.CorruptError)) {
		t.Fatalf("mask %b: got %v, want a refusal", mask, err)
	}
}

// If sectors of a torn batch are neither zeros nor what was written, something
// else has damaged them.
func TestTornAndDamaged(t *testing.T) {
	d, acked, name, dirty := interrupted(t, small, []int{1, 2}, 2000)
	d = d.Crash(func(file string, sector int64) bool { return file == name && sector != dirty[1] })
	for at := dirty[2] * journaltest.Sector; at < (dirty[2]+1)*journaltest.Sector; at++ {
		bad := d.Clone()
		b := bad.Read(name)
		b[at] ^= 4
		bad.Write(name, b)
		_, err := on(bad, acked, small)
		if c := corrupt(t, err); c.Offset != dirty[2]*journaltest.Sector {
			t.Fatalf("byte %d: reported at %d", at, c.Offset)
		}
	}
}

// The power fails at every single operation of a long story with rotation,
// pruning and reopening, and an arbitrary part of the unsynced data is lost.
func TestPowerLoss(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	random := rand.New(rand.NewPCG(1, 2))
	torn, total := 0, 0
	for n := 1; ; n++ {
		finished := false
		for range rounds {
			d := journaltest.New()
			d.Stop(n)
			s := story(t, d)
			finished = finished || s.finished
			after := d.Crash(func(string, int64) bool { return random.IntN(2) == 0 })
			if afterPowerLoss(t, n, after, s) {
				torn++
			}
			total++
		}
		if finished {
			break
		}
	}
	t.Logf("%d power failures, %d torn batches cut off", total, torn)
	if torn == 0 {
		t.Error("no batch was ever torn")
	}
}

type told struct {
	acked, tried, covered uint64
	finished              bool
}

// story appends, prunes and reopens until the power fails.
func story(t *testing.T, d *journaltest.Disk) (s told) {
	for round := range 3 {
		j, err := on(d, s.acked, small)
		if err != nil {
			if !errors.Is(err, journaltest.ErrStopped) {
				t.Fatal(err)
			}
			return s
		}
		for i := range 9 {
			n := 1 + (i*7+round)%5
			s.tried = s.acked + uint64(n)
			last, err := j.Append(journal.Need(i%2), batchOf(s.acked, n, 100+i*150))
			if err != nil {
				return s
			}
			s.acked = last
			if i%4 == 3 {
				s.covered = s.acked - 3
				if _, err := j.Prune(time.Now(), 0, s.covered); err != nil {
					return s
				}
			}
		}
		j.Close()
	}
	s.finished = true
	return s
}

func afterPowerLoss(t *testing.T, n int, d *journaltest.Disk, s told) (torn bool) {
	t.Helper()
	j, err := on(d, s.acked, small)
	if err != nil {
		t.Fatalf("operation %d: %d acknowledged: %v", n, s.acked, err)
	}
	_, torn = j.Torn()
	if last := j.LastSequence(); last != s.acked && last != s.tried {
		t.Fatalf("operation %d: ends with %d, acknowledged %d, tried %d", n, last, s.acked, s.tried)
	}
	if first := j.FirstSequence(); first > s.covered+1 {
		t.Fatalf("operation %d: begins with %d, covered %d", n, first, s.covered)
	}
	last := appendBatch(t, j, 3, 300)
	check(t, j, j.FirstSequence(), last)
	return torn
}
