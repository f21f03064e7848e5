package journal

import (
	"fmt"
	"math"
	"time"
)

// Prune drops the oldest segments: those whose records were all written before
// the given time, and more while the journal takes more than most bytes (0: no
// bound). A segment stays while it is being copied or has a record of a sequence over coveredBy, that
// of a checkpoint from which the store can be rebuilt without the records before
// it, and the segment in use always stays. It returns how many segments are gone.
// A reader that has begun in one of them reads it to its end; a later one gets
// ErrPruned.
func (j *Journal) Prune(before time.Time, most int64, coveredBy uint64) (int, error) {
	now := j.now().UnixMilli()
	for dropped := 0; ; dropped++ {
		name, ok := j.dropOldest(before.UnixMilli(), now, most, coveredBy)
		if !ok {
			return dropped, nil
		}
		if err := j.disk.Remove(name); err != nil {
			return dropped, fmt.Errorf("prune journal: %w", err)
		}
		// One at a time: were two removals to become durable in the other order,
		// a gap would remain, and that is damage to Open.
		if err := j.disk.Sync(); err != nil {
			return dropped, j.fail("sync the removal of "+name, err)
		}
	}
}

// Older returns how many segments Prune would drop because of their age, of how many,
// and the sequence of the first record that would be left.
func (j *Journal) Older(before time.Time, coveredBy uint64) (n, of int, first uint64) {
	now := j.now().UnixMilli()
	j.mu.Lock()
	defer j.mu.Unlock()
	if of = len(j.segments); of == 0 {
		return 0, 0, j.end.last + 1
	}
	n = j.older(before.UnixMilli(), now)
	for n > 0 && j.segments[n].first-1 > coveredBy {
		n--
	}
	return n, of, j.segments[n].first
}

// older is how many of the oldest segments have only records that were written before
// a time. The header of the next segment that tells proves it. One that says a time
// still to come was begun by a clock that was wrong, and tells nothing. One that says a
// time before that of an older one was begun by a clock that had been set back, and is
// taken for as young as the other.
func (j *Journal) older(before, now int64) (n int) {
	latest, now := int64(math.MinInt64), max(now, before)
	for i, s := range j.segments {
		if s.started > now {
			continue
		}
		if latest = max(latest, s.started); latest >= before {
			break
		}
		n = i
	}
	return n
}

// dropOldest takes the oldest segment out of the list.
func (j *Journal) dropOldest(before, now, most int64, coveredBy uint64) (string, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || len(j.segments) < 2 || j.copies > 0 || j.segments[1].first-1 > coveredBy {
		return "", false
	}
	if large := most > 0 && j.sizeLocked() > most; !large && j.older(before, now) == 0 {
		return "", false
	}
	name := j.segments[0].name
	j.segments = j.segments[1:]
	return name, true
}
