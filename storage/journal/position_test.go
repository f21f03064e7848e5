package journal_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest/must"
)

// The journal keeps each position that was ever its end. No other journal has
// that position, even if it has the same history up to the record before.
func TestPositions(t *testing.T) {
	dir := t.TempDir()
	opts := journal.Options{Create: true, SegmentSize: 8 << 10, Now: clock()}
	j := must.Get(journal.Open(dir, testKey, opts))(t)
	ends := []journal.Position{j.End()}
	for n := range 40 {
		appendBatch(t, j, 1+n%3, 100+40*n)
		if p := j.End(); p.Sequence != j.LastSequence() {
			t.Fatalf("the end is %v, the last record %d", p, j.LastSequence())
		}
		ends = append(ends, j.End())
	}
	if len(j.Segments()) < 3 {
		t.Fatal("too few segments for this test")
	}
	fork := ends[len(ends)/2]
	for _, p := range ends {
		if err := j.Has(t.Context(), p); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		if got, err := j.At(t.Context(), p.Sequence); err != nil || got != p {
			t.Errorf("at %d: got %v, %v, want %v", p.Sequence, got, err, p)
		}
		other := p
		other.Hash[7] ^= 1
		if err := j.Has(t.Context(), other); !errors.Is(err, journal.ErrElsewhere) {
			t.Errorf("with another hash: got %v, want %v", err, journal.ErrElsewhere)
		}
	}
	within := ends[3].Sequence - 1 // of a batch of three
	for _, sequence := range []uint64{within, j.LastSequence() + 1, j.LastSequence() + 100} {
		if p, err := j.At(t.Context(), sequence); !errors.Is(err, journal.ErrElsewhere) {
			t.Errorf("at %d: got %v, %v, want %v", sequence, p, err, journal.ErrElsewhere)
		}
	}
	must.Get(j.Prune(time.UnixMilli(1<<60), 0, fork.Sequence))(t)
	first := j.FirstSequence()
	for _, p := range ends {
		want := error(nil)
		if p.Sequence+1 < first {
			want = journal.ErrPruned
		}
		if err := j.Has(t.Context(), p); !errors.Is(err, want) {
			t.Errorf("%v, when the journal begins with %d: got %v, want %v", p, first, err, want)
		}
	}
	must.Do(t, j.Close())
	wantFork(t, dir, ends)
}

// wantFork lets a copy of the journal go its own way from here, with the same
// records, and wants both journals to tell their ends apart.
func wantFork(t *testing.T, dir string, ends []journal.Position) {
	t.Helper()
	copied := t.TempDir()
	must.Do(t, os.CopyFS(copied, os.DirFS(dir)))
	last := ends[len(ends)-1]
	after := map[string]journal.Position{}
	for name, size := range map[string]int{dir: 100, copied: 101} {
		j := must.Get(journal.Open(name, testKey, journal.Options{SegmentSize: 8 << 10, Now: clock()}))(t)
		defer j.Close()
		if err := j.Has(t.Context(), last); err != nil {
			t.Errorf("after a start: %v", err)
		}
		appendBatch(t, j, 1, size)
		after[name] = j.End()
		for other, p := range after {
			if err := j.Has(t.Context(), p); other != name && !errors.Is(err, journal.ErrElsewhere) {
				t.Errorf("the other's end: got %v, want %v", err, journal.ErrElsewhere)
			}
		}
	}
}

func TestPositionText(t *testing.T) {
	p := journal.Position{Sequence: 1 << 63, Hash: [32]byte{1, 2, 31: 255}}
	if got, err := journal.ParsePosition(p.String()); err != nil || got != p {
		t.Errorf("%s: got %v, %v", p, got, err)
	}
	if got, ok := journal.DecodePosition(p.Append(nil)); !ok || got != p {
		t.Errorf("encoded: got %v, %t", got, ok)
	}
	for _, text := range []string{"", ":", "7", "7:", "7:ab", "x" + p.String(), p.String() + "00", p.String()[:80], "-1:" + p.String()[20:]} {
		if got, err := journal.ParsePosition(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
