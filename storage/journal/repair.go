package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// cutOff overwrites a torn batch with zeros. If it is interrupted, it leaves a
// torn batch again. It returns the blank segments that exist afterwards.
func (j *Journal) cutOff(t *Tear, rest []candidate) ([]candidate, error) {
	from, size := t.Offset, int64(t.Sectors)*sector
	if t.opening() {
		from, size = 0, size+sector
	}
	f, err := j.disk.Open(filepath.Base(t.File), os.O_RDWR)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, size), from); err != nil {
		return nil, fmt.Errorf("cut off a torn batch: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("cut off a torn batch: %w", err)
	}
	j.cut = *t
	if n := len(j.segments); n > 0 && t.opening() && j.path(j.segments[n-1].name) == t.File {
		last := j.segments[n-1]
		j.segments = j.segments[:n-1]
		rest = append([]candidate{{name: last.name, number: last.number, size: last.size}}, rest...)
	}
	return rest, nil
}

// settle opens the last segment for appending and writes its last batch once
// more. If the sync of that batch had failed, its pages are marked clean although
// the disk may not have them: a new sync writes them only after a new write.
func (j *Journal) settle(r *reader) error {
	n := len(j.segments)
	if n == 0 {
		return nil
	}
	last := j.segments[n-1]
	out, err := j.disk.Open(last.name, os.O_RDWR)
	if err != nil {
		return err
	}
	j.out, j.room = out, last.size
	if last.number != r.segment.number {
		return nil // a torn segment was begun after it, so it was synced
	}
	from := r.at
	if from == sector {
		from = 0
	}
	b := make([]byte, r.offset-from)
	if _, err := out.ReadAt(b, from); err != nil {
		return err
	}
	if _, err := out.WriteAt(b, from); err != nil {
		return fmt.Errorf("write the last batch again: %w", err)
	}
	if err := out.Sync(); err != nil {
		return fmt.Errorf("sync the last batch again: %w", err)
	}
	return nil
}

// tidy keeps one blank segment as the reserve, or makes one, and removes files
// that an interrupted creation has left.
func (j *Journal) tidy(rest []candidate) error {
	keep := 0
	if len(rest) > 0 && rest[0].size == j.size {
		keep = 1
	}
	for i := len(rest) - 1; i >= keep; i-- { // from the end: no gap may appear
		if err := j.disk.Remove(rest[i].name); err != nil {
			return err
		}
		if err := j.disk.Sync(); err != nil {
			return err
		}
	}
	// The names of files that a killed process has created may not be durable
	// yet.
	if err := j.disk.Sync(); err != nil {
		return err
	}
	if keep == 0 {
		return j.replenish()
	}
	f, err := j.disk.Open(rest[0].name, os.O_RDWR)
	if err != nil {
		return err
	}
	// A copy of the directory may have turned zeros into holes.
	if err = f.Allocate(j.size); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		if full(err) {
			return nil
		}
		return err
	}
	j.hold(f)
	return nil
}

// replenish makes the reserve if there is room for it.
func (j *Journal) replenish() error {
	f, err := j.prepare(j.next)
	if errors.Is(err, ErrNoSpace) {
		return nil
	}
	if err != nil {
		return err
	}
	j.hold(f)
	return nil
}
