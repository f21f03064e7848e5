package storage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/uses"
)

// While a checkpoint is being made, uses still go to their log: a kill loses
// those of a second, not those of the whole checkpoint.
func TestUsesDuringCheckpoint(t *testing.T) {
	clock, dir := newClock(), t.TempDir()
	s := openWith(t, dir, timed(t, clock))
	id, secret := create(t, s, addUser(t, s, "alice@example.com"))
	s.CheckpointWhenDue(t.Context())
	s.Uses().RLock() // a checkpoint waits for this lock
	before := s.CheckpointFile().Last()
	clock.Move(48 * time.Hour)
	must.Happen(t, "a checkpoint that has begun", func() bool {
		begun, err := filepath.Glob(filepath.Join(dir, "store", ".checkpoint-*"))
		return err == nil && len(begun) > 0
	})
	clock.Move(time.Minute)
	wantLive(t, s, secret)
	want := record.UsedAt(clock.Milli())
	for logged(t, s) != want {
		time.Sleep(time.Millisecond)
	}
	if s.CheckpointFile().Last() != before {
		t.Error("the checkpoint did not wait")
	}
	s.Uses().RUnlock()
	for s.CheckpointFile().Last().Sequence != s.Audit().Last() {
		time.Sleep(time.Millisecond)
	}
	wantUsed(t, s, id, clock.Milli())
}

// logged returns the latest use in the log of uses.
func logged(t *testing.T, s *storage.Store) (last record.LastUse) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "uses"), os.DirFS(path(s, "uses"))); err != nil {
		return 0 // a segment was just dropped
	}
	l, err := uses.Open(filepath.Join(dir, "uses"), s.Opening().Seals, s.Opening().Log)
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
	s := openWith(t, dir, storage.Options{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	create(t, s, addUser(t, s, "alice@example.com"))
	<-s.Opening().Compared()
	<-s.Counted()
	s.CheckpointWhenDue(t.Context()) // the first, which upkeep would make at any time
	before := s.CheckpointFile().Last()
	var move sync.Once
	s.Disk().MeasureBy(func(where string) (uint64, error) {
		free, err := disk.Free(where)
		move.Do(func() { err = errors.Join(err, os.Rename(dir, dir+"2")) })
		return free, err
	})
	time.Sleep(2 * time.Millisecond) // so that the next look at the disk measures
	s.CheckpointWhenDue(t.Context())
	if err := s.Writable(); !errors.Is(err, storage.ErrNoDirectory) {
		t.Errorf("Writable: %v", err)
	}
	moved := *s.CheckpointFile()
	moved.Path = filepath.Join(dir+"2", must.Get(filepath.Rel(dir, moved.Path))(t))
	if before.Created == 0 || moved.Last() != before {
		t.Error("a checkpoint was made in a directory that was moved")
	}
	must.Do(t, os.Rename(dir+"2", dir))
	must.Happen(t, "a checkpoint after the directory is back", func() bool { return s.CheckpointFile().Last() != before })
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}
