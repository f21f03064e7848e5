package storage_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestRestoredAt: a restored store does not revoke tokens as unused that were
// used all the time since the backup was made.
func TestRestoredAt(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, clock))
	backup := new(bytes.Buffer)
	must.Get(s.Snapshot(context.Background(), backup))(t)
	if at := s.RestoredAt(); at != 0 {
		t.Errorf("before: got %d, want 0", at)
	}
	s.Close()
	clock.Move(1000 * time.Hour)
	must.Get(storage.Restore(context.Background(), bytes.NewReader(backup.Bytes()), dir, timed(t, clock)))(t)
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
