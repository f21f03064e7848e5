package storage

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// badgerOptions keep memory and disk small: one host, small values. Nothing is
// synced: the journal is.
func (s *Store) badgerOptions() badger.Options {
	return badger.DefaultOptions(s.path("index")).
		WithLogger(badgerLog{s}).
		WithSyncWrites(false).
		WithDetectConflicts(false). // one writer; sessions have keys of their own
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithValueThreshold(64 << 10).
		WithValueLogFileSize(16 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0). // the kernel's page cache serves
		WithIndexCacheSize(16 << 20).
		WithNumCompactors(2).
		WithNumLevelZeroTablesStall(32). // more than there is room for while compactions wait for the disk
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false)
}

// create makes a new store. The file format comes last: what a crash leaves
// before that holds nothing, and is made anew.
func (s *Store) create() error {
	if err := s.openJournal(journal.Options{Create: true}); err != nil {
		return err
	}
	if err := os.RemoveAll(s.path("index")); err != nil {
		return err
	}
	if err := s.openBadger(); err != nil {
		return fmt.Errorf("make the index: %w", err)
	}
	s.marks.at = s.journal.End()
	if err := s.settle(); err != nil {
		return err
	}
	// Or a power failure takes the directory, with all that was synced in it.
	if err := errors.Join(disk.SyncDir(s.dir), disk.SyncDir(filepath.Dir(s.dir))); err != nil {
		return err
	}
	return s.leaveFormat()
}

// indexError is damage of the index, which the journal makes good.
type indexError struct{ err error }

func (e *indexError) Error() string { return "the index: " + e.err.Error() }
func (e *indexError) Unwrap() error { return e.err }

// indexFault is an *indexError if the index is at fault, and not the system: an index
// that there are too few descriptors to open must stay.
func indexFault(what string, err error) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	if errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if disk.Refusal(err) != 0 {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
	}
	return &indexError{err}
}

// openIndex opens Badger and brings it to where the journal is.
func (s *Store) openIndex() error {
	closed, err := s.indexClosed()
	if err == nil {
		err = s.checkIndex()
	}
	if err != nil {
		return indexFault("verify the index", err)
	}
	if err := s.roomToOpen(); err != nil {
		return err
	}
	if err := s.openBadger(); err != nil {
		return indexFault("open the index", err)
	}
	err = s.db.View(func(txn *badger.Txn) (err error) {
		s.marks, s.counts, err = s.applied(txn)
		return err
	})
	if err != nil {
		return indexFault("read the index", err)
	}
	if err := s.placeIndex(); err != nil {
		return err
	}
	if s.format != format {
		if err := s.bringUpToDate(); err != nil {
			return err
		}
		closed = false // all of it is looked at
	}
	if closed && s.marks.at == s.journal.End() {
		return s.settle() // the counts are compared later
	}
	return s.mend()
}

// indexClosed reports whether the last program that had the index closed it: then
// all of it is in tables, and no log of Badger's is left.
func (s *Store) indexClosed() (bool, error) {
	entries, err := os.ReadDir(s.path("index"))
	return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".mem" }), err
}

// placeIndex compares where the index is with the journal.
func (s *Store) placeIndex() error {
	at, last := s.marks.at, s.journal.LastSequence()
	if at.Sequence > last {
		return fmt.Errorf("%w: the index has record %d, and the journal in %s ends with record %d: put back the newer journal, or %s",
			ErrDamaged, at.Sequence, s.path("journal"), last, disk.RestoreAdvice)
	}
	var err error
	if s.marks.former() {
		_, err = s.journal.At(context.Background(), at.Sequence)
	} else {
		err = s.journal.Has(context.Background(), at)
	}
	switch {
	case errors.Is(err, journal.ErrElsewhere), errors.Is(err, journal.ErrPruned):
		return &indexError{err}
	case err != nil:
		return disk.NotRead("compare the index with the journal", err)
	}
	return nil
}

