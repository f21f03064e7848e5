package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"

	"github.com/dgraph-io/badger/v4"
)

// counts say what the index must hold: how many records, and the sum of their
// fingerprints. The writer moves them with each operation and writes them into
// the journal with each change, so whatever Badger has lost, has kept twice or
// has dug up in an older version is found out by walking through the index,
// without asking the journal again.
//
// Last uses, sessions and attempts do not count: the journal has them not.
type counts struct {
	names, tokens, records int64
	sum                    uint64
}

var (
	countsKey  = []byte("m counts") // in the journal and in snapshots
	appliedKey = []byte("m applied")
)

// countedKinds are the keys that count.
const countedKinds = "uitnove"

func counted(kind byte) bool {
	for i := range len(countedKinds) {
		if countedKinds[i] == kind {
			return true
		}
	}
	return false
}

// enter takes a stored value in (by 1) or out (by -1).
func (c *counts) enter(s *keys.Seals, key, stored []byte, by int64) {
	switch key[0] {
	case 'n':
		c.names += by
	case 't':
		c.tokens += by
	}
	c.records += by
	c.sum += uint64(by) * fingerprint(s, key, stored)
}

// fingerprint is of a key and what is stored under it. A sealed value begins
// with its MAC, which is one.
func fingerprint(s *keys.Seals, key, stored []byte) uint64 {
	if record.Sealed(key[0]) && len(stored) >= keys.SealSize {
		return binary.BigEndian.Uint64(stored)
	}
	return s.Sum(key, stored)
}

func (c counts) value() (b []byte) {
	for _, n := range [...]int64{c.names, c.tokens, c.records, int64(c.sum)} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

func parseCounts(b []byte) (c counts, ok bool) {
	var sum int64
	for _, n := range [...]*int64{&c.names, &c.tokens, &c.records, &sum} {
		v, used := binary.Varint(b)
		if used <= 0 {
			return c, false
		}
		*n, b = v, b[used:]
	}
	c.sum = uint64(sum)
	return c, len(b) == 0
}

// account brings an operation into the counts. It reads what the operation is
// about to replace.
func (s *Store) account(txn *badger.Txn, c *counts, o record.Op) error {
	if !counted(o.Key[0]) {
		return nil
	}
	if !o.First {
		old, ok, err := s.read(txn, o.Key)
		if err != nil {
			return err
		}
		if ok {
			c.enter(s.seals, o.Key, old, -1)
		}
	}
	if o.Value != nil {
		c.enter(s.seals, o.Key, o.Value, 1)
	}
	return nil
}

// takeCounts takes over the counts that an operation of the journal, or of a
// snapshot, sets.
func (s *Store) takeCounts(o record.Op) error {
	if string(o.Key) != string(countsKey) {
		return nil
	}
	b, err := s.seals.Open(o.Key, o.Value)
	if err != nil {
		return err
	}
	c, ok := parseCounts(b)
	if !ok {
		return fmt.Errorf("%w: the counts have an unknown form", ErrDamaged)
	}
	s.counts = c
	return nil
}

// compareCounts returns an *indexError when the index does not hold what it
// should. It compares within one view, since changes go on.
func (s *Store) compareCounts() error {
	for {
		ok, err := s.compareOnce()
		if ok || err != nil {
			return err
		}
		select {
		case <-s.closing:
			return ErrClosed
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// compareOnce is false when the index was catching up with the journal, in
// steps that the counts do not follow.
func (s *Store) compareOnce() (ok bool, err error) {
	turn := s.lag.turn.Load()
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	if turn%2 != 0 || turn != s.lag.turn.Load() {
		return false, nil
	}
	_, want, err := s.applied(txn)
	if err != nil {
		return false, err
	}
	got, err := s.tally(txn)
	if err == nil && got != want {
		err = &indexError{fmt.Errorf("%w: it holds %d records with the sum %x, and should hold %d with %x",
			ErrDamaged, got.records, got.sum, want.records, want.sum)}
	}
	return err == nil, err
}

// applied reads how far the index is, and what it should hold there.
func (s *Store) applied(txn *badger.Txn) (m marks, c counts, err error) {
	item, err := txn.Get(appliedKey) // not by get: this is what Badger has, not what waits
	if err != nil {
		return m, c, indexFault("how far the index is", disk.NotRead("how far it is", err))
	}
	stored, err := item.ValueCopy(nil)
	if err == nil {
		stored, err = s.seals.Open(appliedKey, stored)
	}
	if err != nil {
		return m, c, &indexError{err}
	}
	m, rest, ok := parseMarks(stored)
	if ok {
		c, ok = parseCounts(rest)
	}
	if !ok {
		return m, c, &indexError{errors.New("how far it is has an unknown form")}
	}
	return m, c, nil
}

// setApplied puts into Badger how far it is.
func (s *Store) setApplied(txn *badger.Txn) error {
	return txn.Set(appliedKey, s.seals.Seal(appliedKey, append(s.marks.value(), s.counts.value()...)))
}

// tally counts what the index holds, by as many workers as there are
// processors: each takes the keys that begin with one pair of bytes, or of tokens and
// ends, which begin alike, with one triple.
func (s *Store) tally(txn *badger.Txn) (counts, error) {
	var parts [][]byte
	for _, kind := range []byte(countedKinds) {
		for b := range 256 {
			part := []byte{kind, byte(b)}
			if kind != 't' && kind != 'e' {
				parts = append(parts, part)
				continue
			}
			for range scan(txn, part, nil) {
				for c := range 256 {
					parts = append(parts, []byte{kind, byte(b), byte(c)})
				}
				break
			}
		}
	}
	var next atomic.Int64
	sums := make([]counts, runtime.GOMAXPROCS(0))
	err := inParallel(func(w int) error {
		for n := next.Add(1) - 1; n < int64(len(parts)); n = next.Add(1) - 1 {
			if s.isClosing() {
				return ErrClosed
			}
			if err := s.tallyPart(txn, parts[n], &sums[w]); err != nil {
				return err
			}
		}
		return nil
	})
	var all counts
	for _, c := range sums {
		all.names += c.names
		all.tokens += c.tokens
		all.records += c.records
		all.sum += c.sum
	}
	return all, err
}

func (s *Store) tallyPart(txn *badger.Txn, prefix []byte, c *counts) error {
	n, start := 0, time.Now()
	for item := range scan(txn, prefix, nil) {
		err := item.Value(func(stored []byte) error {
			c.enter(s.seals, item.Key(), stored, 1)
			return nil
		})
		if err != nil {
			return disk.NotRead(fmt.Sprintf("read %q", item.Key()), err)
		}
		if n++; n%64 == 0 {
			start = s.giveWay(start)
		}
	}
	return nil
}

// giveWay lets requests be answered by the processor that has been busy since
// start. When index and table are open already, nobody waits for the walk: it
// takes one part of the time in 25, and less by what others keep it waiting.
func (s *Store) giveWay(start time.Time) time.Time {
	runtime.Gosched()
	if isClosed(s.opened) && isClosed(s.loaded) {
		s.pause(24 * time.Since(start))
	}
	return time.Now()
}

// pause waits, but not long, and not when the store is closing.
func (s *Store) pause(d time.Duration) {
	select {
	case <-time.After(min(d, 100*time.Millisecond)):
	case <-s.closing:
	}
}
