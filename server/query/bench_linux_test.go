package query_test

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/server/demo"
	"gatehouse/server/query"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// BenchmarkQuery measures the first page of each filter, and its count, with 100,000
// users and a million tokens. Most of them match nothing: that is the most work. "plain"
// is what such a page costs when each record is read, and "memory" what all that filters
// ask for takes while it is there. Run it with -benchtime 1x.
func BenchmarkQuery(b *testing.B) {
	r := openBench(b, benchData(b))
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			for range must.All(r.Store.Tokens(storage.TokenFilter{}))(b) {
			}
		}
	})
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			for _, words := range []string{"nothing", "state:suspended", "from:192.0.2.0/24", "state:revoked"} {
				benchPage(b, r, words)
			}
			b.ReportMetric((heap()-before)/(1<<20), "MiB")
		}
	})
	for _, words := range []string{
		"idle:90d", "never-used", "used-after:2100-01-01", "used-before:1999-01-01", "created-after:2100-01-01",
		"created-before:1999-01-01", "created-by:nobody", "from:192.0.2.0/24", "from:10.1.2.0/24", "scope:nothing",
		"unlimited address-limited", "expires-within:30d", "state:live", "state:expired", "state:suspended", "state:revoked",
		"source:nowhere", "name:nothing", "name:ci", "id:01abcd", "nothing", "allen", "abc", "source:ldap ritchie nightly",
	} {
		b.Run("page/"+words, func(b *testing.B) { benchQuery(b, func() { benchPage(b, r, words) }) })
		b.Run("count/"+words, func(b *testing.B) {
			q := must.Get(parser().Tokens(nil, words))(b)
			benchQuery(b, func() {
				must.Get(r.Count(b.Context(), q, false))(b)
			})
		})
	}
}

// BenchmarkCold measures the first query of a process, which reads from the index what its
// filter asks for.
func BenchmarkCold(b *testing.B) {
	dir := benchData(b)
	for _, words := range []string{
		"id:01abcd", "idle:90d", "used-before:1999-01-01", "created-before:1999-01-01", "state:suspended", "state:revoked",
		"source:nowhere", "from:192.0.2.0/24", "scope:nothing", "nothing",
	} {
		b.Run(words, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := openBench(b, dir)
				spent := processor(b)
				b.StartTimer()
				benchPage(b, r, words)
				b.StopTimer()
				b.ReportMetric(float64((processor(b)-spent).Microseconds())/1000, "cpu-ms")
				r.Store.Close()
				b.StartTimer()
			}
		})
	}
}

// benchData returns a data directory with 100,000 users and a million tokens. It takes a
// minute to make, unless GATEHOUSE_BENCH_DATA names one in which
// gatehouse demo --users 100000 --tokens 1000000 --no-serve made them.
func benchData(b *testing.B) string {
	if dir := os.Getenv("GATEHOUSE_BENCH_DATA"); dir != "" {
		return dir
	}
	if testing.Short() {
		b.Skip("it makes a million tokens")
	}
	dir := b.TempDir()
	r := openBench(b, dir)
	o := demo.Options{Users: 100_000, Tokens: 1_000_000, Now: time.Now()}
	must.Get(demo.Fill(context.Background(), r.Store, o))(b)
	must.Do(b, r.Store.Close())
	return dir
}

// openBench opens a store, and waits until its table is loaded.
func openBench(b *testing.B, dir string) query.Reader {
	store := must.Get(storage.Open(dir, storage.Options{}))(b)
	b.Cleanup(func() { store.Close() })
	must.Get(store.CountTokens(storage.TokenFilter{}))(b)
	return query.Reader{Store: store}
}

// BenchmarkBeside measures verifications while an administrator's query runs again and
// again, in turns with as many while none runs. One in a hundred waits as long as p99.
func BenchmarkBeside(b *testing.B) {
	r := openBench(b, benchData(b))
	var secrets []string
	for t := range must.All(r.Store.Tokens(storage.TokenFilter{Limit: 1000}))(b) {
		secrets = append(secrets, r.Store.Reveal(t).Reveal())
	}
	home := storage.Origin{Address: netip.MustParseAddr("192.0.2.1")}
	verify := func(times []time.Duration) []time.Duration {
		for n := range 2000 {
			time.Sleep(50 * time.Microsecond) // as requests come
			start := time.Now()
			must.Get(r.Store.Authenticate(secrets[n%len(secrets)], home))(b)
			times = append(times, time.Since(start))
		}
		return times
	}
	benchPage(b, r, "scope:nothing") // from here on it is in memory
	var alone, beside []time.Duration
	for b.Loop() {
		for range 10 {
			alone = verify(alone)
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					benchPage(b, r, "no-such-text")
				}
			}()
			beside = verify(beside)
			stop()
			<-done
		}
	}
	for what, list := range map[string][]time.Duration{"alone": alone, "beside": beside} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Nanoseconds())/1000, "p50-us-"+what)
		b.ReportMetric(float64(list[len(list)*99/100].Nanoseconds())/1000, "p99-us-"+what)
	}
}

// heap returns how many bytes are in use.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func benchPage(b *testing.B, r query.Reader, words string) {
	b.Helper()
	q := must.Get(parser().Tokens(nil, words))(b)
	for range must.All(r.Tokens(b.Context(), q, query.Page{Limit: 100}))(b) {
	}
}

// benchQuery reports the median and the 99th percentile, and the shortest time and the
// processor time, which depend less on what else the machine does.
func benchQuery(b *testing.B, ask func()) {
	var times []time.Duration
	spent := processor(b)
	for b.Loop() {
		for range 30 {
			start := time.Now()
			ask()
			times = append(times, time.Since(start))
		}
	}
	spent = processor(b) - spent
	slices.Sort(times)
	at := func(percent int) float64 { return float64(times[(len(times)-1)*percent/100].Microseconds()) / 1000 }
	b.ReportMetric(at(0), "min-ms")
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(len(times)), "cpu-ms")
}

func processor(b *testing.B) time.Duration {
	var u unix.Rusage
	must.Do(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
