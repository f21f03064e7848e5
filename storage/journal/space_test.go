package journal_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"gatehouse/storage/journal"
	"gatehouse/storage/journal/journaltest"
	"gatehouse/storage/storagetest/must"
)

// On a full disk essential batches still succeed in the reserve, others are
// refused before they touch it, and everything works again when space returns.
func TestFullDisk(t *testing.T) {
	d := journaltest.New()
	d.Capacity = 4*small + 100
	fullDisk(t, func() (*journal.Journal, error) { return on(d, 0, small) },
		func() { d.Capacity = 0 }, small)
}

func fullDisk(t *testing.T, open func() (*journal.Journal, error), free func(), segment int) {
	t.Helper()
	j, err := open()
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for { // until only the reserve is left
		n, err := j.Append(journal.Ordinary, batchOf(last, 3, 200))
		if errors.Is(err, journal.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = n
	}
	if j, err = reopened(j, open); err != nil {
		t.Fatal(err)
	}
	revoked := 0
	for { // revocations of 1 sector, until the reserve is used up, too
		n, err := j.Append(journal.Essential, batchOf(last, 1, 100))
		if errors.Is(err, journal.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = n
		if revoked++; revoked == segment/journaltest.Sector/2 {
			if j, err = reopened(j, open); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.Append(journal.Ordinary, batchOf(last, 3, 200)); j.Ready() != nil && !errors.Is(err, journal.ErrNoSpace) {
			t.Fatalf("not essential, without a reserve: %v", err)
		} else if err == nil {
			last += 3
		}
	}
	if revoked < segment/journaltest.Sector-1 {
		t.Errorf("the reserve held %d essential batches, want a whole segment", revoked)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("ready: %v, want ErrNoSpace", err)
	}
	check(t, j, 1, last)
	free()
	last = appendBatch(t, j, 3, 200)
	if err := j.Ready(); err != nil {
		t.Errorf("ready: %v", err)
	}
	if j, err = reopened(j, open); err != nil {
		t.Fatal(err)
	}
	check(t, j, 1, last)
	j.Close()
}

func reopened(j *journal.Journal, open func() (*journal.Journal, error)) (*journal.Journal, error) {
	if err := j.Close(); err != nil {
		return nil, err
	}
	return open()
}

// After a failed write or sync the journal appends nothing more, even if the disk
// works again. Reading goes on, and acknowledged records are there after a
// restart.
func TestFailure(t *testing.T) {
	broken := errors.New("broken")
	for name, set := range map[string]func(*journaltest.Disk, error){
		"write":     func(d *journaltest.Disk, err error) { d.FailWrite = err },
		"sync":      func(d *journaltest.Disk, err error) { d.FailSync = err },
		"directory": func(d *journaltest.Disk, err error) { d.FailNames = err },
	} {
		for _, n := range []int{1, 30} { // within the segment, and into a new one
			t.Run(fmt.Sprint(name, n), func(t *testing.T) { failure(t, set, broken, n, name == "directory" && n == 1) })
		}
	}
}

func failure(t *testing.T, set func(*journaltest.Disk, error), broken error, n int, unharmed bool) {
	d := journaltest.New()
	j := mustOpen(t, d, 0, small)
	last := appendBatch(t, j, 3, 300)
	set(d, broken)
	_, err := j.Append(journal.Essential, batchOf(last, n, 200))
	if unharmed { // a batch within the segment has nothing to do with the directory
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if !errors.Is(err, journal.ErrFailed) || !errors.Is(err, broken) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	set(d, nil)
	for _, need := range []journal.Need{journal.Essential, journal.Ordinary} {
		if _, err := j.Append(need, batchOf(last, 1, 10)); !errors.Is(err, journal.ErrFailed) {
			t.Fatalf("got %v, want ErrFailed again", err)
		}
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("ready: %v", err)
	}
	check(t, j, 1, last)
	if err := j.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	j.Close()

	// After a restart on the same machine the batch may be there. Then it must
	// stay.
	j = mustOpen(t, d, last, small)
	now := j.LastSequence()
	if now != last && now != last+uint64(n) {
		t.Fatalf("ends with %d", now)
	}
	check(t, mustOpen(t, d.Crash(func(string, int64) bool { return false }), now, small), 1, now)
}

// If the reserve can't be made, the journal still opens, and accepts a revocation that has
// room.
func TestUnmadeReserve(t *testing.T) {
	d := journaltest.New()
	d.Capacity = small + 100 // one segment
	j := mustOpen(t, d, 0, small)
	if _, err := j.Append(journal.Ordinary, batchOf(0, 1, 10)); !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
	must.Get(j.Append(journal.Essential, batchOf(0, 1, 10)))(t)
	d.Capacity = 10
	if j = mustOpen(t, d, 1, small); !errors.Is(j.Ready(), journal.ErrNoSpace) {
		t.Errorf("ready: %v", j.Ready())
	}
	must.Get(j.Append(journal.Essential, batchOf(1, 1, 10)))(t)
}
