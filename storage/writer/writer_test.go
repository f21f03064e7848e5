package writer_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/index/indextest"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
	"gatehouse/storage/writer"
)

var root = record.Actor{Name: "root", Address: "192.0.2.1"}

// log is a log in a directory. While it fails it appends nothing.
type log struct {
	*journal.Journal
	fails   error
	batches []int // the sizes of those that were appended
}

func (l *log) Append(need journal.Need, batch []journal.Entry) (uint64, error) {
	if l.fails != nil {
		return 0, l.fails
	}
	l.batches = append(l.batches, len(batch))
	return l.Journal.Append(need, batch)
}

// fixture is a writer without a store.
type fixture struct {
	*writer.Writer
	t     *testing.T
	log   *log
	index *indextest.Index
	close func()
	said  storagetest.Log
}

func start(t *testing.T) *fixture {
	t.Helper()
	j := must.Get(journal.Open(t.TempDir(), [32]byte{1}, journal.Options{Create: true}))(t)
	t.Cleanup(func() { j.Close() })
	closing := make(chan struct{})
	seals := keys.Ring{Root: [32]byte{1}}.Seals()
	f := &fixture{t: t, log: &log{Journal: j}, index: indextest.New(t, seals), close: sync.OnceFunc(func() { close(closing) })}
	f.Writer = writer.New(closing, slog.New(slog.NewTextHandler(&f.said, nil)))
	dir, tokens := t.TempDir(), table.New()
	sources := read.Sources{Table: tokens, Clock: clock.New(clock.Options{File: dir + "/clock", Log: slog.New(slog.DiscardHandler)})}
	var ended sync.WaitGroup
	ended.Go(func() {
		f.Run(writer.Target{
			Journal: f.log, Index: f.index.Index, Table: tokens, Space: disk.NewSpace(dir, disk.Watermark), Seals: seals,
			Read: func(v *index.View) *read.Reader { return sources.At(v) }, Now: func() int64 { return 1000 }, Begin: func() {},
		})
	})
	t.Cleanup(func() { f.close(); ended.Wait(); f.Stop() })
	return f
}

// together makes the writer take the changes in one batch, in this order, and returns
// their errors.
func (f *fixture) together(all ...func(*writer.Tx) error) (errs []error) {
	f.t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		f.Do(root, journal.Essential, func(*writer.Tx) error { close(held); <-release; return nil })
	})
	<-held
	errs = make([]error, len(all))
	for n, fn := range all {
		wg.Go(func() { errs[n] = f.Do(root, journal.Essential, fn) })
		must.Happen(f.t, "a change that waits", func() bool { return f.Waiting() == n+1 })
	}
	close(release)
	wg.Wait()
	return errs
}

// has returns what the index has under a name.
func (f *fixture) has(name string) (value string) {
	f.t.Helper()
	err := f.index.View(func(v *index.View) error {
		b, _, err := v.Stored(record.NameKey(name))
		value = string(b)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return value
}

func put(name, value string) func(*writer.Tx) error {
	return func(t *writer.Tx) error {
		t.Event(record.Event{Action: "test", Detail: name})
		t.Hint(record.NameKey(name), []byte(value))
		return nil
	}
}

// Changes that wait share one append. Each sees those before it, except one that failed,
// which leaves no trace.
func TestOneBatch(t *testing.T) {
	f, failed := start(t), errors.New("failed")
	var seen []string
	see := func(tx *writer.Tx) error {
		b, _, err := tx.Stored(record.NameKey("a"))
		seen = append(seen, string(b))
		return err
	}
	durable := false
	errs := f.together(put("a", "1"), see,
		func(tx *writer.Tx) error { return errors.Join(put("a", "2")(tx), failed) }, see,
		func(tx *writer.Tx) error {
			tx.Durable(func() { durable = f.log.End().Sequence == 2 })
			return put("a", "3")(tx)
		}, see)
	if want := []error{nil, nil, failed, nil, nil, nil}; !slices.EqualFunc(errs, want, errors.Is) {
		t.Errorf("got %v", errs)
	}
	if want := []string{"1", "1", "3"}; !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
	if !slices.Equal(f.log.batches, []int{2}) || f.has("a") != "3" || !durable {
		t.Errorf("appended %v; the index has %q; durable after the append: %v", f.log.batches, f.has("a"), durable)
	}
}

// A change that the log does not take is nowhere. Only a log that has lost a write stays
// failed.
func TestLogRefuses(t *testing.T) {
	f := start(t)
	for _, c := range []struct {
		fails, want error
		stays       bool
	}{
		{syscall.EMFILE, disk.ErrUnavailable, false},
		{journal.ErrTooLarge, journal.ErrTooLarge, false},
		{journal.ErrNoSpace, disk.ErrNoSpace, false},
		{journal.ErrFailed, disk.ErrFailed, true},
	} {
		f.log.fails = c.fails // the writer is idle
		if err := f.Do(root, journal.Essential, put("a", "x")); !errors.Is(err, c.want) {
			t.Errorf("%v: got %v, want %v", c.fails, err, c.want)
		}
		if got := f.has("a"); got != "" {
			t.Errorf("%v: the index has %q", c.fails, got)
		}
		if failed := f.Failed() != nil; failed != c.stays {
			t.Errorf("%v: failed %v, want %v", c.fails, failed, c.stays)
		}
	}
	f.Note(root, record.Event{Action: "test.lost"})
	f.Do(root, journal.Essential, func(*writer.Tx) error { return nil }) // the note was before this
	if got := f.said.String(); !strings.Contains(got, "events are missing in the audit log") || !strings.Contains(got, "action=test.lost") {
		t.Errorf("the lost event is not in the log: %s", got)
	}
}

// When the store closes, the changes that wait are finished, and later ones are refused.
func TestClosing(t *testing.T) {
	f := start(t)
	errs := f.together(func(*writer.Tx) error { f.close(); return nil }, put("a", "1"))
	if errs[0] != nil || errs[1] != nil || f.has("a") != "1" {
		t.Errorf("got %v, and the index has %q", errs, f.has("a"))
	}
	if err := f.Do(root, journal.Essential, put("a", "2")); !errors.Is(err, disk.ErrClosed) {
		t.Errorf("after the end: got %v, want ErrClosed", err)
	}
}
