package table_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// BenchmarkTable fills tables of a thousand, a million and ten million tokens,
// and tells what one takes of memory, and how long it is written at a stop and
// loaded at a start. With -short the largest is left out.
func BenchmarkTable(b *testing.B) {
	for _, n := range []int{1e3, 1e6, 1e7} {
		if n > 1e6 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchTable(b, n) })
	}
}

func benchTable(b *testing.B, n int) {
	tab, seals := table.New(), keys.Ring{}.Seals()
	owner := tab.Owners.Set(record.Owner{ID: 7, UID: "alice@example.com"})
	for range 2 { // what was freed just now goes back at the second time
		debug.FreeOSMemory()
		time.Sleep(100 * time.Millisecond)
	}
	before := anonymous(b)
	r := rand.New(rand.NewPCG(1, 1))
	ids := make([]keys.ID, 1<<16)
	for i := range n {
		id := keys.ID{1}
		binary.LittleEndian.PutUint64(id[1:], r.Uint64())
		binary.LittleEndian.PutUint32(id[9:], r.Uint32())
		tab.Put(table.Entry{ID: id, Owner: owner, Used: record.CreatedAt(int64(i))})
		if at := r.IntN(i + 1); i < len(ids) {
			ids[i] = id
		} else if at < len(ids) { // any token with the same chance, as whoever is looked up next
			ids[at] = id
		}
	}
	debug.FreeOSMemory()
	each := float64(anonymous(b)-before) / float64(n)
	start := time.Now()
	file := filepath.Join(b.TempDir(), "table")
	if err := tab.WriteFile(file, seals, table.Moment{}); err != nil {
		b.Fatal(err)
	}
	stop := time.Since(start)
	tab = table.New()
	start = time.Now()
	left, err := table.Open(file, seals)
	if err != nil {
		b.Fatal(err)
	}
	defer left.Close()
	if err := errors.Join(left.Users(tab, all, false), left.LoadAll(never)); err != nil || tab.Len() != n {
		b.Fatalf("got %d tokens, %v, want %d", tab.Len(), err, n)
	}
	again := time.Since(start)
	ids = ids[:min(n, len(ids))]
	b.ResetTimer() // which forgets what was reported before
	b.ReportMetric(each, "B/token")
	b.ReportMetric(float64(stop.Milliseconds()), "ms/stop")
	b.ReportMetric(float64(again.Milliseconds()), "ms/start")
	for i := range b.N {
		id := ids[i%len(ids)]
		e, ok, _ := tab.Get(id)
		if !ok {
			b.Fatal("a token is missing")
		}
		tab.Touch(id, e.Slot, int64(n+i), home)
	}
}

func all(byte) bool { return true }

func never() error { return nil }

// anonymous is how much memory of this process is not that of files, in bytes.
func anonymous(b *testing.B) (bytes int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("there is no /proc")
	}
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscan(after, &bytes); err != nil {
		b.Fatal(err)
	}
	return bytes << 10
}
