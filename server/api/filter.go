package api

import "slices"

// Filters say which rows of a listing are meant: values by the name of the filter. A
// name is the same on the wire, as a flag of a command (--idle 90d) and in the query
// line of the terminal (idle:90d). Several filters mean and.
type Filters map[string][]string

// Where returns filters from names and values in turn: Where("user", uid, "idle", "90d").
// A filter that takes no value is on with any value.
func Where(pairs ...string) Filters {
	f := Filters{}
	for pair := range slices.Chunk(pairs, 2) {
		f[pair[0]] = append(f[pair[0]], pair[1])
	}
	return f
}

// FilterForm says what a filter is called, what it takes and what it finds.
type FilterForm struct {
	Name  string
	Value string // the kind of its value, for the help; in lower case: one of these words; empty: it takes none
	Many  bool   // may be given more than once; each time it must match
	Help  string
}

// TokenFilters are the filters of a listing of tokens, in the order of a help.
var TokenFilters = []FilterForm{
	{"user", "UID", false, "tokens of this user"},
	{"source", "NAME", false, "tokens of users of this source: local, ldap or a provider"},
	{"owner", "UID", false, "tokens of the service accounts that this user owns"},
	{"search", "TEXT", true, "TEXT anywhere in the uid, the person's name, the token's name or its id"},
	{"name", "TEXT", true, "the token's name contains TEXT"},
	{"id", "PREFIX", false, "the token's id begins with this"},
	{"idle", "SPAN", false, `unused for at least so long, such as "90d" or "1y"`},
	{"never-used", "", false, "never used"},
	{"used-after", "T", false, "last used at T or later"},
	{"used-before", "T", false, "not used since T: the last use, or without one the creation, is before T"},
	{"created-after", "T", false, "created at T or later"},
	{"created-before", "T", false, "created before T"},
	{"created-by", "ACTOR", false, "made by this user, or account of the host"},
	{"from", "ADDR|CIDR", true, "one of the addresses it was last used from lies there"},
	{"scope", "S", true, "has this scope"},
	{"unlimited", "", false, "has no limit: no scopes, no addresses, no end"},
	{"address-limited", "", false, "is limited to addresses"},
	{"expires-within", "SPAN", false, "works, and ends within so long"},
	{"state", "live|expired|suspended|revoked", false, "in this state"},
}

// UserFilters are those of a listing of users.
var UserFilters = []FilterForm{
	{"search", "TEXT", true, "TEXT anywhere in the uid or the person's name"},
	{"prefix", "P", false, "the uid begins with this"},
	{"source", "NAME", false, "users of this source: local, ldap or a provider"},
	{"state", "active|disabled|suspended|unverified", false, "in this state; unverified: active, but the provider can no longer be asked"},
	{"locked", "", false, "logins are delayed, after too many bad passwords"},
}

// EventFilters are those of the audit log.
var EventFilters = []FilterForm{
	{"by", "ACTOR", false, "done by this user, or account of the host"},
	{"action", "A", false, "this action, such as token.revoke, or all of a kind, such as token"},
	{"from", "ADDR|CIDR", false, "from an address there"},
	{"since", "T", false, "at T or later"},
	{"until", "T", false, "before T"},
}