// settle notes that Badger has everything in its tables, as after a clean stop.
func (s *Store) settle() error {
	for i := range s.marks.past {
		s.marks.past[i] = s.marks.at.Sequence
	}
	s.marks.size = 0
	return s.db.Update(s.setApplied)
}

// mend brings the index up after a stop that was not clean: nothing in it is
// taken on trust. After a kill all is there but the last records; after a power
// failure much may be missing, which the counts tell.
func (s *Store) mend() error {
	start := time.Now()
	last, settled := s.marks.at.Sequence, s.marks.settled()
	var err error
	for _, from := range []uint64{last, settled} {
		if err = s.replay(from, false); err != nil {
			return err
		}
		if err = s.compareCounts(); err == nil {
			break
		}
		if !errors.As(err, new(*indexError)) {
			return err
		}
	}
	if err != nil {
		return err
	}
	compared := time.Now()
	if s.left == nil || s.behind { // else the table has all, and more than the index
		if err := s.loadTable(); err != nil {
			return indexFault("load the tokens", err)
		}
		s.whole()
	}
	s.opts.Log.Info("the last stop was not clean; the index has been verified and brought up to the journal",
		"records", s.marks.at.Sequence-last, "comparing", compared.Sub(start).Round(time.Millisecond), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// openBadger gives up when Badger does not: it tries forever to write what a kill has left
// in its logs. Badger is then left as a kill would leave it, and the caller must not open
// the store again in this process.
func (s *Store) openBadger() error {
	type result struct {
		db  *badger.DB
		err error
	}
	opened := make(chan result, 1)
	before := s.badgerSaid.failed.Load()
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // it panics at some damage
				r.err = fmt.Errorf("%v", p)
			}
			opened <- r
		}()
		r.db, r.err = badger.Open(s.badgerOptions())
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r := <-opened:
			if r.err != nil {
				return r.err // with it comes a database that is half open, and can't be closed
			}
			s.db = r.db
			// Badger may still be making tables of what a kill left in its logs. On a
			// disk that is nearly full these must have what there is.
			if s.space.Lack(2*floor) == nil {
				s.space.allocate() // if not now, then before the first change
			}
			return nil
		case <-tick.C:
			if s.badgerSaid.failed.Load()-before >= closeTries {
				return fmt.Errorf("%w: the index does not open: %s", ErrUnavailable, s.badgerSaid.latest())
			}
		}
	}
}

// roomToOpen returns nil when the disk has room for what Badger writes as it opens: its
// next log, and tables of what a kill left in the others. It writes them through a memory map, where a
// full disk is the end of the process.
func (s *Store) roomToOpen() error {
	logs, err := memoryLogs(s.path("index"))
	if err != nil {
		return indexFault("open the index", err)
	}
	const least = 256 << 10 // for a table that is small, and for the files that Badger always makes
	need := uint64(least)
	for _, name := range logs {
		info, err := os.Stat(name)
		if err != nil {
			return indexFault("open the index", err)
		}
		if content := info.Size() - logHead; content > 0 { // all of it: it was cut off at its end
			need += uint64(content)*3/2 + least
		}
	}
	if free, err := s.space.Now(); err != nil || free < need {
		return fmt.Errorf("open the index, which needs %d MB: %w", (need+1e6-1)/1e6, cmp.Or(err, ErrNoSpace))
	}
	return nil
}

func (s *Store) openJournal(o journal.Options) (err error) {
	o.Now, o.SegmentSize = s.opts.Now, s.opts.Segment
	s.journal, err = journal.Open(s.path("journal"), s.journalKey, o)
	if errors.Is(err, journal.ErrEmpty) {
		return s.journalGone()
	}
	if err != nil {
		return disk.NotRead("open the journal", err)
	}
	if err := s.space.Watch(s.path("journal")); err != nil {
		return disk.NotRead("open the journal", err)
	}
	if tear, ok := s.journal.Torn(); ok {
		s.opts.Log.Info("an interrupted write, which nobody was told had succeeded, was cut off the journal",
			"file", tear.File, "offset", tear.Offset)
	}
	if err := s.openTimes(); err != nil {
		return err
	}
	if o.Create && s.journal.LastSequence() == o.CreateAfter {
		return s.firstRecord()
	}
	return nil
}

