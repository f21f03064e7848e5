// Package say puts numbers, times, states and errors into few words, as the screens write them.
//
// It owns the words and their colours. It draws nothing, and knows no screen.
package say

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/text"
)

// Day is 24 hours.
const Day = 24 * time.Hour

// Orphaned is the state of an active service account that nobody owns.
const Orphaned = "orphaned"

// Ago says how long ago something was, in at most 12 columns.
func Ago(now time.Time, ms int64) string {
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
	case d < 2*Day:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	case d < 1000*Day:
		return fmt.Sprintf("%d days ago", d/Day)
	default:
		return fmt.Sprintf("%d years ago", d/(365*Day))
	}
}

// Span says how long something lasts, with its two largest units.
func Span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < Day:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd %dh", d/Day, d%Day/time.Hour)
	}
}

// Used says when a token was last used.
func Used(now time.Time, t api.Token) string {
	if !t.Used() {
		return "never"
	}
	return Ago(now, t.LastUsed)
}

// LastUse says when the latest of a user's tokens was used.
func LastUse(now time.Time, u api.User) string {
	if u.LastUsed == 0 && u.Tokens > 0 {
		return "never"
	}
	return Ago(now, u.LastUsed)
}

// InUse reports whether a token was used within the last hour: somebody would
// notice at once.
func InUse(now time.Time, t api.Token) bool {
	return t.Used() && now.Sub(time.UnixMilli(t.LastUsed)) < time.Hour
}

// Date shows the date of a time, in the zone of now; a dash if ms is 0.
func Date(now time.Time, ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).In(now.Location()).Format(time.DateOnly)
}

// Moment shows a time to the second, in the zone of now; a dash if ms is 0.
func Moment(now time.Time, ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).In(now.Location()).Format("2006-01-02 15:04:05 MST")
}

// Expiry shows expiresOn, by Date or Moment.
func Expiry(now time.Time, on string, show func(time.Time, int64) string) string {
	if on == api.Never {
		return "never"
	}
	t, err := time.Parse(time.RFC3339, on)
	if err != nil {
		return on
	}
	return show(now, t.UnixMilli())
}

// Number groups the digits of n by three.
func Number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Count returns a number with its noun: 1 token, 2,000 tokens.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Number(n) + " " + noun + "s"
}

// Dash returns s, or a dash if s is empty.
func Dash(s string) string { return cmp.Or(s, "-") }

// Fitting joins the first part and as many of the next ones as fit into width.
func Fitting(width int, parts ...string) string {
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

// When says when something was, and how long ago.
func When(now time.Time, ms int64) string {
	if ms == 0 {
		return "never"
	}
	return Moment(now, ms) + "   " + Ago(now, ms)
}

// heights are the bars of a sparkline, the lowest first. Zero is a dot, to tell it from
// nearly nothing.
var heights = []rune("▁▂▃▄▅▆▇█")

// Bars draws the values as bars, a column each, in that many lines, the top line first.
func Bars[N int | int64](values []N, lines int) []string {
	most := N(1)
	for _, v := range values {
		most = max(most, v)
	}
	out := make([]string, lines)
	for n := range out {
		var b strings.Builder
		for _, v := range values {
			full := int64(0) // in eighths of a line
			if v > 0 {
				full = (int64(v)*int64(lines*len(heights))-1)/int64(most) + 1
			}
			switch here := full - int64((lines-1-n)*len(heights)); {
			case here >= int64(len(heights)):
				b.WriteRune(heights[len(heights)-1])
			case here > 0:
				b.WriteRune(heights[here-1])
			case n == lines-1:
				b.WriteRune('.')
			default:
				b.WriteRune(' ')
			}
		}
		out[n] = b.String()
	}
	return out
}

// Spark draws the latest values as bars of one line, a column each.
func Spark[N int | int64](values []N, width int) string {
	return Bars(values[max(len(values)-max(width, 0), 0):], 1)[0]
}

// UsesIn sums up TokenDetail.Days in words.
func UsesIn(days []int64) string {
	sum := int64(0)
	for _, d := range days {
		sum += d
	}
	today := int64(0)
	if n := len(days); n > 0 {
		today = days[n-1]
	}
	return fmt.Sprintf("%s in %d days, %s today", Number(int(sum)), len(days), Number(int(today)))
}

// Limits says what a token is limited to, except for its end.
func Limits(t api.Token) string {
	switch {
	case len(t.Scopes)+len(t.Addresses) == 0:
		return "-"
	case len(t.Addresses) == 0:
		return strings.Join(t.Scopes, " ")
	case len(t.Scopes) == 0:
		return strings.Join(t.Addresses, " ")
	}
	return strings.Join(t.Scopes, " ") + " from " + strings.Join(t.Addresses, " ")
}

// UseTone colours the last use of a token.
func UseTone(now time.Time, t api.Token) listing.Tone {
	switch {
	case InUse(now, t):
		return listing.Green
	case !t.Used():
		return listing.Dim
	}
	return AgeTone(now, t.LastUsed)
}

// AgeTone colours a last use by its age: dim if it is stale, or if there is none, and
// yellow after a year.
func AgeTone(now time.Time, ms int64) listing.Tone {
	switch age := now.Sub(time.UnixMilli(ms)); {
	case ms == 0, age > api.StaleAfter && age <= 365*Day:
		return listing.Dim
	case age > 365*Day:
		return listing.Yellow
	}
	return listing.Plain
}

// StateTone colours the state of a user or a token: yellow if it can end, red if not.
func StateTone(state string) listing.Tone {
	switch state {
	case api.StateSuspended, api.StateDisabled, Orphaned:
		return listing.Yellow
	case api.StateRevoked, api.StateExpired:
		return listing.Red
	}
	return listing.Plain
}

// Millis shows milliseconds in the unit that fits; a dash if they are 0.
func Millis(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 1:
		return fmt.Sprintf("%.0f µs", ms*1000)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.0f s", ms/1000)
}

// Size shows a number of bytes in the unit that fits.
func Size(bytes int64) string {
	const unit = 1024
	f := float64(bytes)
	for _, name := range []string{"B", "KiB", "MiB", "GiB"} {
		switch {
		case f < 10 && name != "B":
			return fmt.Sprintf("%.1f %s", f, name)
		case f < unit:
			return fmt.Sprintf("%.0f %s", f, name)
		}
		f /= unit
	}
	return fmt.Sprintf("%.1f TiB", f)
}

// Stamp shows a time in 11 columns.
func Stamp(now time.Time, ms int64) string {
	t := time.UnixMilli(ms).In(now.Location())
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format(time.TimeOnly)
	case t.Year() == now.Year():
		return t.Format("01-02 15:04")
	}
	return t.Format(time.DateOnly)
}

// Error says what went wrong, in few words.
func Error(err error) string {
	nobody := new(api.UnreachableError)
	switch {
	case errors.As(err, &nobody):
		return "no server answers on " + text.Escape(nobody.Socket)
	case errors.Is(err, context.DeadlineExceeded):
		return "the server does not answer in time"
	}
	return text.Escape(err.Error())
}

// Unreachable reports whether err means that nobody answers, as opposed to a
// refusal by a server that does.
func Unreachable(err error) bool {
	refusal := new(api.Error)
	return err != nil && !errors.As(err, &refusal) && !errors.Is(err, context.Canceled)
}
