package metrics

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"gatehouse/server/api"
)

// activity is what the server did in the last two minutes, for the terminal UI. It
// costs requests nothing: once a second it reads the counters that exist for
// Prometheus, and it uses the verifications that are timed for them.
type activity struct {
	mu      sync.Mutex
	last    totals
	seconds [shownSeconds]totals
	n       int // seconds that have passed

	windows [verifyWindows]window
}

const (
	shownSeconds  = 120 // that view returns
	windowLength  = 10  // seconds
	shownWindows  = 6   // the last minute
	verifyWindows = 8   // a window is used again well after it was shown last
)

// totals are counts since the start, or in a second.
type totals struct{ requests, refused, revoked int }

func (m *Metrics) totals() (t totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counted {
		t.requests += int(valueOf(c))
	}
	return totals{t.requests, int(m.turned.Load()), int(valueOf(m.revocations))}
}

func valueOf(c prometheus.Counter) float64 {
	var v dto.Metric
	if c.Write(&v) != nil {
		return 0
	}
	return v.GetCounter().GetValue()
}

// Run looks at the counters once a second, until the context ends.
func (m *Metrics) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	m.activity.begin(m.totals())
	for {
		select {
		case <-tick.C:
			m.Second()
		case <-ctx.Done():
			return
		}
	}
}

// Second ends a second of the activity. Run calls it.
func (m *Metrics) Second() { m.activity.second(m.totals()) }

// Activity returns what happened in the seconds that are over.
func (m *Metrics) Activity(now time.Time) api.Activity { return m.activity.view(now) }

// begin makes the first second count from now.
func (a *activity) begin(now totals) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = now
}

// second adds what happened since it was last called, a second ago.
func (a *activity) second(now totals) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seconds[a.n%shownSeconds] = totals{now.requests - a.last.requests, now.refused - a.last.refused, now.revoked - a.last.revoked}
	a.last = now
	a.n++
}

// window is a histogram of how long the timed verifications of windowLength seconds
// took. It begins at 1 µs, and four buckets double the time.
type window struct {
	number  atomic.Int64
	buckets [100]atomic.Uint32
}

// verification counts one verification in the window of now.
func (a *activity) verification(now time.Time, took time.Duration) {
	n := now.Unix() / windowLength
	w := &a.windows[n%verifyWindows]
	if old := w.number.Load(); old != n && w.number.CompareAndSwap(old, n) {
		for i := range w.buckets {
			w.buckets[i].Store(0)
		}
	}
	w.buckets[bucketOf(took)].Add(1)
}

// bucketOf returns the bucket for a time. The highest bit of the time in quarters of a
// µs, and the two bits after it, select the bucket.
func bucketOf(took time.Duration) int {
	quarters := uint64(max(took, time.Microsecond) / 250)
	high := bits.Len64(quarters) - 1 // 2 or more
	return min(4*(high-2)+int(quarters>>(high-2)&3), len(window{}.buckets)-1)
}

// bucketTop is the longest time of a bucket, in ms.
func bucketTop(i int) float64 {
	quarters := uint64(4+i%4+1) << (i / 4)
	return float64(quarters) * 250 / float64(time.Millisecond)
}

// view is the activity on the wire: the seconds that are over, the oldest first.
func (a *activity) view(now time.Time) api.Activity {
	v := api.Activity{
		Requests: make([]int, shownSeconds), Refused: make([]int, shownSeconds), Revoked: make([]int, shownSeconds),
	}
	v.P50, v.P99 = a.quantiles(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range shownSeconds {
		t := a.seconds[(a.n+i)%shownSeconds] // before the first round is over: zeros
		v.Requests[i], v.Refused[i], v.Revoked[i] = t.requests, t.refused, t.revoked
	}
	return v
}

// quantiles are the median and the 99th percentile of the verifications of the
// last minute, in ms.
func (a *activity) quantiles(now time.Time) (p50, p99 float64) {
	var sum [len(window{}.buckets)]uint64
	var all uint64
	n := now.Unix() / windowLength
	for i := range a.windows {
		if w := &a.windows[i]; w.number.Load() > n-shownWindows {
			for b := range w.buckets {
				c := uint64(w.buckets[b].Load())
				sum[b] += c
				all += c
			}
		}
	}
	if all == 0 {
		return 0, 0
	}
	at := func(share float64) float64 {
		left := uint64(share * float64(all))
		for b, c := range sum {
			if left < c {
				return bucketTop(b)
			}
			left -= c
		}
		return bucketTop(len(sum) - 1)
	}
	return at(0.50), at(0.99)
}
