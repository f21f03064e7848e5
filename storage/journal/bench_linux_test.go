package journal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest/must"
)

// BenchmarkAppend reports records a second. For comparison it reports how often
// a second the disk itself writes 512 bytes into allocated space with one
// fdatasync, in the same run.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			j := must.Get(journal.Open(b.TempDir(), testKey, journal.Options{Create: true}))(b)
			defer j.Close()
			entries := batchOf(0, n, 150)
			raw := rawSyncs(b, 500)
			b.ReportAllocs()
			start := time.Now()
			for b.Loop() {
				must.Get(j.Append(journal.Ordinary, entries))(b)
			}
			spent := time.Since(start).Seconds()
			b.ReportMetric(float64(b.N)/spent, "appends/s")
			b.ReportMetric(float64(b.N*n)/spent, "records/s")
			b.ReportMetric((raw+rawSyncs(b, 500))/2, "disk-syncs/s")
		})
	}
}

func rawSyncs(b *testing.B, n int) float64 {
	b.Helper()
	f := must.Get(os.Create(filepath.Join(b.TempDir(), "raw")))(b)
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, 16<<20); err != nil {
		b.Skip(err)
	}
	must.Do(b, f.Sync())
	block := make([]byte, 512)
	block[0] = 1
	start := time.Now()
	for i := range n {
		must.Get(f.WriteAt(block, int64(i)*512))(b)
		must.Do(b, syscall.Fdatasync(int(f.Fd())))
	}
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkOpen verifies 100,000 records, written one by one and in batches.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			opts := journal.Options{Create: true}
			j, err := journal.Open(dir, testKey, opts)
			if err != nil {
				b.Fatal(err)
			}
			for range 100_000 / n {
				appendBatch(b, j, n, 150)
			}
			size := j.Size()
			j.Close()
			b.SetBytes(size)
			for b.Loop() {
				if j, err = journal.Open(dir, testKey, opts); err != nil {
					b.Fatal(err)
				}
				j.Close()
			}
		})
	}
}

func BenchmarkReplay(b *testing.B) {
	j := must.Get(journal.Open(b.TempDir(), testKey, journal.Options{Create: true}))(b)
	defer j.Close()
	for range 1000 {
		appendBatch(b, j, 100, 150)
	}
	for b.Loop() {
		must.Do(b, j.Replay(context.Background(), 0, func(journal.Record) error { return nil }))
	}
	b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "records/s")
}
