package storage

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"gatehouse/storage/audit"
	"gatehouse/storage/backup"
	"gatehouse/storage/checkpoint"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/read"
	"gatehouse/storage/sealed"
	"gatehouse/storage/surplus"
	"gatehouse/storage/wallclock"
)

// A checkpoint is a snapshot in the store itself. The index can be rebuilt from
// it and from the journal after it, so the journal before it may be dropped.
const (
	checkpointEvery = 24 * time.Hour
	checkpointGrown = 256 << 20 // bytes of journal since the last one
)

// checkpoints makes the checkpoints, and writes the table's file with each.
type checkpoints struct {
	s    *Store
	file checkpoint.File

	// Drops old events that a checkpoint covers.
	retention *audit.Retention

	busy atomic.Bool // one is being made; the goroutine that set it owns the fields below
	at   time.Time   // when the last checkpoint was made
	size int64       // size of the journal then

	due atomic.Bool // the next one must not wait until it is old

	// Set once the index is compared, until a table is written that the next start can
	// use.
	tableDue bool
}

// accept takes the last checkpoint of a store that is not refused.
func (c *checkpoints) accept(file checkpoint.File) {
	s := c.s
	c.file, c.retention = file, newRetention(s, file.Last().Sequence)
	// A process that never runs for a whole day must still make checkpoints. A
	// checkpoint that the journal can't continue from does not count.
	c.size = s.journal.Size()
	if m := file.Last(); m.Sequence+1 >= s.journal.FirstSequence() {
		c.at = time.UnixMilli(m.Created)
		// An old key opens the keyring in a checkpoint from before a rotation.
		keyring, err := os.ReadFile(s.path("keyring"))
		c.due.Store(err == nil && !file.HasKeyring(keyring))
	}
}

// start makes a checkpoint in the background, if one is due. The upkeep does not wait
// for it: a kill would lose the uses not yet written in that time.
func (c *checkpoints) start(ctx context.Context) {
	s := c.s
	if c.busy.Swap(true) {
		return
	}
	s.stop.running.Go(func() {
		defer c.busy.Store(false)
		c.makeIfDue(ctx)
	})
}

// makeIfDue makes a checkpoint when the last one is old or far behind, and
// drops what the journal no longer needs.
func (c *checkpoints) makeIfDue(ctx context.Context) {
	s := c.s
	if !disk.IsClosed(s.opening.Compared()) {
		return // never build on an index that is not compared yet
	}
	if !s.uses.Recovered() {
		return // the checkpoint would wait for that
	}
	if c.tableDue {
		c.renewTable()
	}
	c.retention.Tell()
	now, size := s.opts.Now(), s.journal.Size()
	grown, most := size-c.size, s.bounds.Load().MostEvents
	large := most > 0 && size > most && grown > most/16
	age := now.Sub(c.at) // negative if the clock was ahead when it was made
	if age >= 0 && age < s.opts.Checkpoints && grown < checkpointGrown && !large && !c.due.Load() || s.Writable() != nil {
		return
	}
	c.at, c.size = now, s.journal.Size() // also when it fails while changes are possible: not every second
	c.due.Store(false)
	m, err := c.write(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrClosed) { // the next start makes one
			c.due.Store(s.failed(slog.LevelError, "no checkpoint was made", err))
		}
		return
	}
	c.renewTable() // before Prune drops records that the old table needs
	c.retention.Cover(m.Sequence)
	c.retention.Prune()
	c.size = s.journal.Size()
	if err := s.dropKeys(); err != nil {
		s.failed(slog.LevelWarn, "a token key that no token needs is not dropped", err)
	}
}

// writeTable writes the table's file. When there is no room the previous file
// stays, and the next start has more to catch up with.
func (c *checkpoints) writeTable(m sealed.Moment) error {
	s := c.s
	if s.space.Lack(s.table.FileSize()+s.space.Watermark()) != nil {
		return nil
	}
	return s.table.WriteFile(s.path("table"), s.seals, m)
}

