package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/journal/journaltest"
	"gatehouse/storage/storagetest/must"
)

var testKey = [32]byte{1, 2, 3, 4, 5}

func clock() func() time.Time {
	at := time.UnixMilli(1_700_000_000_000)
	return func() time.Time { at = at.Add(time.Second); return at }
}

// entry makes an entry with contents that follow from its sequence, so that a
// reader can check what it reads.
func entry(sequence uint64, size int) journal.Entry {
	text := fmt.Sprintf("change %d %d ", sequence, size)
	if n := size - len(text); n > 0 {
		text += strings.Repeat("0123456789abcdef", n/16+1)[:n]
	}
	return journal.Entry{Actor: fmt.Sprintf("user%d@example.com", sequence%7), Payload: []byte(text)}
}

// batchOf makes n entries that follow the given sequence.
func batchOf(after uint64, n, size int) []journal.Entry {
	list := make([]journal.Entry, n)
	for i := range list {
		list[i] = entry(after+1+uint64(i), size)
	}
	return list
}

func appendBatch(t testing.TB, j *journal.Journal, n, size int) uint64 {
	t.Helper()
	last, err := j.Append(journal.Ordinary, batchOf(j.LastSequence(), n, size))
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return last
}

// check reads everything and fails if a record is missing, doubled or wrong.
func check(t testing.TB, j *journal.Journal, first, last uint64) {
	t.Helper()
	must.Do(t, readAll(j, first, last))
}

func readAll(j *journal.Journal, first, last uint64) error {
	if got := j.FirstSequence(); got != first {
		return fmt.Errorf("first sequence %d, want %d", got, first)
	}
	if got := j.LastSequence(); got != last {
		return fmt.Errorf("last sequence %d, want %d", got, last)
	}
	want := first
	err := j.Replay(context.Background(), first-1, func(r journal.Record) error {
		if r.Sequence != want {
			return fmt.Errorf("sequence %d, want %d", r.Sequence, want)
		}
		want++
		return right(r)
	})
	if err == nil && want != last+1 {
		return fmt.Errorf("replay ended before %d, want %d", want, last+1)
	}
	return err
}

// right compares a record with the entry for its sequence.
func right(r journal.Record) error {
	var sequence uint64
	var size int
	if _, err := fmt.Sscanf(string(r.Payload), "change %d %d ", &sequence, &size); err != nil {
		return fmt.Errorf("record %d holds %q", r.Sequence, r.Payload)
	}
	want := entry(r.Sequence, size)
	if sequence != r.Sequence || string(want.Payload) != string(r.Payload) || want.Actor != r.Actor || r.Time == 0 {
		return fmt.Errorf("record %d is wrong: %+v", r.Sequence, r)
	}
	return nil
}

// on opens a journal on a test disk; it is created if there is none.
func on(d *journaltest.Disk, known uint64, segment int64) (*journal.Journal, error) {
	return journal.Open("/j", testKey, journal.Options{Create: true, Known: known, SegmentSize: segment, Disk: d, Now: clock()})
}

func mustOpen(t testing.TB, d *journaltest.Disk, known uint64, segment int64) *journal.Journal {
	t.Helper()
	j := must.Get(on(d, known, segment))(t)
	return j
}

func corrupt(t testing.TB, err error) *journal.CorruptError {
	t.Helper()
	var c *journal.CorruptError
	if !errors.As(err, &c) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
	return c
}
