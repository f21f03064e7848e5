package metrics

import (
	"testing"
	"time"
)

func TestVerificationTimes(t *testing.T) {
	var a activity
	now := time.Unix(1_800_000_000, 0)
	if p50, p99 := a.quantiles(now); p50 != 0 || p99 != 0 {
		t.Errorf("without any: got %v and %v", p50, p99)
	}
	for n := range 100 {
		took := 10 * time.Microsecond
		if n >= 98 {
			took = 3 * time.Millisecond
		}
		a.verification(now.Add(-time.Duration(n%50)*time.Second), took)
	}
	a.verification(now.Add(-2*time.Minute), time.Hour)
	if p50, p99 := a.quantiles(now); p50 < 0.01 || p50 > 0.0125 || p99 < 3 || p99 > 3.75 {
		t.Errorf("got %v and %v, want 0.01 and 3 ms, and a quarter more at most", p50, p99)
	}
	if p50, _ := a.quantiles(now.Add(2 * time.Minute)); p50 != 0 {
		t.Errorf("two minutes later: got %v, want nothing", p50)
	}
	for _, took := range []time.Duration{0, time.Microsecond, 1700 * time.Nanosecond, 999 * time.Microsecond, 12 * time.Millisecond, time.Second} {
		top := time.Duration(bucketTop(bucketOf(took)) * float64(time.Millisecond))
		if top < took || top > max(took, time.Microsecond)*5/4+time.Nanosecond {
			t.Errorf("%v counts as up to %v", took, top)
		}
	}
}
