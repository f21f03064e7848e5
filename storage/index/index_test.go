package index_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

var seals = keys.Ring{Root: [32]byte{1}}.Seals()

// In these tests the kinds are a, which counts and is sealed; h, which counts and is not;
// and l, which the log does not record in full.
var kinds = index.Kinds{
	Counted: "ah", Reported: [2]byte{'a', 'h'}, Dense: "a", Sealed: "al", NewerKind: 'l',
	Newer: func(has, brings []byte) bool { return string(has) >= string(brings) },
}

// memoryLog is a log in memory.
type memoryLog struct{ records [][]record.Op }

func (l *memoryLog) End() journal.Position { return l.at(len(l.records)) }

func (l *memoryLog) at(sequence int) journal.Position {
	return journal.Position{Sequence: uint64(sequence), Hash: [32]byte{1, byte(sequence)}}
}

func (l *memoryLog) Ops(after uint64, fn func(uint64, []record.Op) error) error {
	for n, ops := range l.records[after:] {
		if err := fn(after+uint64(n)+1, ops); err != nil {
			return err
		}
	}
	return nil
}

// fixture is an index with its log and a disk that can be full.
type fixture struct {
	*index.Index
	t    *testing.T
	dir  string
	log  *memoryLog
	full *atomic.Bool
}

func describe(t *testing.T, dir string, full *atomic.Bool) *index.Index {
	t.Helper()
	space := disk.NewSpace(dir, disk.Watermark)
	space.MeasureBy(func(dir string) (uint64, error) {
		if full.Load() {
			return 0, nil
		}
		return disk.Free(dir)
	})
	return index.New(index.Options{Dir: dir, Seals: seals, Space: space, Log: slog.New(slog.DiscardHandler), Kinds: kinds, Closing: t.Context().Done()})
}

func create(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), log: new(memoryLog), full: new(atomic.Bool)}
	f.Index = describe(t, f.dir, f.full)
	must.Do(t, errors.Join(f.OpenEmpty(), f.Create(f.log.End())))
	t.Cleanup(f.close)
	return f
}

func (f *fixture) close() {
	if f.IsOpen() {
		if err := f.Close(time.Now().Add(time.Minute)); err != nil {
			f.t.Error(err)
		}
	}
	f.Stop()
}

// killed opens the index as a kill would leave it.
func (f *fixture) killed() *fixture {
	f.t.Helper()
	again := &fixture{t: f.t, dir: f.t.TempDir(), log: f.log, full: new(atomic.Bool)}
	if err := os.CopyFS(again.dir, os.DirFS(f.dir)); err != nil {
		f.t.Fatal(err)
	}
	again.Index = describe(f.t, again.dir, again.full)
	if closed, err := again.Open(); closed || err != nil {
		f.t.Fatalf("opened: closed %t, %v", closed, err)
	}
	f.t.Cleanup(again.close)
	return again
}

func a(key string) []byte { return []byte("a-" + key) }

func put(key, value string) record.Op {
	return record.Op{Key: a(key), Value: seals.Seal(a(key), []byte(value))}
}

func del(key string) record.Op { return record.Op{Key: a(key)} }

// write appends operations to the log, as one record, and brings them into the index.
func (f *fixture) write(ops ...record.Op) {
	f.t.Helper()
	var short error
	if f.full.Load() {
		short = disk.ErrNoSpace
	} else {
		f.Advance()
		short = f.Behind()
	}
	b := f.Batch()
	defer b.Discard()
	if err := b.Enter(ops); err != nil {
		f.t.Fatal(err)
	}
	if o, changed := b.Counts(); changed {
		ops = append(ops, o)
	}
	f.log.records = append(f.log.records, ops)
	ran := false
	b.Commit(f.log.End(), short, func() { ran = true })
	if !ran {
		f.t.Error("what changes with it did not change")
	}
}

// fill fills the disk, or makes room on it again.
func (f *fixture) fill(full bool) {
	f.full.Store(full)
	time.Sleep(2 * time.Millisecond) // at least: the free space is measured once a millisecond
}

// view begins a view that ends with the test.
func (f *fixture) view() *index.View {
	f.t.Helper()
	v, end, err := f.Begin()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(end)
	return v
}

