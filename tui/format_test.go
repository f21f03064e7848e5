package tui

import (
	"gatehouse/tui/say"
	"testing"
	"time"
)

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
		if got := say.Spark(c.values, c.width); got != c.want {
			t.Errorf("spark(%v, %d) = %q, want %q", c.values, c.width, got, c.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{size(0), "0 B"}, {size(1023), "1023 B"}, {size(1024), "1.0 KiB"}, {size(734_003_200), "700 MiB"}, {size(9_999_999_999), "9.3 GiB"}, {size(1 << 50), "1024.0 TiB"},
		{millis(0), "-"}, {millis(0.0411), "41 µs"}, {millis(1.25), "1.2 ms"}, {millis(120), "120 ms"}, {millis(30_000), "30 s"},
		{say.Ago(noon, before(999*say.Day)), "999 days ago"}, {say.Ago(noon, before(1000*say.Day)), "2 years ago"}, {say.Ago(noon, 0), "-"}, {say.Ago(noon, before(-time.Second)), "just now"},
		{stamp(noon, before(time.Hour)), "11:00:00"}, {stamp(noon, before(13*time.Hour)), "03-13 23:00"}, {stamp(noon, before(200*say.Day)), "2025-08-26"},
		{say.Fitting(20, "Users", "1 user", "", "7 tokens"), "Users   1 user"}, {say.Fitting(30, "Users", "1 user", "", "7 tokens"), "Users   1 user   7 tokens"},
		{say.Number(-1), "-1"}, {say.Number(999), "999"}, {say.Number(1000), "1,000"}, {say.Number(2431908), "2,431,908"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
