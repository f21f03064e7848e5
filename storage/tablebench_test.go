package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/record"
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
	s := open(b, b.TempDir())
	owner := s.owners.set(record.Owner{ID: 7, UID: "alice@example.com"})
	for range 2 { // what was freed just now goes back at the second time
		debug.FreeOSMemory()
		time.Sleep(100 * time.Millisecond)
	}
	before := anonymous(b)
	r := rand.New(rand.NewPCG(1, 1))
	ids := make([]ID, 1<<16)
	for i := range n {
		id := ID{1}
		binary.LittleEndian.PutUint64(id[1:], r.Uint64())
		binary.LittleEndian.PutUint32(id[9:], r.Uint32())
		s.table.put(entry{id: id, owner: owner, used: record.CreatedAt(int64(i))})
		if at := r.IntN(i + 1); i < len(ids) {
			ids[i] = id
		} else if at < len(ids) { // any token with the same chance, as whoever is looked up next
			ids[at] = id
		}
	}
	debug.FreeOSMemory()
	each := float64(anonymous(b)-before) / float64(n)
	start := time.Now()
	if err := s.leaveTable(tableMoment{position: s.journal.End()}); err != nil {
		b.Fatal(err)
	}
	stop := time.Since(start)
	s.table = newTable(new(memory))
	start = time.Now()
	left := s.openTable()
	if left == nil {
		b.Fatal("no table was left")
	}
	if err := errors.Join(left.readOwners(), left.loadAll()); err != nil || s.table.len() != n {
		b.Fatalf("got %d tokens, %v, want %d", s.table.len(), err, n)
	}
	again := time.Since(start)
	ids = ids[:min(n, len(ids))]
	b.ResetTimer() // which forgets what was reported before
	b.ReportMetric(each, "B/token")
	b.ReportMetric(float64(stop.Milliseconds()), "ms/stop")
	b.ReportMetric(float64(again.Milliseconds()), "ms/start")
	for i := range b.N {
		id := ids[i%len(ids)]
		e, ok, _ := s.table.get(id)
		if !ok {
			b.Fatal("a token is missing")
		}
		s.table.touch(id, e.slot, int64(n+i), home)
	}
}

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
