package web

import (
	"fmt"
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
		return moment("in "+span(d), t)
	}
	return ago(now, t)
}

// span is a duration in the largest unit that there are about two of: nobody thinks in
// 675 days. But days count in the 90 that tokens often live.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return count(d, time.Minute, "minute")
	case d < 2*day:
		return count(d, time.Hour, "hour")
	case d < 100*day:
		return count(d, day, "day")
	case d < 730*day:
		return count(d, 365*day/12, "month")
	}
	return count(d, 365*day, "year")
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
