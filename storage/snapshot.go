package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/wallclock"
)

// snapshotKinds are the keys that a snapshot has: all but sessions and
// attempts, which end by themselves.
var snapshotKinds = []byte("uitlnovre")

// Snapshot writes a backup: a consistent copy of the store, as of one moment, while
// changes go on. It writes nothing to the store's own disk, which may be full.
func (s *Store) Snapshot(ctx context.Context, out io.Writer) (m backup.Manifest, err error) {
	if err := s.opening.await(); err != nil {
		return m, err
	}
	if err := s.checkpoints.awaitUses(ctx); err != nil {
		return m, err
	}
	return s.checkpoints.snapshot(ctx, out, true)
}

// awaitUses waits until what a kill has left in the log of uses is counted, or there
// is no room on the disk to count it.
func (c *checkpoints) awaitUses(ctx context.Context) error {
	s := c.s
	for {
		select {
		case <-s.uses.Counted():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return ErrClosed
		case <-time.After(20 * time.Millisecond):
			if s.space.Short() != nil && isClosed(s.opening.loaded) {
				return nil
			}
		}
	}
}

// snapshot writes a backup with the journal or, without it, a checkpoint.
func (c *checkpoints) snapshot(ctx context.Context, out io.Writer, withLog bool) (m backup.Manifest, err error) {
	s := c.s
	keyring, err := os.ReadFile(s.path("keyring"))
	if err != nil {
		return m, err
	}
	ctx, cancel := c.untilClosing(ctx)
	defer cancel()
	var w *backup.Writer
	var log *journal.Copy
	err = s.view(func(rd *reader) (err error) {
		if !withLog && !rd.Steady() {
			return ErrNoSpace // the index is behind
		}
		at, want, err := rd.State()
		if err != nil {
			return err
		}
		m = backup.Manifest{Sequence: at.Sequence, Position: at, Created: s.clock.Now(), Users: want.First, Tokens: want.Second}
		if withLog {
			// Whatever of a later record the index has already, the journal brings in again.
			if log, err = s.journal.Copy(); err != nil {
				return err
			}
			m.Log = log.End()
		}
		if w, err = backup.NewWriter(out, m, keyring); err != nil {
			return err
		}
		return c.writeOps(ctx, rd, w, want, withLog)
	})
	if log != nil {
		defer log.Close()
	}
	if err == nil {
		err = w.End(c.key)
	}
	if err == nil && withLog {
		err = w.Log(ctx, log, m.Sequence, func(damage error, first uint64) {
			s.opts.Log.Error("the audit log is damaged; a backup has only what comes after that", "error", damage, "first", first)
		})
	}
	if err != nil {
		return m, err
	}
	return m, w.Flush()
}

// untilClosing is a context that also ends when the store closes, with ErrClosed as its
// cause.
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

// writeOps writes what the index holds, if it is what it should hold: a
// snapshot must not make the loss of a record final. While the index is behind the
// journal, perhaps with a part of what it lacks, that can't be told; a backup then
// has the journal.
func (c *checkpoints) writeOps(ctx context.Context, rd *reader, w *backup.Writer, want index.Counts, withLog bool) error {
	s := c.s
	var got index.Counts
	for _, kind := range snapshotKinds {
		if kind == 'l' && withLog {
			if err := c.writeUsages(ctx, rd, w); err != nil {
				return err
			}
			continue
		}
		var revoked revokedRun
		for item := range rd.Items([]byte{kind}) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if kind == 'o' {
				revoked.take(item.Key(), &s.surplus)
			}
			v, err := item.Stored()
			if err != nil {
				return err
			}
			if record.Sealed(kind) {
				if _, err := s.seals.Open(item.Key(), v); err != nil {
					return err // damage is not handed on
				}
			}
			rd.Count(&got, item.Key(), v)
			if err := w.Op(record.Op{Key: item.Key(), Value: append([]byte{}, v...)}); err != nil {
				return err
			}
		}
	}
	if rd.Steady() && got != want {
		return fmt.Errorf("%w: the index holds %d records, and should hold %d", ErrDamaged, got.Records, want.Records)
	}
	return w.Op(s.index.CountsOp(want))
}

// writeUsages writes the usage records with what is not yet in Badger, without
// bringing it there: of all tokens, since one may have been used for the first time.
func (c *checkpoints) writeUsages(ctx context.Context, rd *reader, w *backup.Writer) error {
	s := c.s
	next, stop := iter.Pull(rd.Items([]byte{'l'}))
	defer stop()
	stored, more := next()
	for key := range rd.Scan([]byte{'t'}) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		id := ID(key[1:])
		k := record.UsageKey(id)
		for more && bytes.Compare(stored.Key(), k) < 0 {
			stored, more = next() // of a token that is gone
		}
		var r record.UsageRecord
		there := more && bytes.Equal(stored.Key(), k)
		if there {
			b, err := stored.Stored()
			if err == nil {
				b, err = s.seals.Open(k, b)
			}
			if err == nil {
				r, err = record.ParseUsage(b)
			}
			if err != nil {
				return disk.NotRead(fmt.Sprintf("read %q", k), err)
			}
		}
		s.table.Usage(id, &r)
		if r.Used&1 == 0 && !there {
			continue // it was never used
		}
		if err := w.Op(record.Op{Key: k, Value: s.seals.Seal(k, r.Value())}); err != nil {
			return err
		}
	}
	return nil
}

// NoteBackup remembers that a backup was made, in the audit log and for
// LastBackup.
func (s *Store) NoteBackup(by Actor) error {
	now := s.clock.Now()
	if err := disk.WriteFile(s.path("backed-up"), strconv.AppendInt(nil, now, 10)); err != nil {
		return err
	}
	return s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionBackup})
		return nil
	})
}

// LastBackup is when the last backup was made, in ms; 0: never, as far as is
// known.
func (s *Store) LastBackup() int64 {
	b, _ := os.ReadFile(s.path("backed-up"))
	ms, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if ms > s.clock.Now()+wallclock.Tolerance.Milliseconds() {
		return 0 // by a clock that was ahead: when it was, nobody knows
	}
	return ms
}

// Free is what the file system has left for the store, in bytes.
func (s *Store) Free() int64 { return int64(min(s.space.Left(), 1<<62)) }
