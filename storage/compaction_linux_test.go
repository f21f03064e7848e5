package storage_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/index"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// Batch is many tokens at once.
type Batch struct {
	Owner storage.UserID
	Count int
}

// Import keeps Badger busy.
func (c *Child) Import(b Batch, _ *None) error {
	list := make([]storage.Imported, b.Count)
	for i := range list {
		list[i] = storage.Imported{Owner: b.Owner, Name: "one of many", Created: 1}
	}
	_, err := c.s.ImportTokens(admin, list)
	return err
}

// flushed waits until Badger has made files from its full memory tables, which it
// began while there was room: when the log of a table is gone, the table is a file. If
// all of the room were taken before that, the result would be a matter of luck on a
// slow machine.
func flushed(t *testing.T, dir string) {
	t.Helper()
	must.Happen(t, "the end of the flushes", func() bool {
		logs := must.Get(filepath.Glob(filepath.Join(dir, "store", "index", "*.mem")))(t)
		return len(logs) <= 1
	})
}

// The disk fills to the last byte while Badger compacts, and stays full: the
// compactions wait. They also wait after a kill, when the store is opened on the
// same full disk. The flushes can't wait, but they are over by then.
func TestDiskFillsDuringCompactions(t *testing.T) {
	storagetest.Slow(t)
	disk := tmpfs(t, 2*fullDisk)
	dir := filepath.Join(disk, "data")
	f := newFiller(t, disk)
	c := startChild(t, dir)
	var owner storage.UserID
	must.Do(t, c.call("AddUser", "alice@example.com", &owner))
	create := func() error {
		err := c.call("Create", Ask{Owner: owner}, new(Made))
		if gone(err) {
			c.dead(err)
		}
		return err
	}
	for round := range 5 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for err := error(nil); err == nil; {
					err = c.call("Import", Batch{owner, 500}, new(None))
					if err != nil && !gone(err) && !strings.Contains(err.Error(), storage.ErrNoSpace.Error()) {
						t.Errorf("import: %v", err)
					}
				}
			})
		}
		time.Sleep(time.Duration(round) * 300 * time.Millisecond) // to fill the disk during different work
		f.leave(t, index.Floor, 1<<20, 8*time.Millisecond)
		wg.Wait()
		flushed(t, dir)
		f.fill(1<<20, 0)
		f.fill(4096, 0)
		if round%2 == 1 {
			c.kill()
			c = startChild(t, dir)
			// The store answers before its index is open, and the opening needs the room
			// that it has made for its writes.
			if err := c.call("Opened", None{}, new(None)); err != nil {
				c.dead(err)
			}
			flushed(t, dir)
			f.fill(4096, 0) // the space that the opening has freed
		}
		time.Sleep(2 * time.Second) // compactions begin at random within a second
		if err := create(); err == nil || !strings.Contains(err.Error(), storage.ErrNoSpace.Error()) {
			t.Errorf("create on a full disk: got %v, want ErrNoSpace", err)
		}
		f.free(t)
		must.Happen(t, "a creation", func() bool { return create() == nil })
	}
	c.stop()
}

// While a compaction waits for the disk, the store can be closed, and opened
// again as after a kill.
func TestCloseWhileACompactionWaits(t *testing.T) {
	storagetest.Slow(t)
	dir := t.TempDir()
	var secrets []string
	for waits := false; !waits; {
		s := must.Get(storage.Open(dir, storage.Options{}))(t)
		if len(secrets) == 0 {
			addUser(t, s, "alice@example.com")
		}
		alice := must.Get(s.User("alice@example.com"))(t)
		_, secret := create(t, s, alice)
		secrets = append(secrets, secret)
		full := shortOf(s)
		full.Store(true)
		if tables, _ := filepath.Glob(filepath.Join(dir, "store", "index", "*.sst")); len(tables) >= 5 {
			for range 200 { // the compaction may finish before the disk is full: then try again
				if waits = s.Index().Held(); waits {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		if waits {
			s.Disk().MeasureBy(func(string) (uint64, error) { return index.Floor, nil }) // room for closing, but not for the compaction
		} else {
			full.Store(false)
		}
		if err := s.Close(); waits != errors.Is(err, storage.ErrNoSpace) {
			t.Fatalf("close while a compaction waits, which is %v: %v", waits, err)
		}
	}
	s := open(t, copyDir(t, dir))
	for _, secret := range secrets {
		wantLive(t, s, secret)
	}
}
