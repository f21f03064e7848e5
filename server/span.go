package server

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
	bad := fmt.Errorf("%q is not a span of time: write numbers with y, w, d, h, m (minutes) or s, such as 90d, 1y or 12h", s)
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

// spanText is what ParseSpan reads, as people write it.
func spanText(d time.Duration) string {
	if d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}
