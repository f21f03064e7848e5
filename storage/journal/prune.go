package journal

import (
	"fmt"
	"math"
	"time"
)

// Prune drops the oldest segments: those in which all records were written before the
// given time, and more while the journal takes more than most bytes (0: no bound). A
// segment stays while it is being copied. It stays if it has a record with a sequence
// over coveredBy, the sequence of a checkpoint from which the store can be rebuilt
// without older records. The segment in use always stays. Prune returns how many segments
// it dropped. A reader that has begun in one of them reads it to its end; a later reader
// gets ErrPruned.
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
		// Sync after each removal: if two removals became durable in the other
		// order, a gap would remain, and Open would take it for damage.
		if err := j.disk.Sync(); err != nil {
			return dropped, j.fail("sync the removal of "+name, err)
		}
	}
}

// Older returns how many segments Prune would drop because of their age, out of how
// many, and the sequence of the first record that would remain.
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

// older returns how many of the oldest segments have only records that were written
// before a time. The time in the header of a later segment proves it. A header with a
// time in the future was written by a wrong clock and proves nothing. A header with an
// earlier time than that of an older segment was written after the clock had been set
// back; the segment counts as being as young as the older one.
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

// dropOldest removes the oldest segment from the list.
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
