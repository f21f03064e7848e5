package index

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
)

// Fault is damage to the index. The journal can repair it.
type Fault struct{ Err error }

func (e *Fault) Error() string { return "the index: " + e.Err.Error() }

// Unwrap returns the underlying error.
func (e *Fault) Unwrap() error { return e.Err }

// FaultOf returns a *Fault if the index is at fault, and not the system: an index must
// not be replaced because there are too few descriptors to open it.
func FaultOf(what string, err error) error {
	if errors.Is(err, disk.ErrClosed) {
		return err
	}
	if errors.Is(err, disk.ErrUnavailable) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if disk.Refusal(err) != 0 {
		return fmt.Errorf("%w: %s: %w", disk.ErrUnavailable, what, err)
	}
	return &Fault{err}
}

// Open verifies the files and opens them. It returns a *Fault when they are damaged or
// do not say how far they are, and another error when the system could not read them or
// has no room.
//
// closed reports whether the last program closed the index: then all of it is in
// tables, and no log of Badger's is left.
func (x *Index) Open() (closed bool, err error) {
	if closed, err = x.isClosed(); err == nil {
		err = CheckFiles(x.dir())
	}
	if err != nil {
		return false, FaultOf("verify the index", err)
	}
	if err := x.room(); err != nil {
		return false, err
	}
	if err := x.openBadger(); err != nil {
		return false, FaultOf("open the index", err)
	}
	v := x.now(toRead)
	defer v.txn.Discard()
	x.progress, x.holds, err = v.applied()
	if err != nil {
		return false, FaultOf("read the index", err)
	}
	return closed, nil
}

// OpenEmpty removes an existing index, and opens an empty one.
func (x *Index) OpenEmpty() error {
	if err := os.RemoveAll(x.dir()); err != nil {
		return err
	}
	x.progress, x.holds = progress{}, Counts{}
	return x.openBadger()
}

// IsOpen reports whether Badger is open.
func (x *Index) IsOpen() bool { return x.db != nil }

func (x *Index) isClosed() (bool, error) {
	entries, err := os.ReadDir(x.dir())
	return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".mem" }), err
}

// badgerTries is how often Badger may try to write what it has in memory. It tries once
// a second.
const badgerTries = 4

// openBadger gives up where Badger would not: Badger tries forever to write what a kill
// has left in its logs. Badger is then left as a kill would leave it, and the caller must
// not open the store again in this process.
func (x *Index) openBadger() error {
	type result struct {
		db  *badger.DB
		err error
	}
	opened := make(chan result, 1)
	before := x.said.failed.Load()
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // it panics at some damage
				r.err = fmt.Errorf("%v", p)
			}
			opened <- r
		}()
		r.db, r.err = badger.Open(badgerOptions(x.dir()).WithLogger(logger{x}))
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case r := <-opened:
			if r.err != nil {
				return r.err // the database is half open then, and can't be closed
			}
			x.db = r.db
			// Badger may still be making tables from the logs that a kill has left.
			// On a nearly full disk the tables must get the space that is left.
			if x.space.Lack(2*Floor) == nil {
				x.space.allocate() // if it fails now, it is repeated before the first change
			}
			return nil
		case <-tick.C:
			if x.said.failed.Load()-before >= badgerTries {
				return fmt.Errorf("%w: the index does not open: %s", disk.ErrUnavailable, x.said.latest())
			}
		}
	}
}

// room returns nil when the disk has room for what Badger writes as it opens: its next
// log, and tables made from the logs that a kill has left. Badger writes them through a
// memory map, so a full disk would kill the process.
func (x *Index) room() error {
	logs, err := MemoryLogs(x.dir())
	if err != nil {
		return FaultOf("open the index", err)
	}
	const least = 256 << 10 // for a small table, and for the files that Badger always makes
	need := uint64(least)
	for _, name := range logs {
		info, err := os.Stat(name)
		if err != nil {
			return FaultOf("open the index", err)
		}
		if content := info.Size() - logHead; content > 0 { // count all of it: trimLog has cut it at its end
			need += uint64(content)*3/2 + least
		}
	}
	if free, err := x.space.Now(); err != nil || free < need {
		return fmt.Errorf("open the index, which needs %d MB: %w", (need+1e6-1)/1e6, cmp.Or(err, disk.ErrNoSpace))
	}
	return nil
}

// Shut refuses views and updates from now on, and returns when the last has ended.
func (x *Index) Shut() {
	x.visible.Lock()
	x.shut = true
	x.visible.Unlock()
	x.using.Wait()
}

// Stop ends the index after Close, or instead of Close: then Badger is left as a kill
// would leave it.
func (x *Index) Stop() {
	x.behind.Stop()
	x.ailing.Stop()
	x.db = nil
}

// Close closes Badger. It gives up at end. It also gives up when Badger can't close
// because a compaction waits for room on the disk, or because its last writes keep
// failing. Badger is then left as a kill would leave it.
func (x *Index) Close(end time.Time) error {
	db, before := x.db, x.said.failed.Load()
	x.db = nil
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-closed:
			return err
		case now := <-tick.C:
			if why := x.space.Short(); why != nil && x.space.held.Load() > 0 {
				return fmt.Errorf("close the index: %w", why)
			}
			if now.After(end) || x.said.failed.Load()-before >= badgerTries {
				return fmt.Errorf("%w: the index does not close: %s", disk.ErrFailed, x.said.latest())
			}
		}
	}
}

// NoteDamage notes that the index is damaged, so that the next start fills it again.
// Until then reads that meet the damage fail.
func (x *Index) NoteDamage(err error) {
	if errors.Is(err, disk.ErrUnavailable) {
		x.opts.Log.Error("the index could not be read", "error", err)
		return // this error says nothing about the content
	}
	x.damaged.Store(true)
	x.opts.Log.Error("the index is damaged: restart the server, which rebuilds it from the journal", "error", err)
	if err := disk.WriteFile(x.note(), nil); err != nil {
		x.opts.Log.Error("could not record that the index is damaged", "error", err)
	}
}

// Damaged reports whether damage was noted since the index was opened.
func (x *Index) Damaged() bool { return x.damaged.Load() }

// HasNote reports whether damage was noted, also by an earlier program.
func (x *Index) HasNote() bool { return disk.Exists(x.note()) }

// RemoveNote is for an index that has been filled again.
func (x *Index) RemoveNote() error { return disk.RemoveIfThere(x.note()) }

func (x *Index) note() string { return filepath.Join(x.opts.Dir, "damaged") }
