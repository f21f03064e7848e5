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
	"gatehouse/storage/sealed"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

// BenchmarkTable fills tables of a thousand, a million and ten million tokens.
// It reports the memory for one token, and how long it takes to write the table
// at a stop and to load it at a start. With -short it leaves out the largest.
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
	for range 2 { // the second call returns what the first has freed
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
		} else if at < len(ids) { // any token with the same chance, like the next one to be looked up
			ids[at] = id
		}
	}
	debug.FreeOSMemory()
	each := float64(anonymous(b)-before) / float64(n)
	start := time.Now()
	file := filepath.Join(b.TempDir(), "table")
	must.Do(b, tab.WriteFile(file, seals, sealed.Moment{}))
	stop := time.Since(start)
	tab = table.New()
	start = time.Now()
	left := must.Get(table.Open(file, seals))(b)
	defer left.Close()
	if err := errors.Join(left.Users(tab, all, false), left.LoadAll(never)); err != nil || tab.Len() != n {
		b.Fatalf("got %d tokens, %v, want %d", tab.Len(), err, n)
	}
	again := time.Since(start)
	ids = ids[:min(n, len(ids))]
	b.ResetTimer() // this forgets earlier reports
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

// anonymous returns how much memory of this process does not belong to files,
// in bytes.
func anonymous(b *testing.B) (bytes int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("there is no /proc")
	}
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	must.Get(fmt.Sscan(after, &bytes))(b)
	return bytes << 10
}