// renewTable writes the table's file for a start after a kill.
func (c *checkpoints) renewTable() {
	s := c.s
	at := s.table.Position()
	if at == nil {
		return // the writer is about to begin
	}
	c.tableDue = false // also when it fails: not every second
	if err := c.writeTable(sealed.Moment{Position: *at}); err != nil {
		s.failed(slog.LevelWarn, "the table could not be saved, so a start after a kill will take longer", err)
	}
	debug.FreeOSMemory() // the garbage of writing it
}

func (c *checkpoints) write(ctx context.Context) (m backup.Manifest, err error) {
	s := c.s
	f, err := os.CreateTemp(s.path(""), ".checkpoint-*")
	if err != nil {
		return m, err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	// The uses come first: the log of uses continues from what the checkpoint says
	// about a token.
	if err = s.upkeep.flush(ctx); err == nil {
		ctx, cancel := c.untilClosing(ctx)
		defer cancel()
		source := c.source()
		m, err = source.WriteCheckpoint(ctx, f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return m, err
	}
	if err := os.Rename(f.Name(), c.file.Path); err != nil {
		return m, err
	}
	return m, disk.SyncDir(s.path(""))
}

// Snapshot writes a backup: a consistent copy of the store, as of one moment, while
// changes go on. It writes nothing to the store's own disk, which may be full.
func (s *Store) Snapshot(ctx context.Context, out io.Writer) (m backup.Manifest, err error) {
	if err := s.opening.Await(); err != nil {
		return m, err
	}
	if err := s.AwaitUses(ctx); err != nil {
		return m, err
	}
	ctx, cancel := s.checkpoints.untilClosing(ctx)
	defer cancel()
	source := s.checkpoints.source()
	return source.WriteBackup(ctx, out)
}

// AwaitUses waits until the uses that a stop or a kill left in the log of uses are counted. It
// does not wait if the disk has no room to count them.
func (s *Store) AwaitUses(ctx context.Context) error {
	for {
		select {
		case <-s.uses.Counted():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return ErrClosed
		case <-time.After(20 * time.Millisecond):
			if (s.space.Short() != nil || errors.Is(s.Writable(), ErrNoSpace)) && disk.IsClosed(s.opening.Loaded()) {
				return nil
			}
		}
	}
}

// source returns a source for one snapshot.
func (c *checkpoints) source() checkpoint.Source {
	s := c.s
	var revoked surplus.Walk
	return checkpoint.Source{
		Keyring: s.path("keyring"), Key: c.file.Key, Seals: s.seals, Table: s.table, Journal: s.journal,
		View: func(fn func(*index.View) error) error {
			return s.view(func(rd *read.Reader) error { return fn(rd.View) })
		},
		Counts: s.index.CountsOp, Now: s.clock.Now,
		Owned: func(key []byte) { revoked.Take(key, s.surplus) },
		Skipped: func(damage error, first uint64) {
			s.opts.Log.Error("the audit log is damaged; a backup contains only the records after the damage", "error", damage, "first", first)
		},
	}
}

// untilClosing returns a context that also ends when the store closes. Its cause is
// then ErrClosed.
func (c *checkpoints) untilClosing(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-c.s.closing:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// NoteBackup remembers for LastBackup that a backup was made and is whole.
func (s *Store) NoteBackup() error {
	if err := s.opening.Marks.NoteBackup(s.clock.Now()); err != nil {
		return disk.NotWritten("note the backup", err)
	}
	return nil
}

// LastBackup returns when the last backup was made, in ms, and how long ago that was. The
// time is 0 if there was none or it is unknown. The age is then that of the oldest event that
// is kept: a new store has nothing to lose yet.
func (s *Store) LastBackup() (ms int64, age time.Duration) {
	now := s.clock.Now()
	ms = s.opening.Marks.LastBackup()
	if ms > now+wallclock.Tolerance.Milliseconds() {
		ms = 0 // the clock was ahead: the real time is unknown
	}
	since := cmp.Or(ms, now)
	if ms == 0 {
		for e, err := range s.Audit().Events(context.Background(), 0) {
			if err == nil {
				since = e.Time
			}
			break
		}
	}
	return ms, time.Duration(now-since) * time.Millisecond
}
