package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// longUnits are the units of a span that time.ParseDuration lacks, the longest first.
// There is no month: its length varies, and m means minutes.
var longUnits = [...]struct {
	name string
	long time.Duration
}{{"y", 365 * day}, {"w", 7 * day}, {"d", day}}

// ParseSpan reads a positive span of time: whole years of 365 days, weeks and
// days, and then what time.ParseDuration reads. There is no other grammar for
// spans: the configuration, requests and command lines all come here.
func ParseSpan(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a span of time: write numbers with y, w, d, h, m (minutes) or s, such as 90d, 1y or 12h, between 1ms and 292y", s)
	if strings.ContainsAny(s, "+-") {
		return 0, bad
	}
	var whole time.Duration
	rest := s
	for _, u := range longUnits {
		digits, after, ok := strings.Cut(rest, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n > uint64((math.MaxInt64-whole)/u.long) {
			return 0, bad
		}
		whole, rest = whole+time.Duration(n)*u.long, after
	}
	if rest != "" {
		part, err := time.ParseDuration(rest)
		if err != nil || part > math.MaxInt64-whole {
			return 0, bad
		}
		whole += part
	}
	if whole < time.Millisecond { // the store would take it for 0, no end
		return 0, bad
	}
	return whole, nil
}

// FormatSpan writes a span as people do, for ParseSpan to read.
func FormatSpan(d time.Duration) string {
	if d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Lifetime is a span of time; its zero value, "never", has no end. It is a struct so
// that TOML accepts no number for it.
type Lifetime struct{ time.Duration }

// Ends reports whether the span has an end.
func (l Lifetime) Ends() bool { return l.Duration != 0 }

func (l Lifetime) String() string {
	if !l.Ends() {
		return "never"
	}
	return FormatSpan(l.Duration)
}

// UnmarshalText reads "never", or what ParseSpan reads.
func (l *Lifetime) UnmarshalText(b []byte) (err error) {
	l.Duration = 0
	if string(b) != "never" {
		l.Duration, err = ParseSpan(string(b))
	}
	return err
}

// Interval is how often something is done, which may be "off".
type Interval struct{ time.Duration }

// off is the duration of an interval that is "off".
const off = -1

func (i Interval) String() string {
	if i.Duration == off {
		return "off"
	}
	return FormatSpan(i.Duration)
}

// UnmarshalText reads "off", or what ParseSpan reads.
func (i *Interval) UnmarshalText(b []byte) (err error) {
	i.Duration = off
	if string(b) != "off" {
		i.Duration, err = ParseSpan(string(b))
	}
	return err
}

// or returns the interval: unset where the configuration says nothing, and 0 for
// "off".
func (i Interval) or(unset time.Duration) time.Duration {
	switch {
	case i.Duration == 0:
		return unset
	case i.Duration < 0:
		return 0
	}
	return i.Duration
}
