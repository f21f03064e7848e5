package journal_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/journal/journaltest"
	"gatehouse/storage/storagetest/must"
)

// The life of a journal on real files: it is created, filled over several
// segments, reopened, read from anywhere, pruned and reopened.
func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	if _, err := journal.Open(dir, testKey, journal.Options{}); !errors.Is(err, journal.ErrEmpty) {
		t.Fatalf("open nothing: %v", err)
	}
	now := clock()
	opts := journal.Options{Create: true, SegmentSize: 64 << 10, Now: now}
	j, err := journal.Open(dir, testKey, opts)
	if err != nil {
		t.Fatal(err)
	}
	check(t, j, 1, 0)
	must.Do(t, j.Verify(context.Background()))
	var last uint64
	for i := range 100 {
		last = appendBatch(t, j, 1+i%32, 100+i)
	}
	check(t, j, 1, last)
	if got, want := j.Size(), int64(64<<10); got%want != 0 || got < 4*want {
		t.Errorf("size %d", got)
	}
	must.Do(t, j.Close())
	opts.Create = false
	for _, verify := range []uint64{0, 1, last / 2, last, last + 5} {
		opts.VerifyAfter, opts.Known = verify, last
		if j, err = journal.Open(dir, testKey, opts); err != nil {
			t.Fatal(err)
		}
		check(t, j, 1, last)
		last = appendBatch(t, j, 3, 200)
		j.Close()
	}
	if j, err = journal.Open(dir, testKey, opts); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for after := uint64(0); after <= last+1; after += 7 {
		want := after + 1
		err := j.Replay(context.Background(), after, func(r journal.Record) error {
			if r.Sequence != want {
				t.Fatalf("after %d: sequence %d, want %d", after, r.Sequence, want)
			}
			want++
			return nil
		})
		if err != nil || want != max(last, after)+1 {
			t.Fatalf("after %d: ended with %d: %v", after, want-1, err)
		}
	}
	modes(t, dir)
}

func modes(t *testing.T, dir string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range append(files, dir) {
		want := os.FileMode(0o600)
		if path == dir {
			want = 0o700
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

// A umask can neither open the files to others nor lock their owner out.
func TestUmask(t *testing.T) {
	for _, mask := range []int{0, 0o777} {
		dir := filepath.Join(t.TempDir(), "journal")
		old := syscall.Umask(mask)
		j, err := journal.Open(dir, testKey, journal.Options{Create: true, SegmentSize: small})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		appendBatch(t, j, 1, 10)
		j.Close()
		modes(t, dir)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	j := must.Get(journal.Open(dir, testKey, journal.Options{Create: true, SegmentSize: small}))(t)
	if _, err := journal.Open(dir, testKey, journal.Options{}); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	appendBatch(t, j, 1, 10)
	j.Close()
	j = must.Get(journal.Open(dir, testKey, journal.Options{SegmentSize: small}))(t)
	j.Close()
	if _, err := j.Append(journal.Essential, batchOf(1, 1, 1)); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if err := j.Replay(context.Background(), 0, nil); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("replay: %v", err)
	}
	if err := j.Close(); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("close: %v", err)
	}
}

// The largest batch fits a segment exactly, and one byte more is refused.
func TestLargest(t *testing.T) {
	for _, segment := range []int64{8 * journaltest.Sector, small, 4 << 20} {
		j := mustOpen(t, journaltest.New(), 0, segment)
		e := journal.Entry{Actor: "a"}
		e.Payload = make([]byte, j.MaxBatch()-e.Size())
		for range 3 {
			must.Get(j.Append(journal.Ordinary, []journal.Entry{e}))(t)
		}
		e.Payload = append(e.Payload, 0)
		if _, err := j.Append(journal.Ordinary, []journal.Entry{e}); !errors.Is(err, journal.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
		if _, err := j.Append(journal.Ordinary, []journal.Entry{{Actor: strings.Repeat("a", 1<<16)}}); !errors.Is(err, journal.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
		if last, err := j.Append(journal.Ordinary, []journal.Entry{{}, {Payload: []byte{}}}); err != nil || last != 5 {
			t.Errorf("empty entries: %d, %v", last, err)
		}
		if last, err := j.Append(journal.Ordinary, nil); err != nil || last != 5 {
			t.Errorf("no entries: %d, %v", last, err)
		}
		must.Do(t, j.Verify(context.Background()))
	}
}

// A restored store goes on after the sequence of its backup.
func TestCreateAfter(t *testing.T) {
	d := journaltest.New()
	j := must.Get(journal.Open("/j", testKey, journal.Options{Create: true, CreateAfter: 1000, Known: 1000, Disk: d, SegmentSize: small}))(t)
	check(t, j, 1001, 1000)
	appendBatch(t, j, 2, 100)
	check(t, mustOpen(t, d, 1002, small), 1001, 1002)
}

func TestPrune(t *testing.T) {
	d, last := aged(t)
	j := mustOpen(t, d, last, small)
	far := time.UnixMilli(1 << 50)
	for _, c := range []struct {
		before  time.Time
		covered uint64
	}{{far, 0}, {far, 3}, {time.UnixMilli(0), last}} {
		if n, err := j.Prune(c.before, 0, c.covered); n != 0 || err != nil {
			t.Fatalf("pruned %d, %v", n, err)
		}
	}
	if n, err := j.Prune(far, 0, 25); n != 1 || err != nil {
		t.Fatalf("pruned %d, %v", n, err)
	}
	first := j.FirstSequence()
	if first <= 1 || first > 26 {
		t.Fatalf("first %d", first)
	}
	check(t, j, first, last)
	if err := j.Replay(context.Background(), first-2, nil); !errors.Is(err, journal.ErrPruned) {
		t.Errorf("got %v, want ErrPruned", err)
	}
	check(t, mustOpen(t, d.Crash(func(string, int64) bool { return false }), last, small), first, last)
	if n, err := j.Prune(far, 0, last); n != 1 || err != nil {
		t.Fatalf("pruned %d, %v", n, err)
	}
	last = appendBatch(t, j, 1, 20)
	check(t, mustOpen(t, d, last, small), j.FirstSequence(), last)
}

// A segment keeps the size it was made with when the option changes.
func TestSegmentSizeChanges(t *testing.T) {
	d, last := aged(t)
	for _, size := range []int64{8 << 10, 32 << 10, 4 << 10, 1, small} {
		j := mustOpen(t, d, last, size)
		appendBatch(t, j, 2, 400)
		last = appendBatch(t, j, 9, 200)
		check(t, j, 1, last)
	}
}

// Bytes of the first format stay readable.
func TestOldBytes(t *testing.T) {
	text := must.Get(os.ReadFile("testdata/v1.hex"))(t)
	d := journaltest.New()
	for i, part := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		b := must.Get(hex.DecodeString(strings.ReplaceAll(part, "\n", "")))(t)
		b = append(b, make([]byte, 8*journaltest.Sector-len(b))...)
		d.Write([]string{"0000000001.seg", "0000000002.seg"}[i], b)
	}
	j := mustOpen(t, d, 17, 8*journaltest.Sector)
	check(t, j, 1, 17)
	check(t, mustOpen(t, d, appendBatch(t, j, 1, 30), 8*journaltest.Sector), 1, 18)
}
