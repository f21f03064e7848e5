package query

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
)

// wrong is an *Error that does not yet name the filter.
func wrong(format string, args ...any) error { return &Error{Why: fmt.Sprintf(format, args...)} }

// named makes an *Error of what is wrong with a filter's value.
func named(filter string, err error) error {
	e, invalid := new(Error), new(storage.InvalidError)
	switch {
	case errors.As(err, &e):
		return &Error{filter, e.Why}
	case errors.As(err, &invalid):
		return &Error{filter, invalid.Message}
	}
	return &Error{filter, err.Error()}
}

// noFilter returns the error for an unknown filter. It lists the known ones.
func noFilter(name string, forms []api.FilterForm) error {
	var names []string
	for _, f := range forms {
		names = append(names, f.Name)
	}
	return &Error{name, "is not a filter here; filters are " + strings.Join(names, ", ")}
}

// check tests what applies to every value. n is the number of the value among those of
// the filter, from 0.
func check(form api.FilterForm, n int, value string) error {
	switch {
	case n >= maxValues:
		return wrong("is given more than %d times", maxValues)
	case n > 0 && !form.Many:
		return wrong("is given twice, but takes one value")
	case form.Value == "" && value != "true":
		return wrong("takes no value")
	case form.Value != "" && strings.TrimSpace(value) == "":
		return wrong("needs a value: %s", form.Value)
	case holdsToken(value):
		return errToken
	case len(value) > maxValue:
		return wrong("is longer than %d bytes", maxValue)
	}
	return nil
}

// shown is a filter's value as the audit log shows it.
func shown(form api.FilterForm, value string) string {
	if form.Value == "" {
		return ""
	}
	return value
}

// ago reads a span, and returns the moment that long ago. It never returns 0, which means
// none.
func (p Parser) ago(value string) (int64, error) {
	d, err := p.Span(value)
	if err != nil {
		return 0, err
	}
	return notZero(p.Now.Add(-d)), nil
}

// moment reads a time: RFC 3339, a date, or a span ago.
func (p Parser) moment(value string) (int64, error) {
	if t, err := time.Parse(time.RFC3339, value); err == nil {
		return notZero(t), nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, value, p.Now.Location()); err == nil {
		return notZero(t), nil
	}
	if ms, err := p.ago(value); err == nil {
		return ms, nil
	}
	return 0, wrong("%q is not a time: write RFC 3339 such as 2026-11-29T15:04:05Z, a date such as 2026-11-29, or a span ago such as 36h or 90d", value)
}

func notZero(t time.Time) int64 {
	if ms := t.UnixMilli(); ms != 0 {
		return ms
	}
	return -1
}

// network reads an address or a prefix. IPv4 may be written as IPv4-mapped IPv6.
func network(value string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(value); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(value)
	if a := p.Addr(); err == nil && a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	} else if err == nil && a.Is4In6() {
		err = errors.New("it contains more than IPv4 addresses")
	}
	if err != nil {
		return p, wrong("%q is not an address or a network: write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32", value)
	}
	return p.Masked(), nil
}

// maxID is how many characters the id of a token has.
const maxID = 28

// errToken rejects a whole token, which somebody may paste who has found it. It does not
// repeat it: the token may still work.
var errToken = wrong("this is a token: look for its id, which is its first %d characters", maxID)

// holdsToken reports whether a text contains a token, or most of one.
func holdsToken(text string) bool {
	run := 0
	for _, c := range []byte(text) {
		if run++; !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			run = 0
		}
		if run > 128 {
			return true
		}
	}
	return false
}

func idPrefix(value string) (string, error) {
	value = strings.ToLower(value)
	if len(value) > maxID || strings.Trim(value, "0123456789abcdef") != "" {
		return "", wrong("%q is not the beginning of an id, which is %d characters 0-9 and a-f", value, maxID)
	}
	return value, nil
}

func oneOf(value string, allowed ...string) (string, error) {
	if value = strings.ToLower(value); !slices.Contains(allowed, value) {
		last := len(allowed) - 1
		return "", wrong("%q is not valid: write %s or %s", value, strings.Join(allowed[:last], ", "), allowed[last])
	}
	return value, nil
}

// filterOf returns the filter that a word is.
func filterOf(w api.Word, forms []api.FilterForm) (name, value string, err error) {
	name, value = w.Filter(forms)
	switch {
	case w.Name == "" || slices.ContainsFunc(forms, func(f api.FilterForm) bool { return f.Name == name }):
		return name, value, nil
	case holdsToken(name + value):
		return "", "", named("search", errToken)
	}
	e := noFilter(name, forms).(*Error)
	e.Why += fmt.Sprintf(`; search:"%s:%s" looks for the text`, name, value)
	return "", "", e
}
