package storage

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
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
	must.Do(t, errors.Join(err, l.Close()))
	return last
}

// A checkpoint that fails because the data directory is being moved is made when the
// directory is back. It is not logged: the server logs the cause.
func TestMovedDuringCheckpoint(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "store"), new(bytes.Buffer)
	s := openWith(t, dir, Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	create(t, s, addUser(t, s, "alice@example.com"))
	<-s.opening.Compared()
	<-s.Counted()
	for s.checkpoints.busy.Swap(true) { // the store may be making one
		time.Sleep(time.Millisecond)
	}
	s.checkpoints.due.Store(true)
	before := s.checkpoints.file.Last()
	var move sync.Once
	s.space.MeasureBy(func(where string) (uint64, error) {
		free, err := disk.Free(where)
		move.Do(func() { err = errors.Join(err, os.Rename(dir, dir+"2")) })
		return free, err
	})
	time.Sleep(2 * time.Millisecond) // so that the next look at the disk measures
	s.checkpoints.makeIfDue(t.Context())
	if err := s.Writable(); !errors.Is(err, ErrNoDirectory) {
		t.Errorf("Writable: %v", err)
	}
	if s.checkpoints.file.Last() != before {
		t.Error("a checkpoint was made in a directory that was moved")
	}
	must.Do(t, os.Rename(dir+"2", dir))
	time.Sleep(2 * time.Millisecond)
	s.checkpoints.makeIfDue(t.Context())
	if s.checkpoints.file.Last() == before {
		t.Error("no checkpoint was made after the directory was back")
	}
	s.checkpoints.busy.Store(false)
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}
