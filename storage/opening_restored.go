package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
)

// A restore leaves log and checkpoint, and a file "restored". The file contains the end
// of the log from the backup. For a backup of version 1, which has no log, it contains
// the record after which a new log may begin. The first start makes index, table and
// format, and then removes the file.

// openRestoredLog opens the log of a store that was restored.
func (o *opening) openRestoredLog() error {
	s := o.s
	for _, name := range []string{"index", "table", "format"} { // the first start makes them
		if !disk.Exists(s.path("journal")) && disk.Exists(s.path(name)) {
			return o.journalGone()
		}
	}
	m, err := s.checkpoints.file.Manifest()
	if disk.Refusal(err) != 0 {
		return fmt.Errorf("%w: read the checkpoint: %w", ErrUnavailable, err)
	}
	opts := journal.Options{Known: m.Sequence}
	b, err := os.ReadFile(s.path("restored"))
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(b))
	end, err := journal.ParsePosition(text)
	if err == nil {
		opts.Known = max(m.Sequence, end.Sequence)
		if err := o.openJournal(opts); err != nil {
			return err
		}
		if err := s.journal.Has(context.Background(), end); err != nil {
			return fmt.Errorf("%w: the journal in %s is not the one of the backup: restore again (%w)", ErrDamaged, s.path("journal"), err)
		}
		return nil
	}
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %s can't be read: restore again", ErrDamaged, s.path("restored"))
	}
	// Create a log only if the checkpoint is the restored one, and not a later
	// one.
	opts.Create, opts.CreateAfter = after >= m.Sequence, after
	return o.openJournal(opts)
}

// noteRestored notes when a restored store was first opened. A restore that opens it
// itself leaves the file empty.
func (o *opening) noteRestored() error {
	s := o.s
	info, err := os.Stat(s.path("restored-at"))
	if !disk.Exists(s.path("restored")) && (err != nil || info.Size() > 0) {
		return nil
	}
	return disk.WriteFile(s.path("restored-at"), s.seals.Seal(restoredKey, binary.BigEndian.AppendUint64(nil, uint64(s.clock.Now()))))
}

var restoredKey = []byte("m restored")

// RestoredAt is when the store was first opened after a restore, in ms; 0 if it
// never was restored. The last uses in a backup are older than that.
func (s *Store) RestoredAt() int64 {
	b, err := os.ReadFile(s.path("restored-at"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		return s.clock.Now()
	}
	b, err = s.seals.Open(restoredKey, b)
	if err != nil || len(b) != 8 {
		return s.clock.Now() // unknown: a late time is safe
	}
	return s.Past(int64(binary.BigEndian.Uint64(b)))
}
