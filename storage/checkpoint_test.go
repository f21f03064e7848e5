package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/uses"
)

// While a checkpoint is being made, uses still go to their log: a kill loses
// those of a second, not those of the whole checkpoint.
func TestUsesDuringCheckpoint(t *testing.T) {
	clock := newClock()
	s := openWith(t, t.TempDir(), timed(t, clock))
	id, secret := create(t, s, addUser(t, s, "alice@example.com"))
	<-s.opening.Compared()
	<-s.Counted()
	s.uses.RLock() // a checkpoint waits for this lock
	clock.Move(2 * checkpointEvery)
	time.Sleep(2 * time.Second) // at least: the checkpoint has begun
	clock.Move(time.Minute)
	wantLive(t, s, secret)
	want := record.UsedAt(clock.Milli())
	for logged(t, s) != want {
		time.Sleep(time.Millisecond)
	}
	if !s.checkpoints.busy.Load() {
		t.Error("the checkpoint did not wait")
	}
	s.uses.RUnlock()
	for s.checkpoints.file.Last().Sequence != s.Audit().Last() {
		time.Sleep(time.Millisecond)
	}
	wantUsed(t, s, id, clock.Milli())
}

// logged returns the latest use in the log of uses.
func logged(t *testing.T, s *Store) (last record.LastUse) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "uses"), os.DirFS(s.path("uses"))); err != nil {
		return 0 // a segment was just dropped
	}
	l, err := uses.Open(filepath.Join(dir, "uses"), s.seals, s.opts.Log)
	if err == nil {
		err = l.LastUses(func(_ keys.ID, used record.LastUse) { last = max(last, used) })
	}
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return last
}
