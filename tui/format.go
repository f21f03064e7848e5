package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/text"
)

const day = 24 * time.Hour

// ago says how long ago something was, in at most 12 columns.
func ago(now time.Time, ms int64) string {
	if ms == 0 {
		return "-"
	}
	switch d := now.Sub(time.UnixMilli(ms)); {
	case d < 2*time.Second: // clocks may differ by a little
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	case d < 1000*day:
		return fmt.Sprintf("%d days ago", d/day)
	default:
		return fmt.Sprintf("%d years ago", d/(365*day))
	}
}

// span says how long something lasts, with its two largest units.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	}
}

// used says when a token was last used.
func used(now time.Time, t api.Token) string {
	if !t.Used() {
		return "never"
	}
	return ago(now, t.LastUsed)
}

// lastUse says when the latest of a user's tokens was used.
func lastUse(now time.Time, u api.User) string {
	if u.LastUsed == 0 && u.Tokens > 0 {
		return "never"
	}
	return ago(now, u.LastUsed)
}

// inUse reports whether a token was used within the last hour: somebody would
// notice at once.
func inUse(now time.Time, t api.Token) bool {
	return t.Used() && now.Sub(time.UnixMilli(t.LastUsed)) < time.Hour
}

// date and moment show a time in the zone of now.
func date(now time.Time, ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).In(now.Location()).Format(time.DateOnly)
}

func moment(now time.Time, ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).In(now.Location()).Format("2006-01-02 15:04:05 MST")
}

// expiry shows expiresOn by one of the two above.
func expiry(now time.Time, on string, show func(time.Time, int64) string) string {
	if on == api.Never {
		return "never"
	}
	t, err := time.Parse(time.RFC3339, on)
	if err != nil {
		return on
	}
	return show(now, t.UnixMilli())
}

// number groups the digits of n by three.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// fitting puts as many of the parts into one line as fit into width.
func fitting(width int, parts ...string) string {
	out := parts[0]
	for _, p := range parts[1:] {
		if p == "" {
			continue
		}
		if text.Width(out)+3+text.Width(p) > width {
			break
		}
		out += "   " + p
	}
	return out
}

// when says when something was, and how long ago.
func when(now time.Time, ms int64) string {
	if ms == 0 {
		return "never"
	}
	return moment(now, ms) + "   " + ago(now, ms)
}

// bars are the heights of a sparkline. Zero is a dot, to tell it from nearly nothing.
var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the latest values as bars of one line, a column each.
func spark[N int | int64](values []N, width int) string {
	values = values[max(len(values)-max(width, 0), 0):]
	most := N(1)
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteRune('.')
			continue
		}
		b.WriteRune(bars[(int64(v)*int64(len(bars))-1)/int64(most)])
	}
	return b.String()
}

// usesADay draws what TokenDetail.Days has, and says it in numbers.
func usesADay(days []int64) string {
	sum := int64(0)
	for _, d := range days {
		sum += d
	}
	today := int64(0)
	if n := len(days); n > 0 {
		today = days[n-1]
	}
	return fmt.Sprintf("%s   %s in %d days, %s today", spark(days, len(days)), number(int(sum)), len(days), number(int(today)))
}

// useTone, ageTone and stateTone colour what a cell says.
func useTone(now time.Time, t api.Token) listing.Tone {
	switch {
	case inUse(now, t):
		return listing.Green
	case !t.Used():
		return listing.Dim
	}
	return ageTone(now, t.LastUsed)
}

func ageTone(now time.Time, ms int64) listing.Tone {
	switch age := now.Sub(time.UnixMilli(ms)); {
	case ms == 0, age > api.StaleAfter && age <= 365*day:
		return listing.Dim
	case age > 365*day:
		return listing.Yellow
	}
	return listing.Plain
}

func stateTone(state string) listing.Tone {
	switch state {
	case api.StateSuspended, api.StateDisabled, orphaned:
		return listing.Yellow
	case api.StateRevoked, api.StateExpired:
		return listing.Red
	}
	return listing.Plain
}
