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

// kinds are the kinds of keys in a snapshot: all except sessions and attempts, which
// end by themselves, and sightings, which last seconds.
var kinds = []byte("uitlnorexk")

// Source gives access to the store for a snapshot.
type Source struct {
	Keyring string   // its file, copied as it is
	Key     [32]byte // authenticates the snapshot
	Seals   *keys.Seals
	Table   *table.Table
	Journal *journal.Journal

	View   func(fn func(*index.View) error) error // the index as of one moment
	Counts func(index.Counts) record.Op           // the record of the counts
	Now    func() int64                           // ms
	Owned  func(key []byte)                       // is called with the key of each user's token, in order
	// Skipped is called with damage in the journal, and with the record from which the
	// backup goes on.
	Skipped func(damage error, first uint64)
}

// WriteCheckpoint writes a checkpoint. When ctx ends, it returns the cause.
func (s *Source) WriteCheckpoint(ctx context.Context, out io.Writer) (backup.Manifest, error) {
	return s.write(ctx, out, nil)
}

// WriteBackup writes a backup, which also contains the journal. When ctx ends, it returns the
// cause.
func (s *Source) WriteBackup(ctx context.Context, out io.Writer) (backup.Manifest, error) {
	return s.write(ctx, out, s.Journal)
}

// write also writes a copy of the journal, unless that is nil.
func (s *Source) write(ctx context.Context, out io.Writer, j *journal.Journal) (m backup.Manifest, err error) {
	var w *backup.Writer
	var records *journal.Copy
	err = s.View(func(rd *index.View) (err error) {
		if j == nil && !rd.Steady() {
			return disk.ErrNoSpace // the index is behind
		}
		at, want, err := rd.State()
		if err != nil {
			return err
		}
		m = backup.Manifest{Sequence: at.Sequence, Position: at, Created: s.Now(), Users: want.First, Tokens: want.Second}
		if j != nil {
			// The index may already have parts of later records. The journal brings them
			// in again.
			if records, err = j.Copy(); err != nil {
				return err
			}
			m.Journal = records.End()
		}
		// Only now: it must have the keys of all tokens in the view and in the journal, and a
		// rotation may have added one a moment ago.
		keyring, err := os.ReadFile(s.Keyring)
		if err != nil {
			return err
		}
		if w, err = backup.NewWriter(out, m, keyring); err != nil {
			return err
		}
		return s.writeOps(ctx, rd, w, want, j != nil)
	})
	if records != nil {
		defer records.Close()
	}
	if err == nil {
		err = w.End(s.Key)
	}
	if err == nil && j != nil {
		err = w.Journal(ctx, records, m.Sequence, s.Skipped)
	}
	if err != nil {
		return m, err
	}
	return m, w.Flush()
}

// writeOps writes the contents of the index, and fails if records are missing: a
// snapshot must not make the loss of a record final. While the index is behind
// the journal it may have some of the later records, so writeOps can't check
// that; a backup then relies on its journal.
func (s *Source) writeOps(ctx context.Context, rd *index.View, w *backup.Writer, want index.Counts, withJournal bool) error {
	var got index.Counts
	for _, kind := range kinds {
		if kind == 'l' && withJournal {
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
					return err // do not pass on damage
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

// writeUsages writes the usage records, including the uses that Badger does not have
// yet. It does not write those to Badger. It looks at all tokens, since a token may
// have been used for the first time.
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
			stored, more = next() // its token is gone
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
