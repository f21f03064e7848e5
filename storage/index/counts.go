package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Counts say what the index must hold: how many records, and the sum of their
// fingerprints. The writer updates them with each operation and writes them into the journal
// with each change. So one walk through the index finds out if Badger has lost a record,
// kept one twice or returned to an older version, without reading the journal again.
//
// Records that are not in the journal do not count: last uses, sessions, recent
// files.
type Counts struct {
	First, Second int64 // of the reported kinds
	Records       int64
	sum           uint64
}

var (
	countsKey  = []byte("m counts") // in the journal and in checkpoints
	appliedKey = []byte("m applied")
)

func (x *Index) counted(kind byte) bool { return strings.IndexByte(x.opts.Kinds.Counted, kind) >= 0 }

// enter adds a stored value (by 1) or removes it (by -1).
func (x *Index) enter(c *Counts, key, stored []byte, by int64) {
	switch key[0] {
	case x.opts.Kinds.Reported[0]:
		c.First += by
	case x.opts.Kinds.Reported[1]:
		c.Second += by
	}
	c.Records += by
	c.sum += uint64(by) * x.fingerprint(key, stored)
}

// fingerprint returns the fingerprint of a key and its stored value. A sealed value
// begins with its MAC, which serves as the fingerprint.
func (x *Index) fingerprint(key, stored []byte) uint64 {
	if strings.IndexByte(x.opts.Kinds.Sealed, key[0]) >= 0 && len(stored) >= 8 {
		return binary.BigEndian.Uint64(stored)
	}
	return x.opts.Seals.Sum(key, stored)
}

// Count adds a stored value to the counts, if its kind counts.
func (v *View) Count(c *Counts, key, stored []byte) {
	if v.x.counted(key[0]) {
		v.x.enter(c, key, stored, 1)
	}
}

// State returns how far Badger was when the view began, and what it should hold
// there.
func (v *View) State() (at journal.Position, holds Counts, err error) {
	p, holds, err := v.applied()
	return p.at, holds, err
}

func (c Counts) value() (b []byte) {
	for _, n := range [...]int64{c.First, c.Second, c.Records, int64(c.sum)} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func parseCounts(b []byte) (c Counts, ok bool) {
	var sum int64
	for _, n := range [...]*int64{&c.First, &c.Second, &c.Records, &sum} {
		v, used := binary.Varint(b)
		if used <= 0 {
			return c, false
		}
		*n, b = v, b[used:]
	}
	c.sum = uint64(sum)
	return c, len(b) == 0
}

// take adopts the counts that an operation of the journal, or of a checkpoint, sets.
func (x *Index) take(o record.Op) error {
	if string(o.Key) != string(countsKey) {
		return nil
	}
	b, err := x.opts.Seals.Open(o.Key, o.Value)
	if err != nil {
		return err
	}
	c, ok := parseCounts(b)
	if !ok {
		return fmt.Errorf("%w: the counts have an unknown form", disk.ErrDamaged)
	}
	x.holds = c
	return nil
}

// CountsOp returns the operation that records the counts in the journal or in a
// checkpoint.
func (x *Index) CountsOp(c Counts) record.Op {
	return record.Op{Key: countsKey, Value: x.opts.Seals.Seal(countsKey, c.value())}
}

// Compare returns a *Fault when the index does not hold what it should. It compares
// within one view, since changes go on. While the index waits for the disk, Compare
// waits too.
func (x *Index) Compare() error {
	for {
		ok, err := x.compareOnce()
		if ok || err != nil {
			return err
		}
		select {
		case <-x.opts.Closing:
			return disk.ErrClosed
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// compareOnce returns false while the index is behind the journal.
func (x *Index) compareOnce() (ok bool, err error) {
	v := x.now(toRead)
	defer v.txn.Discard()
	if !v.Steady() {
		return false, nil
	}
	_, want, err := v.applied()
	if err != nil {
		return false, err
	}
	got, err := x.tally(v)
	if err == nil && got != want {
		err = &Fault{fmt.Errorf("%w: it holds %d records with the sum %x, and should hold %d with %x",
			disk.ErrDamaged, got.Records, got.sum, want.Records, want.sum)}
	}
	return err == nil, err
}

// applied reads how far Badger is, and what it should hold there.
func (v *View) applied() (p progress, c Counts, err error) {
	item, err := v.txn.Get(appliedKey) // not with Get: this is the state of Badger, without waiting operations
	if err != nil {
		return p, c, FaultOf("the position of the index", disk.NotRead("how far it is", err))
	}
	stored, err := item.ValueCopy(nil)
	if err == nil {
		stored, err = v.x.opts.Seals.Open(appliedKey, stored)
	}
	if err != nil {
		return p, c, &Fault{err}
	}
	p, rest, ok := parseProgress(stored)
	if ok {
		c, ok = parseCounts(rest)
	}
	if !ok {
		return p, c, &Fault{errors.New("its position has an unknown form")}
	}
	return p, c, nil
}

// appliedValue returns the record that tells Badger how far it is.
func (x *Index) appliedValue() []byte {
	return x.opts.Seals.Seal(appliedKey, append(x.progress.value(), x.holds.value()...))
}

// tally counts what the index holds, with as many workers as there are processors. Each
// worker takes the keys that begin with one pair of bytes, or, for a dense kind, with
// one triple.
func (x *Index) tally(v *View) (Counts, error) {
	var parts [][]byte
	for _, kind := range []byte(x.opts.Kinds.Counted) {
		for b := range 256 {
			part := []byte{kind, byte(b)}
			if strings.IndexByte(x.opts.Kinds.Dense, kind) < 0 {
				parts = append(parts, part)
				continue
			}
			for range v.Scan(part) {
				for c := range 256 {
					parts = append(parts, []byte{kind, byte(b), byte(c)})
				}
				break
			}
		}
	}
	var next atomic.Int64
	sums := make([]Counts, runtime.GOMAXPROCS(0))
	err := inParallel(func(w int) error {
		for n := next.Add(1) - 1; n < int64(len(parts)); n = next.Add(1) - 1 {
			if x.closing() {
				return disk.ErrClosed
			}
			if err := x.tallyPart(v, parts[n], &sums[w]); err != nil {
				return err
			}
		}
		return nil
	})
	var all Counts
	for _, c := range sums {
		all.First += c.First
		all.Second += c.Second
		all.Records += c.Records
		all.sum += c.sum
	}
	return all, err
}

func (x *Index) tallyPart(v *View, prefix []byte, c *Counts) error {
	n, start := 0, time.Now()
	for item := range v.scan(prefix, nil, forwards) {
		err := item.Value(func(stored []byte) error {
			x.enter(c, item.Key(), stored, 1)
			return nil
		})
		if err != nil {
			return disk.NotRead(fmt.Sprintf("read %q", item.Key()), err)
		}
		if n++; n%64 == 0 {
			start = x.opts.Yield(start)
		}
	}
	return nil
}

func (x *Index) closing() bool { return disk.IsClosed(x.opts.Closing) }

// inParallel runs a function in as many workers as there are processors.
func inParallel(work func(worker int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() { errs[w] = work(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
