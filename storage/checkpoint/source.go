package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// kinds are the keys that a snapshot contains: all except sessions and attempts, which
// end by themselves.
var kinds = []byte("uitlnovre")

// Source is the store that a snapshot is taken of.
type Source struct {
	Keyring string   // its file, copied as it is
	Key     [32]byte // authenticates the snapshot
	Seals   *keys.Seals
	Table   *table.Table
	Journal *journal.Journal

	View   func(fn func(*index.View) error) error // the index as of one moment
	Counts func(index.Counts) record.Op           // the record of the counts
	Now    func() int64                           // ms
	Owned  func(key []byte)                       // is told each key of a user's token, in their order
	// Skipped is told of damage in the log, and with which record a backup goes on.
	Skipped func(damage error, first uint64)
}

// Write writes a backup with the journal or, without it, a checkpoint. When ctx ends, it
// returns the cause.
func (s *Source) Write(ctx context.Context, out io.Writer, withLog bool) (m backup.Manifest, err error) {
	keyring, err := os.ReadFile(s.Keyring)
	if err != nil {
		return m, err
	}
	var w *backup.Writer
	var log *journal.Copy
	err = s.View(func(rd *index.View) (err error) {
		if !withLog && !rd.Steady() {
			return disk.ErrNoSpace // the index is behind
		}
		at, want, err := rd.State()
		if err != nil {
			return err
		}
		m = backup.Manifest{Sequence: at.Sequence, Position: at, Created: s.Now(), Users: want.First, Tokens: want.Second}
		if withLog {
			// Whatever of a later record the index has already, the journal brings in again.
			if log, err = s.Journal.Copy(); err != nil {
				return err
			}
			m.Log = log.End()
		}
		if w, err = backup.NewWriter(out, m, keyring); err != nil {
			return err
		}
		return s.writeOps(ctx, rd, w, want, withLog)
	})
	if log != nil {
		defer log.Close()
	}
	if err == nil {
		err = w.End(s.Key)
	}
	if err == nil && withLog {
		err = w.Log(ctx, log, m.Sequence, s.Skipped)
	}
	if err != nil {
		return m, err
	}
	return m, w.Flush()
}

// writeOps writes what the index holds, if it is what it should hold: a
// snapshot must not make the loss of a record final. While the index is behind the
// journal, perhaps with a part of what it lacks, that can't be told; a backup then
// has the journal.
func (s *Source) writeOps(ctx context.Context, rd *index.View, w *backup.Writer, want index.Counts, withLog bool) error {
	var got index.Counts
	for _, kind := range kinds {
		if kind == 'l' && withLog {
			if err := s.writeUsages(ctx, rd, w); err != nil {
				return err
			}
			continue
		}
		for item := range rd.Items([]byte{kind}) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if kind == 'o' {
				s.Owned(item.Key())
			}
			v, err := item.Stored()
			if err != nil {
				return err
			}
			if record.Sealed(kind) {
				if _, err := s.Seals.Open(item.Key(), v); err != nil {
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
		return fmt.Errorf("%w: the index holds %d records, and should hold %d", disk.ErrDamaged, got.Records, want.Records)
	}
	return w.Op(s.Counts(want))
}

// writeUsages writes the usage records with what is not yet in Badger, without
// bringing it there: of all tokens, since one may have been used for the first time.
func (s *Source) writeUsages(ctx context.Context, rd *index.View, w *backup.Writer) error {
	next, stop := iter.Pull(rd.Items([]byte{'l'}))
	defer stop()
	stored, more := next()
	for key := range rd.Scan([]byte{'t'}) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		id := keys.ID(key[1:])
		k := record.UsageKey(id)
		for more && bytes.Compare(stored.Key(), k) < 0 {
			stored, more = next() // of a token that is gone
		}
		var r record.UsageRecord
		there := more && bytes.Equal(stored.Key(), k)
		if there {
			b, err := stored.Stored()
			if err == nil {
				b, err = s.Seals.Open(k, b)
			}
			if err == nil {
				r, err = record.ParseUsage(b)
			}
			if err != nil {
				return disk.NotRead(fmt.Sprintf("read %q", k), err)
			}
		}
		s.Table.Usage(id, &r)
		if r.Used&1 == 0 && !there {
			continue // it was never used
		}
		if err := w.Op(record.Op{Key: k, Value: s.Seals.Seal(k, r.Value())}); err != nil {
			return err
		}
	}
	return nil
}
