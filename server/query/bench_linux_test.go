package query_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/server/demo"
	"gatehouse/server/query"
	"gatehouse/storage"
)

// BenchmarkQuery measures the first page of each filter, and its count, with 100,000
// users and a million tokens. Most of them match nothing: that is the most work. "plain"
// is what such a page costs when each record is read, and "cold" the first such query.
// Making the store takes a minute.
func BenchmarkQuery(b *testing.B) {
	if testing.Short() {
		b.Skip("it makes a million tokens")
	}
	store, err := storage.Open(b.TempDir(), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	if _, err := demo.Fill(context.Background(), store, demo.Options{Users: 100_000, Tokens: 1_000_000, Now: time.Now()}); err != nil {
		b.Fatal(err)
	}
	r := query.Reader{Store: store, Delayed: func(storage.User) (bool, error) { return false, nil }}
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			for _, err := range store.Tokens(storage.TokenFilter{}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	before := heap()
	b.Run("cold", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			if n == 0 {
				benchPage(b, r, "scope:nothing") // later rounds would be warm
			}
		}
	})
	b.Logf("to match in memory takes %d MiB", (heap()-before)>>20)
	for _, words := range []string{
		"idle:90d", "never-used", "used-after:2100-01-01", "used-before:1999-01-01", "created-after:2100-01-01",
		"created-before:1999-01-01", "created-by:nobody", "from:192.0.2.0/24", "from:10.1.2.0/24", "scope:nothing",
		"unlimited address-limited", "expires-within:30d", "state:live", "state:expired", "state:suspended", "state:revoked",
		"source:nowhere", "name:nothing", "name:ci", "id:01abcd", "nothing", "allen", "abc", "source:ldap ritchie nightly",
	} {
		b.Run("page/"+words, func(b *testing.B) { benchQuery(b, func() { benchPage(b, r, words) }) })
		b.Run("count/"+words, func(b *testing.B) {
			q, err := parser().Tokens(nil, words)
			if err != nil {
				b.Fatal(err)
			}
			benchQuery(b, func() {
				if _, err := r.Count(b.Context(), q, false); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func benchPage(b *testing.B, r query.Reader, words string) {
	b.Helper()
	q, err := parser().Tokens(nil, words)
	if err != nil {
		b.Fatal(err)
	}
	for _, err := range r.Tokens(b.Context(), q, query.Page{Limit: 100}) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchQuery reports the median and the 99th percentile, and the processor time, which
// depends less on what else the machine does.
func benchQuery(b *testing.B, ask func()) {
	var times []time.Duration
	spent := processor(b)
	for b.Loop() {
		start := time.Now()
		ask()
		times = append(times, time.Since(start))
	}
	spent = processor(b) - spent
	slices.Sort(times)
	at := func(percent int) float64 { return float64(times[(len(times)-1)*percent/100].Microseconds()) / 1000 }
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(len(times)), "cpu-ms")
}

func processor(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
