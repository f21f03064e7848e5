package config_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
)

const day = 24 * time.Hour

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * day, "106751d": 106751 * day, "0090d": 90 * day,
		"720h": 720 * time.Hour, "30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "1ms": time.Millisecond, "7s": 7 * time.Second,
		"1y": 365 * day, "2y": 730 * day, "292y": 292 * 365 * day, "2w": 14 * day,
		"1y6w": 407 * day, "1y2w3d4h": 382*day + 4*time.Hour, "1d12h": 36 * time.Hour, "0y1d": day,
		"106751d23h47m16.854775807s": math.MaxInt64,
	} {
		if got, err := config.ParseSpan(text); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "d", "y", "0", "0d", "0y", "0d0h", "90", "1D", "1Y", "1 d", " 1d", "1d ", "never", "soon", "1e3d", "٣d", "1_0d",
		"-1d", "+1d", "-1h", "+1h", "1d-1h", "1d+1h", "1.5d", "0.5y", "1us",
		"1mo", "6mo", "1month", "1year", "1d1y", "1d1w", "1h1d", "1d1d", "1dd", "1y2", "1d5",
		"106752d", "293y", "99999999999999999999y", "292y200d", "106751d24h", "9223372036854775807d",
	} {
		got, err := config.ParseSpan(text)
		if err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		} else if !strings.Contains(err.Error(), "such as 90d, 1y or 12h") {
			t.Errorf("%q: got %v, want an error that says what to write", text, err)
		}
	}
}

// TestSpanText: what the program writes, it reads.
func TestSpanText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		90 * day: "90d", 365 * day: "365d", 36 * time.Hour: "36h", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 3601 * time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s", 106751 * day: "106751d",
	} {
		got := config.FormatSpan(d)
		if back, err := config.ParseSpan(got); got != want || back != d || err != nil {
			t.Errorf("%d: got %s, which is %v, %v; want %s", d, got, back, err, want)
		}
	}
}
