package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// A checkpoint is a snapshot in the store itself. From it and the journal after
// it the index is built again; what the journal has before it may go.
const (
	checkpointEvery = 24 * time.Hour
	checkpointGrown = 256 << 20 // bytes of journal since the last one
)

// checkpointMeanwhile has a checkpoint made, if one is due. The flusher does not wait
// for it: a kill loses the uses that the flusher has not yet written.
func (s *Store) checkpointMeanwhile(ctx context.Context) {
	if s.checkpoint.busy.Swap(true) {
		return
	}
	s.closed.Go(func() {
		defer s.checkpoint.busy.Store(false)
		s.checkpointIfDue(ctx)
	})
}

// checkpointIfDue makes a checkpoint when the last is old or far behind, and drops
// what the journal need not keep.
func (s *Store) checkpointIfDue(ctx context.Context) {
	select {
	case <-s.opening.compared: // what is not yet compared is no ground to build on
	default:
		return
	}
	if !s.uses.Recovered() {
		return // it would wait for that
	}
	if s.tableDue {
		s.leaveTableMeanwhile()
	}
	s.retention.Tell()
	now, size := s.opts.Now(), s.journal.Size()
	grown, most := size-s.checkpoint.size, s.opts.MostEvents
	large := most > 0 && size > most && grown > most/16
	age := now.Sub(s.checkpoint.at) // less than 0: it was made by a clock that was ahead
	if age >= 0 && age < s.opts.Checkpoints && grown < checkpointGrown && !large || s.Writable() != nil {
		return
	}
	s.checkpoint.at, s.checkpoint.size = now, s.journal.Size() // also when it fails: not every second
	m, err := s.writeCheckpoint(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrClosed) { // the next start makes one
			s.opts.Log.Error("no checkpoint was made", "error", err)
		}
		return
	}
	s.leaveTableMeanwhile() // before what it needs of the journal goes
	s.retention.Cover(m.Sequence)
	s.retention.Prune()
	s.checkpoint.size = s.journal.Size()
}

// leaveTable writes the table's file. When there is no room, the one that was left
// before stays: the next start has more to catch up with.
func (s *Store) leaveTable(m table.Moment) error {
	if s.space.Lack(s.table.FileSize()+s.space.Watermark()) != nil {
		return nil
	}
	return s.table.WriteFile(s.path("table"), s.seals, m)
}

// leaveTableMeanwhile leaves the table for a start after a kill.
func (s *Store) leaveTableMeanwhile() {
	at := s.table.Position()
	if at == nil {
		return // the writer is about to begin
	}
	s.tableDue = false // also when it fails: not every second
	if err := s.leaveTable(table.Moment{Position: *at}); err != nil {
		s.opts.Log.Warn("a start after a kill will take longer", "error", err)
	}
	debug.FreeOSMemory() // what writing it left behind
}

func (s *Store) writeCheckpoint(ctx context.Context) (m backup.Manifest, err error) {
	f, err := os.CreateTemp(s.path(""), ".checkpoint-*")
	if err != nil {
		return m, err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	// The uses come first: what the checkpoint says of a token is what the log of uses
	// goes on from.
	if err = s.flush(ctx); err == nil {
		m, err = s.snapshot(ctx, f, false)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return m, err
	}
	if err := os.Rename(f.Name(), s.path("checkpoint")); err != nil {
		return m, err
	}
	return m, disk.SyncDir(s.path(""))
}

// lastCheckpoint is what the checkpoint says of itself; zero without a usable one.
func (s *Store) lastCheckpoint() backup.Manifest {
	m, err := s.readManifest()
	if err != nil {
		return backup.Manifest{}
	}
	return m
}

// readManifest reads the beginning of the checkpoint.
func (s *Store) readManifest() (backup.Manifest, error) {
	f, err := os.Open(s.path("checkpoint"))
	if err != nil {
		return backup.Manifest{}, err
	}
	defer f.Close()
	r, err := backup.Open(f)
	if err != nil {
		return backup.Manifest{}, err
	}
	return r.Manifest, nil
}

// readCheckpoint calls fn with each chunk of the checkpoint's operations. It returns
// nil only for one that is whole, and of this journal.
func (s *Store) readCheckpoint(fn func(ops []byte) error) (backup.Manifest, error) {
	f, err := os.Open(s.path("checkpoint"))
	if err != nil {
		return backup.Manifest{}, err
	}
	defer f.Close()
	r, err := backup.Open(f)
	if err == nil {
		err = r.Records(func(ops []byte) error {
			if s.isClosing() {
				return ErrClosed
			}
			return fn(ops)
		})
	}
	if err == nil {
		err = errors.Join(r.AtEnd(), r.Authentic(s.snapshotKey))
	}
	if err == nil && !r.Former() {
		err = s.journal.Has(context.Background(), r.Manifest.Position)
	}
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return r.Manifest, nil
}

// checkCheckpoint reads all of the checkpoint.
func (s *Store) checkCheckpoint() error {
	_, err := s.readCheckpoint(func([]byte) error { return nil })
	return err
}

// putCheckpoint puts the operations of the checkpoint, and returns its sequence.
func (s *Store) putCheckpoint(put func(record.Op) error) (uint64, error) {
	if err := s.checkCheckpoint(); err != nil { // all of it first: nothing of a damaged one is put
		return 0, err
	}
	m, err := s.readCheckpoint(func(ops []byte) error {
		_, err := record.EachOp(ops, put)
		return err
	})
	return m.Sequence, err
}
