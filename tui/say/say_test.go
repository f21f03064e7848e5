package say

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// before returns a time in milliseconds, so long before noon.
func before(d time.Duration) int64 { return noon.Add(-d).UnixMilli() }

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		values []int
		width  int
		want   string
	}{
		{nil, 10, ""},
		{[]int{1, 2}, 0, ""},
		{[]int{0, 0, 0}, 3, "..."},
		{[]int{0, 1, 0}, 3, ".█."},
		{[]int{0, 1, 1000}, 3, ".▁█"},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8}, 8, "▁▂▃▄▅▆▇█"},
		{[]int{5, 5, 5, 5}, 2, "██"},
		{[]int{9, 9, 0, 0, 4}, 3, "..█"},
		{[]int{-1, 8}, 2, ".█"},
	} {
		if got := Spark(c.values, c.width); got != c.want {
			t.Errorf("spark(%v, %d) = %q, want %q", c.values, c.width, got, c.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Size(0), "0 B"}, {Size(1023), "1023 B"}, {Size(1024), "1.0 KiB"}, {Size(734_003_200), "700 MiB"}, {Size(9_999_999_999), "9.3 GiB"}, {Size(1 << 50), "1024.0 TiB"},
		{Millis(0), "-"}, {Millis(0.0411), "41 µs"}, {Millis(1.25), "1.2 ms"}, {Millis(120), "120 ms"}, {Millis(30_000), "30 s"},
		{Ago(noon, before(999*Day)), "999 days ago"}, {Ago(noon, before(1000*Day)), "2 years ago"}, {Ago(noon, 0), "-"}, {Ago(noon, before(-time.Second)), "just now"},
		{Stamp(noon, before(time.Hour)), "11:00:00"}, {Stamp(noon, before(13*time.Hour)), "03-13 23:00"}, {Stamp(noon, before(200*Day)), "2025-08-26"},
		{Fitting(20, "Users", "1 user", "", "7 tokens"), "Users   1 user"}, {Fitting(30, "Users", "1 user", "", "7 tokens"), "Users   1 user   7 tokens"},
		{Number(-1), "-1"}, {Number(999), "999"}, {Number(1000), "1,000"}, {Number(2431908), "2,431,908"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