// firstRecord appends a record that says nothing: without any, the journal would look
// as if it had been taken away.
func (s *Store) firstRecord() error {
	payload, err := record.Entry{}.AppendPayload(nil)
	if err != nil {
		return err
	}
	_, err = s.journal.Append(true, []journal.Entry{{Payload: payload}})
	return err
}

// rebuild makes the index again, from the checkpoint and the journal. Nothing is
// removed before it is known that these will do.
func (s *Store) rebuild() error {
	if s.journal == nil {
		if err := s.openJournalAfterRestore(); err != nil {
			return err
		}
	}
	if first := s.journal.FirstSequence(); first > 1 || disk.Exists(s.path("restored")) {
		err := s.checkCheckpoint()
		if errors.Is(err, ErrClosed) {
			return err
		}
		if disk.Refusal(err) != 0 {
			return fmt.Errorf("%w: read the checkpoint: %w", ErrUnavailable, err)
		}
		if err != nil {
			return fmt.Errorf("%w: the index must be built again, but the journal begins with record %d, and the checkpoint before it can't be used (%w): %s",
				ErrDamaged, first, err, disk.RestoreAdvice)
		}
	}
	if s.db != nil {
		err := s.closeIndex()
		if s.db = nil; errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNoDirectory) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFailed) {
			return err // it is still at work
		}
	}
	if err := os.RemoveAll(s.path("index")); err != nil {
		return err
	}
	if err := s.openBadger(); err != nil {
		return fmt.Errorf("make the index again: %w", err)
	}
	s.marks, s.counts = marks{}, counts{}
	if s.left == nil {
		s.forgetTable() // the damaged index has put something there
	}
	return s.fillIndex()
}

// fillIndex fills an index that is empty.
func (s *Store) fillIndex() error {
	from, err := s.loadCheckpoint()
	if errors.Is(err, ErrClosed) {
		return err
	}
	if disk.Refusal(err) != 0 {
		return fmt.Errorf("%w: read the checkpoint: %w", ErrUnavailable, err)
	}
	if err != nil {
		s.opts.Log.Debug("the index is built again from the journal alone", "because", err)
	}
	if err := s.replay(from, true); err != nil {
		return err
	}
	err = s.compareCounts()
	if err == nil && (s.left == nil || s.behind) { // else the table is there
		if err = s.loadTable(); err == nil {
			s.whole()
		}
	}
	if errors.Is(err, ErrClosed) {
		return err // and next time again
	}
	if err != nil {
		err = disk.NotRead("build the index in "+s.path("index")+" again from the checkpoint and the journal", err)
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %s", err, disk.RestoreAdvice)
		}
		return err
	}
	return errors.Join(s.noteRestored(), s.leaveFormat(),
		disk.RemoveIfThere(s.path("damaged")), disk.RemoveIfThere(s.path("restored")), disk.SyncDir(s.path("")))
}

// forgetTable begins table and owners anew.
func (s *Store) forgetTable() {
	s.table = table.New()
}

// noteRestored notes when a restored store was first opened. A restore that
// opens it itself leaves the file empty.
func (s *Store) noteRestored() error {
	info, err := os.Stat(s.path("restored-at"))
	if !disk.Exists(s.path("restored")) && (err != nil || info.Size() > 0) {
		return nil
	}
	return disk.WriteFile(s.path("restored-at"), s.seals.Seal(restoredKey, binary.BigEndian.AppendUint64(nil, uint64(s.now()))))
}

var restoredKey = []byte("m restored")

