package journal

import (
	"fmt"
	"time"
)

// Prune drops the oldest segments: those whose records were all written before
// the given time, and more while the journal takes more than most bytes (0: no
// bound). A segment stays while it has a record of a sequence over coveredBy, that
// of a checkpoint from which the store can be rebuilt without the records before
// it, and the segment in use always stays. It returns how many segments are gone.
// A reader that has begun in one of them reads it to its end; a later one gets
// ErrPruned.
func (j *Journal) Prune(before time.Time, most int64, coveredBy uint64) (int, error) {
	for dropped := 0; ; dropped++ {
		name, ok := j.dropOldest(before.UnixMilli(), most, coveredBy)
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

// dropOldest takes the oldest segment out of the list. Its records are all older
// than the beginning of the next, which the header of that one tells.
func (j *Journal) dropOldest(before, most int64, coveredBy uint64) (string, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed || len(j.segments) < 2 {
		return "", false
	}
	next, large := j.segments[1], most > 0 && j.sizeLocked() > most
	if next.first-1 > coveredBy || next.started >= before && !large {
		return "", false
	}
	name := j.segments[0].name
	j.segments = j.segments[1:]
	return name, true
}
