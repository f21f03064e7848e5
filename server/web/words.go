package web

import (
	"fmt"
	"math"
	"time"
)

// Moment is a time as a page shows it: in words, to the minute or exactly, and for
// machines in its datetime attribute.
type Moment struct{ Words, Minute, Exact, Machine string }

func moment(words string, t time.Time) Moment {
	t = t.UTC()
	return Moment{words, t.Format("2006-01-02 15:04 UTC"), t.Format("2006-01-02 15:04:05 UTC"), t.Format(time.RFC3339)}
}

func day(t time.Time) Moment { return moment(t.UTC().Format(time.DateOnly), t) }

func ago(now, t time.Time) Moment {
	d := now.Sub(t)
	if d < time.Minute {
		return moment("just now", t)
	}
	return moment(span(d)+" ago", t)
}

func until(now, t time.Time) Moment {
	if d := t.Sub(now); d > 0 {
		one, _ := unit(d)
		half := min(one/2, math.MaxInt64-d)  // to the nearest unit:
		return moment("in "+span(d+half), t) // what was made a second ago for 90 days doesn't end in 89
	}
	return ago(now, t)
}

// unit is the largest unit of which a duration has about two: nobody thinks in 675 days.
// But days count in the 90 that tokens often live. It is 0 for less than a minute.
func unit(d time.Duration) (one time.Duration, name string) {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return 0, ""
	case d < time.Hour:
		return time.Minute, "minute"
	case d < 2*day:
		return time.Hour, "hour"
	case d < 100*day:
		return day, "day"
	case d < 730*day:
		return 365 * day / 12, "month"
	}
	return 365 * day, "year"
}

// span is a duration in whole units.
func span(d time.Duration) string {
	one, name := unit(d)
	if one == 0 {
		return "less than a minute"
	}
	return count(d, one, name)
}

func count(d, unit time.Duration, name string) string {
	n := int(d / unit)
	if n == 1 {
		return "1 " + name
	}
	return fmt.Sprintf("%d %ss", n, name)
}

// Span is a lifetime in words, exact where it is a whole number of days.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d%(365*day) == 0:
		return count(d, 365*day, "year")
	case d%day == 0:
		return count(d, day, "day")
	case d%time.Hour == 0:
		return count(d, time.Hour, "hour")
	}
	return d.String()
}