// RestoredAt is when the store was first opened after a restore, in ms; 0 if it
// never was restored. What a backup says of last uses is older than that.
func (s *Store) RestoredAt() int64 {
	b, err := os.ReadFile(s.path("restored-at"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		return s.now()
	}
	b, err = s.seals.Open(restoredKey, b)
	if err != nil || len(b) != 8 {
		return s.now() // it can't be told any more: late is safe
	}
	return s.Past(int64(binary.BigEndian.Uint64(b)))
}

// openJournalAfterRestore opens the journal for a rebuilding. A restore leaves the
// file restored. With a backup of version 1, which has no journal, it contains the
// record after which one may begin where none is; else where the journal from the
// backup ends.
func (s *Store) openJournalAfterRestore() error {
	m, err := s.readManifest()
	if disk.Refusal(err) != 0 {
		return fmt.Errorf("%w: read the checkpoint: %w", ErrUnavailable, err)
	}
	o := journal.Options{Known: m.Sequence}
	b, err := os.ReadFile(s.path("restored"))
	if errors.Is(err, fs.ErrNotExist) {
		return s.openJournal(o)
	}
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(b))
	end, err := journal.ParsePosition(text)
	if err == nil {
		o.Known = max(m.Sequence, end.Sequence)
		if err := s.openJournal(o); err != nil {
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
	// Unless the checkpoint is not the one that was restored, but a later one.
	o.Create, o.CreateAfter = after >= m.Sequence, after
	return s.openJournal(o)
}

// damaged notes that the index is not what it was, so that the next open
// builds it anew. Until then reads that hit the damage fail.
func (s *Store) damaged(err error) {
	if errors.Is(err, ErrUnavailable) {
		s.opts.Log.Error("the index could not be read", "error", err)
		return // that says nothing of what is in it
	}
	s.broken.Store(true)
	s.opts.Log.Error("the index is damaged: restart, and it is built again from the journal", "error", err)
	if err := disk.WriteFile(s.path("damaged"), nil); err != nil {
		s.opts.Log.Error("note the damage", "error", err)
	}
}

// path names a file of the store.
func (s *Store) path(name string) string { return filepath.Join(s.dir, "store", name) }

// badgerLog passes on Badger's warnings and errors, and holds its compactions
// while the disk is short.
type badgerLog struct{ *Store }

func (l badgerLog) Errorf(f string, args ...any) {
	said := text(f, args)
	l.badgerSaid.note(said)
	l.states.badger.Set(errors.New(said))
	if f == noMemoryTable {
		l.space.stuck.Store(true)
	}
}

func (l badgerLog) Warningf(f string, args ...any) { l.Errorf(f, args...) }
func (badgerLog) Infof(string, ...any)             {}

// noMemoryTable is what Badger logs when it could not make a memory table and has none.
const noMemoryTable = "Got error: %v for id: %d\n"

// said keeps the last message of Badger. Of what it tries again forever it returns no
// error, and only logs it.
type said struct {
	text   atomic.Pointer[string]
	failed atomic.Int32 // how often a memory table did not become a file: Badger tries each second
}

const flushFailed = "error flushing memtable to disk"

func (s *said) note(text string) {
	s.text.Store(&text)
	if strings.HasPrefix(text, flushFailed) {
		s.failed.Add(1)
	}
}

func (s *said) latest() string {
	if text := s.text.Load(); text != nil {
		return *text
	}
	return "it does not say why"
}

// beforeTable is what a compaction logs when it is about to write another table.
const beforeTable = "[%d] LOG Compact. Added "

// Debugf is called by Badger's own goroutines, and a compaction goes no further
// until it returns. Nothing else in Badger would hold it: it writes its tables
// through a memory map, whatever the disk has left, long after the last change.
func (l badgerLog) Debugf(f string, _ ...any) {
	if strings.HasPrefix(f, beforeTable) {
		l.space.await()
	}
}

func text(f string, args []any) string { return strings.TrimSpace(fmt.Sprintf(f, args...)) }