// want compares the values of some keys in a view; an empty value stands for no
// value.
func want(t *testing.T, v *index.View, values map[string]string) {
	t.Helper()
	for k, want := range values {
		b, ok, err := v.Get(a(k))
		if string(b) != want || ok != (want != "") || err != nil {
			t.Errorf("%s: got %q, %t, %v, want %q", k, b, ok, err, want)
		}
	}
}

// A view shows the state when it began, and keeps the index open.
func TestView(t *testing.T) {
	f := create(t)
	f.write(put("1", "one"), put("2", "two"))
	before, end, err := f.Begin()
	if err != nil {
		t.Fatal(err)
	}
	f.write(put("1", "uno"), del("2"), put("3", "three"))
	want(t, before, map[string]string{"1": "one", "2": "two", "3": ""})
	after := f.view()
	want(t, after, map[string]string{"1": "uno", "2": "", "3": "three"})
	var forth, back []string
	for k := range after.Scan([]byte("a")) {
		forth = append(forth, string(k))
	}
	for k := range after.ScanBack([]byte("a"), []byte("a-2")) {
		back = append(back, string(k))
	}
	if !slices.Equal(forth, []string{"a-1", "a-3"}) || !slices.Equal(back, []string{"a-1"}) {
		t.Errorf("got %q, and from 2 back %q", forth, back)
	}
	shut := make(chan struct{})
	go func() { f.Shut(); close(shut) }()
	for err == nil {
		var end func()
		if _, end, err = f.Begin(); err == nil {
			end()
		}
	}
	if !errors.Is(err, disk.ErrClosed) {
		t.Errorf("after Shut: got %v, want %v", err, disk.ErrClosed)
	}
	if err := f.Write(1, func(u *index.Update) error { return u.Put(a("4"), []byte("four"), 0) }); err != nil {
		t.Errorf("the store's own upkeep after Shut: %v", err)
	}
	select {
	case <-shut:
		t.Error("Shut did not wait for a view")
	default:
	}
	end()
}

// An index that is not at the end of the log catches up, even if Badger has lost
// records since its last tables, or shows older ones again.
func TestCatchUp(t *testing.T) {
	for name, harm := range map[string]func(u *index.Update) error{
		"whole":        func(*index.Update) error { return nil },
		"lost":         func(u *index.Update) error { return u.Delete(a("1")) },
		"an old one":   func(u *index.Update) error { return u.Put(a("2"), []byte("two"), 0) },
		"one too many": func(u *index.Update) error { return u.Put(a("3"), []byte("three"), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			f := create(t)
			f.write(put("1", "one"))
			f.write(put("2", "two"), put("3", "three"))
			f.write(put("2", "zwei"), del("3"))
			must.Do(t, f.Write(1, harm))
			err := f.Compare()
			if fault := new(index.Fault); (name != "whole") != errors.As(err, &fault) {
				t.Errorf("compared: got %v", err)
			}
			again := f.killed()
			if at := again.Position(); at != f.log.End() {
				t.Errorf("it is at %v, want %v", at, f.log.End())
			}
			again.log = &memoryLog{append(slices.Clone(f.log.records), []record.Op{put("4", "four"), {Key: a("1")}})}
			err = again.CatchUp(again.log)
			// The last record was not counted: no record of the log can repair
			// that.
			if !errors.As(err, new(*index.Fault)) {
				t.Errorf("a log that says something else: got %v", err)
			}
			again = f.killed()
			must.Do(t, again.CatchUp(f.log))
			want(t, again.view(), map[string]string{"1": "one", "2": "zwei", "3": ""})
			must.Do(t, again.Compare())
		})
	}
}

// A value that the log does not record, and that is newer than the log's,
// stays.
func TestCatchUpKeepsWhatIsNewer(t *testing.T) {
	f := create(t)
	k := []byte("l")
	f.write(put("1", "one"), record.Op{Key: k, Value: seals.Seal(k, []byte("2"))})
	for _, test := range []struct{ has, want string }{{"1", "2"}, {"3", "3"}} {
		must.Do(t, f.Write(1, func(u *index.Update) error { return errors.Join(u.Put(k, []byte(test.has), 0), u.Delete(a("1"))) }))
		again := f.killed()
		must.Do(t, again.CatchUp(f.log))
		if b, _, err := again.view().Get(k); string(b) != test.want || err != nil {
			t.Errorf("it had %s: got %s, %v, want %s", test.has, b, err, test.want)
		}
	}
}

