package query

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// Tokens selects tokens. The zero value selects all.
type Tokens struct {
	user           string
	nearUser       bool // user may be the beginning of a uid
	source         string
	owner          string   // of the token's service account
	nearOwner      bool     // owner may be the beginning of a uid
	search         []string // folded, as name
	name           []string
	id             string
	idle           int64 // ms: not used after it
	neverUsed      bool
	usedAfter      int64 // ms, as are the next ones; 0: any
	usedBefore     int64
	createdAfter   int64
	createdBefore  int64
	createdBy      string
	from           []netip.Prefix
	scopes         []string
	unlimited      bool
	addressLimited bool
	endsBy         int64 // ms
	state          string

	now   int64 // ms: what spans are counted from
	given string
}

// Users selects users. The zero value selects all.
type Users struct {
	search []string // folded
	prefix string
	source string
	state  string
	locked bool
}

// String returns the filters as they were given, for the audit log.
func (q Tokens) String() string { return q.given }

// All reports whether the query has no filter.
func (q Tokens) All() bool { return q.given == "" }

// Error says what is wrong with a filter, and what is allowed.
type Error struct {
	Filter string
	Why    string
}

func (e *Error) Error() string { return e.Filter + ": " + e.Why }

// Unwrap makes it a *storage.InvalidError: the request asks for something invalid.
func (e *Error) Unwrap() error { return &storage.InvalidError{Message: e.Error()} }

// Parser parses filters.
type Parser struct {
	Now  time.Time                           // spans are counted from it, and a date begins in its zone
	Span func(string) (time.Duration, error) // reads a span of time, such as "90d"
}

// maxValue is how long the value of a filter may be, in bytes, and maxValues how many one
// filter may have.
const (
	maxValue  = 256
	maxValues = 16
)

// Tokens parses filters and words into one query.
func (p Parser) Tokens(f api.Filters, words string) (Tokens, error) {
	q := Tokens{now: p.Now.UnixMilli(), nearUser: len(f["user"]) == 0, nearOwner: len(f["owner"]) == 0}
	all, err := with(f, words, api.TokenFilters)
	if err != nil {
		return Tokens{}, err
	}
	q.given, err = all.each(api.TokenFilters, func(name, value string) error { return p.token(&q, name, value) })
	if err != nil {
		return Tokens{}, err
	}
	return q, nil
}

// Users parses filters and words into one query.
func (p Parser) Users(f api.Filters, words string) (q Users, err error) {
	all, err := with(f, words, api.UserFilters)
	if err != nil {
		return Users{}, err
	}
	_, err = all.each(api.UserFilters, q.set)
	return q, err
}

// token adds one filter to a query. Its error does not name the filter.
func (p Parser) token(q *Tokens, name, value string) (err error) {
	switch name {
	case "user":
		q.user = value
	case "source":
		q.source = value
	case "owner":
		q.owner = value
	case "search":
		q.search = append(q.search, record.Fold(value))
	case "name":
		q.name = append(q.name, record.Fold(value))
	case "id":
		q.id, err = idPrefix(value)
	case "idle":
		q.idle, err = p.ago(value)
	case "never-used":
		q.neverUsed = true
	case "used-after":
		q.usedAfter, err = p.moment(value)
	case "used-before":
		q.usedBefore, err = p.moment(value)
	case "created-after":
		q.createdAfter, err = p.moment(value)
	case "created-before":
		q.createdBefore, err = p.moment(value)
	case "created-by":
		q.createdBy = value
	case "from":
		var where netip.Prefix
		where, err = network(value)
		q.from = append(q.from, where)
	case "scope":
		err = record.CheckScope(value)
		q.scopes = append(q.scopes, value)
	case "unlimited":
		q.unlimited = true
	case "address-limited":
		q.addressLimited = true
	case "expires-within":
		var span time.Duration
		span, err = p.Span(value)
		q.endsBy = p.Now.Add(span).UnixMilli()
	case "state":
		q.state, err = oneOf(value, api.StateLive, api.StateExpired, api.StateSuspended, api.StateRevoked)
	}
	return err
}

func (q *Users) set(name, value string) (err error) {
	switch name {
	case "search":
		q.search = append(q.search, record.Fold(value))
	case "prefix":
		q.prefix = value
	case "source":
		q.source = value
	case "state":
		q.state, err = oneOf(value, api.StateActive, api.StateDisabled, api.StateSuspended, api.StateUnverified)
	case "locked":
		q.locked = true
	}
	return err
}

// filters are api.Filters with those of the words.
type filters map[string][]string

// with adds words to filters.
func with(f api.Filters, words string, forms []api.FilterForm) (filters, error) {
	all := filters{}
	for name, values := range f {
		all[name] = slices.Clone(values)
	}
	list, closed := api.Words(words)
	if !closed {
		return nil, &Error{cmp.Or(list[len(list)-1].Name, "search"), "a quotation mark is not closed"}
	}
	for _, w := range list {
		name, value, err := filterOf(w, forms)
		if err != nil {
			return nil, err
		}
		all[name] = append(all[name], value)
	}
	return all, nil
}

// each calls set with each filter and value, in the order of the forms, and returns how
// they read together.
func (f filters) each(forms []api.FilterForm, set func(name, value string) error) (string, error) {
	var given []string
	for _, form := range forms {
		for n, value := range f[form.Name] {
			err := check(form, n, value)
			if err == nil {
				err = set(form.Name, value)
			}
			if err != nil {
				return "", named(form.Name, err)
			}
			given = append(given, strings.TrimSpace(form.Name+" "+shown(form, value)))
		}
	}
	for name := range f {
		if !slices.ContainsFunc(forms, func(form api.FilterForm) bool { return form.Name == name }) {
			return "", noFilter(name, forms)
		}
	}
	return strings.Join(given, ", "), nil
}
