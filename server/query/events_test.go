package query_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/query"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// TestEvents: each filter of the audit log, alone and with another, on one event.
func TestEvents(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	p := query.Parser{Now: now, Span: config.ParseSpan}
	e := record.Event{Actor: "Ada@Example.com", Action: "token.revoke", Address: "10.1.2.3", Time: now.Add(-time.Hour).UnixMilli()}
	for _, c := range []struct {
		filters []string
		want    bool
	}{
		{nil, true},
		{[]string{"by", "ada@example.COM"}, true},
		{[]string{"by", "ada"}, false},
		{[]string{"action", "token.revoke"}, true},
		{[]string{"action", "TOKEN"}, true},
		{[]string{"action", "token.rev"}, false},
		{[]string{"action", "tok"}, false},
		{[]string{"from", "10.1.2.3"}, true},
		{[]string{"from", "10.0.0.0/8"}, true},
		{[]string{"from", "::ffff:10.0.0.0/104"}, true},
		{[]string{"from", "10.1.2.4"}, false},
		{[]string{"from", "2001:db8::/32"}, false},
		{[]string{"since", "2026-11-29"}, true},
		{[]string{"since", "1h"}, true}, // from that moment on
		{[]string{"since", "59m"}, false},
		{[]string{"until", "1h"}, false}, // not with that moment
		{[]string{"until", "59m"}, true},
		{[]string{"until", "2026-11-29T12:00:00+01:00"}, false},
		{[]string{"since", "2h", "until", "30m", "by", "ada@example.com", "action", "token", "from", "10.1.0.0/16"}, true},
		{[]string{"since", "2h", "until", "30m", "by", "bob@example.com"}, false},
	} {
		q, err := p.Events(api.Where(c.filters...))
		if err != nil {
			t.Errorf("%q: %v", c.filters, err)
		} else if got := q.Is(e); got != c.want {
			t.Errorf("%q: got %v, want %v", c.filters, got, c.want)
		}
	}
	for _, address := range []string{"", "unknown"} {
		if q, err := p.Events(api.Where("from", "0.0.0.0/0")); err != nil || q.Is(record.Event{Address: address}) {
			t.Errorf("an event from %q is from somewhere, %v", address, err)
		}
	}
	for filter, want := range map[string]string{
		"from":  `from: "x" is not an address or a network: write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32`,
		"since": `since: "x" is not a time: write RFC 3339 such as 2026-11-29T15:04:05Z, a date such as 2026-11-29, or a span ago such as 36h or 90d`,
		"until": `until: "x" is not a time: write RFC 3339 such as 2026-11-29T15:04:05Z, a date such as 2026-11-29, or a span ago such as 36h or 90d`,
		"user":  "user: is not a filter here; filters are by, action, from, since, until",
	} {
		_, err := p.Events(api.Where(filter, "x"))
		if err == nil || err.Error() != want || !errors.As(err, new(*storage.InvalidError)) {
			t.Errorf("%s: got %v, want %s", filter, err, want)
		}
	}
}
