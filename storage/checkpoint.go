package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"gatehouse/storage/audit"
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

// checkpoints makes the checkpoints, and leaves the table's file with each.
type checkpoints struct {
	s   *Store
	key [32]byte // authenticates checkpoints and backups

	// What drops the events that a checkpoint covers, and that are old.
	retention *audit.Retention

	busy atomic.Bool // one is being made; what follows is for the goroutine that has set it
	at   time.Time   // when the last one was made
	size int64       // of the log then

	// Once the index is compared: no table has been left that the next start could go by.
	tableDue bool
}

// start has a checkpoint made, if one is due. The upkeep does not wait for it: a kill
// loses the uses that it has not yet written.
func (c *checkpoints) start(ctx context.Context) {
	s := c.s
	if c.busy.Swap(true) {
		return
	}
	s.stop.closed.Go(func() {
		defer c.busy.Store(false)
		c.makeIfDue(ctx)
	})
}

// makeIfDue makes a checkpoint when the last is old or far behind, and drops
// what the journal need not keep.
func (c *checkpoints) makeIfDue(ctx context.Context) {
	s := c.s
	select {
	case <-s.opening.compared: // what is not yet compared is no ground to build on
	default:
		return
	}
	if !s.uses.Recovered() {
		return // it would wait for that
	}
	if c.tableDue {
		c.renewTable()
	}
	c.retention.Tell()
	now, size := s.opts.Now(), s.journal.Size()
	grown, most := size-c.size, s.bounds.Load().MostEvents
	large := most > 0 && size > most && grown > most/16
	age := now.Sub(c.at) // less than 0: it was made by a clock that was ahead
	if age >= 0 && age < s.opts.Checkpoints && grown < checkpointGrown && !large || s.Writable() != nil {
		return
	}
	c.at, c.size = now, s.journal.Size() // also when it fails: not every second
	m, err := c.write(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrClosed) { // the next start makes one
			s.opts.Log.Error("no checkpoint was made", "error", err)
		}
		return
	}
	c.renewTable() // before what it needs of the journal goes
	c.retention.Cover(m.Sequence)
	c.retention.Prune()
	c.size = s.journal.Size()
}

// writeTable writes the table's file. When there is no room, the one that was left
// before stays: the next start has more to catch up with.
func (c *checkpoints) writeTable(m table.Moment) error {
	s := c.s
	if s.space.Lack(s.table.FileSize()+s.space.Watermark()) != nil {
		return nil
	}
	return s.table.WriteFile(s.path("table"), s.seals, m)
}

// renewTable leaves the table for a start after a kill.
func (c *checkpoints) renewTable() {
	s := c.s
	at := s.table.Position()
	if at == nil {
		return // the writer is about to begin
	}
	c.tableDue = false // also when it fails: not every second
	if err := c.writeTable(table.Moment{Position: *at}); err != nil {
		s.opts.Log.Warn("a start after a kill will take longer", "error", err)
	}
	debug.FreeOSMemory() // what writing it left behind
}

func (c *checkpoints) write(ctx context.Context) (m backup.Manifest, err error) {
	s := c.s
	f, err := os.CreateTemp(s.path(""), ".checkpoint-*")
	if err != nil {
		return m, err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	// The uses come first: what the checkpoint says of a token is what the log of uses
	// goes on from.
	if err = s.upkeep.flush(ctx); err == nil {
		m, err = c.snapshot(ctx, f, false)
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

// last is what the checkpoint says of itself; zero without a usable one.
func (c *checkpoints) last() backup.Manifest {
	m, err := c.manifest()
	if err != nil {
		return backup.Manifest{}
	}
	return m
}

// manifest reads the beginning of the checkpoint.
func (c *checkpoints) manifest() (backup.Manifest, error) {
	f, err := os.Open(c.s.path("checkpoint"))
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

// read calls fn with each chunk of the checkpoint's operations. It returns
// nil only for one that is whole, and of this journal.
func (c *checkpoints) read(fn func(ops []byte) error) (backup.Manifest, error) {
	s := c.s
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
		err = errors.Join(r.AtEnd(), r.Authentic(c.key))
	}
	if err == nil && !r.Former() {
		err = s.journal.Has(context.Background(), r.Manifest.Position)
	}
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return r.Manifest, nil
}

// check reads all of the checkpoint.
func (c *checkpoints) check() error {
	_, err := c.read(func([]byte) error { return nil })
	return err
}

// put puts the operations of the checkpoint, and returns its sequence.
func (c *checkpoints) put(put func(record.Op) error) (uint64, error) {
	if err := c.check(); err != nil { // all of it first: nothing of a damaged one is put
		return 0, err
	}
	m, err := c.read(func(ops []byte) error {
		_, err := record.EachOp(ops, put)
		return err
	})
	return m.Sequence, err
}
