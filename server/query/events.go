package query

import (
	"net/netip"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage/record"
)

// Events selects records of the audit log. The zero value selects all.
type Events struct {
	by, action   string
	from         netip.Prefix // the zero Prefix: anywhere
	since, until int64        // ms; 0: no bound
}

// Events parses the filters of the audit log.
func (p Parser) Events(f api.Filters) (q Events, err error) {
	_, err = filters(f).each(api.EventFilters, func(name, value string) (err error) {
		switch name {
		case "by":
			q.by = record.Fold(value)
		case "action":
			q.action = strings.ToLower(value)
		case "from":
			q.from, err = network(value)
		case "since":
			q.since, err = p.moment(value)
		case "until":
			q.until, err = p.moment(value)
		}
		return err
	})
	return q, err
}

// Is reports whether an event is selected. An event without an address came from no network.
func (q Events) Is(e record.Event) bool {
	if q.by != "" && record.Fold(e.Actor) != q.by {
		return false
	}
	if q.action != "" && e.Action != q.action && !strings.HasPrefix(e.Action, q.action+".") {
		return false
	}
	if q.since != 0 && e.Time < q.since || q.until != 0 && e.Time >= q.until {
		return false
	}
	if !q.from.IsValid() {
		return true
	}
	a, err := netip.ParseAddr(e.Address)
	return err == nil && q.from.Contains(a.Unmap())
}
