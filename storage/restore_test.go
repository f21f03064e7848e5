package storage

import (
	"bytes"
	"context"
	"testing"
	"time"
)

// TestRestoredAt: a restored store does not revoke tokens as unused that were
// used all the time since the backup was made.
func TestRestoredAt(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, clock))
	backup := new(bytes.Buffer)
	if _, err := s.Snapshot(context.Background(), backup); err != nil {
		t.Fatal(err)
	}
	if at := s.RestoredAt(); at != 0 {
		t.Errorf("before: got %d, want 0", at)
	}
	s.Close()
	clock.Move(1000 * time.Hour)
	if _, err := Restore(context.Background(), bytes.NewReader(backup.Bytes()), dir, timed(t, clock)); err != nil {
		t.Fatal(err)
	}
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
