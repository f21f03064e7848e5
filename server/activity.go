package server

import (
	"math/bits"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/server/api"
)

// activity counts what the server does, by the second, for the terminal UI. The
// rings are longer than what is shown, so that a second is cleared well before
// it is used again, and by whoever comes first: no request waits for another.
type activity struct {
	seconds [activitySeconds]second
	windows [verifyWindows]window
}

const (
	shownSeconds    = 120
	activitySeconds = 128 // a power of two

	windowLength  = 10 * time.Second
	shownWindows  = 6 // the last minute
	verifyWindows = 8
)

// second is what one second saw. Its number, since 1970, says which it is.
type second struct {
	number                      atomic.Int64
	requests, refused, revoked atomic.Int32
}

func (a *activity) at(now time.Time) *second {
	n := now.Unix()
	s := &a.seconds[n&(activitySeconds-1)]
	if old := s.number.Load(); old != n && s.number.CompareAndSwap(old, n) {
		s.requests.Store(0)
		s.refused.Store(0)
		s.revoked.Store(0)
	}
	return s
}

// request counts a request, by the status that it was answered with.
func (a *activity) request(now time.Time, status int) {
	s := a.at(now)
	s.requests.Add(1)
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		s.refused.Add(1)
	}
}

// window is how long the verifications of ten seconds took: in buckets of which
// four make a doubling, from 1 µs on.
type window struct {
	number  atomic.Int64
	buckets [100]atomic.Uint32
}

// verification counts one that took so long.
func (a *activity) verification(now time.Time, took time.Duration) {
	n := now.Unix() / int64(windowLength/time.Second)
	w := &a.windows[n%verifyWindows]
	if old := w.number.Load(); old != n && w.number.CompareAndSwap(old, n) {
		for i := range w.buckets {
			w.buckets[i].Store(0)
		}
	}
	w.buckets[bucketOf(took)].Add(1)
}

// bucketOf takes the highest bit of a time, in quarters of a µs, and the two
// after it.
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

// view is what is shown of it: the seconds that are over.
func (a *activity) view(now time.Time) api.Activity {
	v := api.Activity{
		Requests: make([]int, shownSeconds), Refused: make([]int, shownSeconds), Revoked: make([]int, shownSeconds),
	}
	first := now.Unix() - shownSeconds
	for i := range shownSeconds {
		n := first + int64(i)
		if s := &a.seconds[n&(activitySeconds-1)]; s.number.Load() == n {
			v.Requests[i], v.Refused[i], v.Revoked[i] = int(s.requests.Load()), int(s.refused.Load()), int(s.revoked.Load())
		}
	}
	v.P50, v.P99 = a.quantiles(now)
	return v
}

// quantiles are the median and the 99th percentile of the verifications of the
// last minute, in ms.
func (a *activity) quantiles(now time.Time) (p50, p99 float64) {
	var sum [len(window{}.buckets)]uint64
	var all uint64
	n := now.Unix() / int64(windowLength/time.Second)
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
