package ldap

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"
)

// Entry is a person of the directory. The zero Entry is nobody: Find returns it
// for an unknown name, and Authenticate refuses it as slowly as anybody else.
type Entry struct {
	Subject string // the value of id_attribute, in canonical form (see Subject)
	UID     string // the first readable value of uid_attribute; may be empty
	Name    string // for people to read: any text
	DN      string
	Stops   []Stop // why this person must not be let in, the most lasting first

	// Addresses are all values of uid_attribute that can be read, UID among them.
	// They have no order (RFC 4511, section 4.1.7).
	Addresses []string

	login     string // the uid, which posixGroup's memberUid names
	primary   string // the SID of the primary group, in Active Directory
	ambiguous bool   // the name means more than one entry
}

// Known tells an entry from nobody.
func (e Entry) Known() bool { return e.DN != "" }

// suspended returns the entry's first reason to stop tokens.
func (e Entry) suspended() (Stop, bool) {
	i := slices.IndexFunc(e.Stops, func(s Stop) bool { return s.Reason.Suspends() })
	if i < 0 {
		return Stop{}, false
	}
	return e.Stops[i], true
}

// refused returns the entry's first reason to refuse a login that the server has
// granted, or nil.
func (e Entry) refused() *Refusal {
	i := slices.IndexFunc(e.Stops, func(s Stop) bool { return !s.open })
	if i < 0 {
		return nil
	}
	return e.Stops[i].refusal()
}

// explained adds the reason that the entry gives to the server's refusal, so that the log
// of a login and a sweep name the same reason. It keeps what the server said.
func (e Entry) explained(by *Refusal) *Refusal {
	i := slices.IndexFunc(e.Stops, func(s Stop) bool {
		return s.Reason != ReasonNoID && (!s.open || s.Reason == by.Reason)
	})
	if i < 0 {
		return by
	}
	r := e.Stops[i].refusal()
	if by.Detail != "" {
		r.Detail += "; the server says: " + by.Detail
	}
	return r
}

// attributes are the only ones requested, so that no photo or list of ten thousand groups
// is sent.
func (c *Config) attributes() []string {
	return slices.Concat([]string{c.UIDAttribute, c.IDAttribute, "displayName", "cn", "uid", "primaryGroupID", "objectSid"}, statusAttributes)
}

// entry reads what the server sent. An entry without a mail is not an error: its person
// has not left, and only a login needs the address.
func (c *Config) entry(from *goldap.Entry, now time.Time) Entry {
	e := Entry{
		DN:      from.DN,
		Name:    cmp.Or(name(from, "displayName"), name(from, "cn")),
		Stops:   stops(from, now),
		login:   first(from, "uid"),
		primary: primaryGroup(from),
	}
	for _, value := range from.GetEqualFoldAttributeValues(c.UIDAttribute) {
		if value = strings.TrimSpace(value); value != "" && printable(value) {
			e.Addresses = append(e.Addresses, value)
		}
	}
	if len(e.Addresses) > 0 {
		e.UID = e.Addresses[0]
	}
	var err error
	if e.Subject, err = subject(c.IDAttribute, from.GetEqualFoldRawAttributeValues(c.IDAttribute)); err != nil {
		e.Stops = append(e.Stops, Stop{Reason: ReasonNoID, Detail: err.Error()})
	}
	return e
}

// name returns the person's name from an attribute, or "" if it is not text.
func name(from *goldap.Entry, attribute string) string {
	s := strings.TrimSpace(first(from, attribute))
	if !utf8.ValidString(s) {
		return ""
	}
	return s
}

// printable reports whether s may be shown and compared: valid UTF-8 without control and
// formatting characters, which a reader can't see.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	})
}