// While the disk is full, views show operations that Badger does not have yet. Each
// view still shows the same after Badger has caught up.
func TestFullDisk(t *testing.T) {
	f := create(t)
	f.write(put("1", "one"), put("2", "two"))
	before := f.view()
	f.fill(true)
	f.write(put("1", "uno"), put("3", "three"))
	if err := f.Behind(); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("behind: got %v, want %v", err, disk.ErrNoSpace)
	}
	during := f.view()
	f.write(del("2"))
	now := map[string]string{"1": "uno", "2": "", "3": "three"}
	check := func(when string, caughtUp bool) {
		t.Run(when, func(t *testing.T) {
			want(t, before, map[string]string{"1": "one", "2": "two", "3": ""})
			want(t, during, now)
			if !before.Steady() || during.Steady() {
				t.Errorf("steady: before %t, during %t", before.Steady(), during.Steady())
			}
			v := f.view()
			want(t, v, now)
			if v.Steady() != caughtUp {
				t.Errorf("steady: now %t, want %t", v.Steady(), caughtUp)
			}
		})
	}
	check("full", false)
	f.Advance()
	check("still full", false)
	again := f.killed()
	must.Do(t, again.CatchUp(f.log))
	want(t, again.view(), now)
	f.fill(false)
	f.Advance()
	check("caught up", true)
	f.write(put("1", "ein"), put("2", "zwei"))
	want(t, during, now) // not the later changes
	want(t, f.view(), map[string]string{"1": "ein", "2": "zwei", "3": "three"})
	if err := f.Compare(); err != nil || f.Behind() != nil {
		t.Errorf("compared: %v; behind: %v", err, f.Behind())
	}
}

// A table of Badger's that was changed is a fault, and the index is filled again: from a
// checkpoint and the log after it, or from the log alone when the checkpoint is
// unusable.
func TestFill(t *testing.T) {
	f := create(t)
	for n := range 100 {
		f.write(put(fmt.Sprintf("%02d", n), "value"))
	}
	var checkpoint []record.Op
	v := f.view()
	_, holds := must.Get2(v.State())(t)
	for item := range v.Items([]byte("a")) {
		stored := must.Get(item.Stored())(t)
		checkpoint = append(checkpoint, record.Op{Key: slices.Clone(item.Key()), Value: stored})
	}
	checkpoint = append(checkpoint, f.CountsOp(holds))
	f.write(put("00", "other"))
	f.close()
	tables, err := filepath.Glob(filepath.Join(f.dir, "index", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	b := must.Get(os.ReadFile(tables[0]))(t)
	b[len(b)/3] ^= 1
	must.Do(t, os.WriteFile(tables[0], b, 0o600))
	x := describe(t, f.dir, f.full)
	if _, err := x.Open(); !errors.As(err, new(*index.Fault)) || x.IsOpen() {
		t.Fatalf("a damaged table: got %v, want a *Fault", err)
	}
	reversed := slices.Clone(checkpoint)
	slices.Reverse(reversed)
	for name, ops := range map[string][]record.Op{"in order": checkpoint, "in no order": reversed} {
		t.Run(name, func(t *testing.T) {
			f.Index = describe(t, f.dir, f.full)
			must.Do(t, f.OpenEmpty())
			defer f.close()
			must.Do(t, f.Fill(f.log, func(put func(record.Op) error) (uint64, error) {
				for _, o := range ops {
					if err := put(o); err != nil {
						return 0, err
					}
				}
				return 100, nil
			}))
			v, end := must.Get2(f.Begin())(t)
			defer end()
			want(t, v, map[string]string{"00": "other", "01": "value", "99": "value"})
			if f.Position() != f.log.End() {
				t.Errorf("it is at %v, want %v", f.Position(), f.log.End())
			}
		})
	}
}
