package storage_test

import (
	"testing"
	"time"
)

// TestRestoredAt: a restored store does not revoke tokens as unused that were
// used all the time since the backup was made.
func TestRestoredAt(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, clock))
	backup := backupOf(t, s)
	if at := s.RestoredAt(); at != 0 {
		t.Errorf("before: got %d, want 0", at)
	}
	s.Close()
	clock.Move(1000 * time.Hour)
	restoreTo(t, backup, dir, timed(t, clock))
	clock.Move(time.Hour)
	want := clock.Milli()
	for range 2 {
		s = openWith(t, dir, timed(t, clock))
		if at := s.RestoredAt(); at != want {
			t.Errorf("after: got %d, want %d, when it was first opened", at, want)
		}
		s.Close()
		clock.Move(time.Hour)
	}
}
