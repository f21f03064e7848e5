package ldap

import (
	"fmt"
	"math"
	"strconv"
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
	UID     string // the first value of uid_attribute that can be read
	Name    string // for people to read
	DN      string
	Stopped Reason // why this person is not to be let in; "" for an active one
	Detail  string // the attribute that says so

	// Addresses are all values of uid_attribute that can be read, UID among them.
	// They have no order (RFC 4511, section 4.1.7).
	Addresses []string

	login string // the uid, which posixGroup's memberUid names
}

// Known tells an entry from nobody.
func (e Entry) Known() bool { return e.DN != "" }

// State is what Lookup found out about a subject. The zero State is a person
// who is there and active, so that forgetting to look costs nobody their access.
type State struct {
	Entry        // zero when Missing
	Missing bool // the directory was asked and does not have this subject
}

// statusAttributes are those that some directory uses to stop a person. A
// server leaves out what it does not know.
var statusAttributes = []string{
	"userAccountControl", "msDS-User-Account-Control-Computed", "accountExpires", "lockoutTime", // Active Directory, Samba
	"pwdAccountLockedTime", "pwdEndTime", // OpenLDAP's password policy
	"nsAccountLock", "krbPrincipalExpiration", // 389 Directory Server, FreeIPA
	"loginDisabled", "shadowExpire", // eDirectory, and the shadow map of RFC 2307
}

// attributes are all that is ever asked for: a photo or a list of ten thousand
// groups is never sent.
func (c *Config) attributes() []string {
	return append([]string{c.UIDAttribute, c.IDAttribute, "displayName", "cn", "uid"}, statusAttributes...)
}

// entry reads what the server sent. Where something that a login needs is
// missing, the entry is Stopped for that, unless there is a weightier reason.
func (c *Config) entry(from *goldap.Entry, now time.Time) Entry {
	e := Entry{
		DN:    from.DN,
		Name:  strings.TrimSpace(first(from, "displayName")),
		login: first(from, "uid"),
	}
	if e.Name == "" || !printable(e.Name) {
		e.Name = strings.TrimSpace(first(from, "cn"))
	}
	if !printable(e.Name) {
		e.Name = ""
	}
	var err error
	if e.Subject, err = subject(c.IDAttribute, from.GetEqualFoldRawAttributeValues(c.IDAttribute)); err != nil {
		e.Stopped, e.Detail = ReasonIncomplete, err.Error()
	}
	for _, value := range from.GetEqualFoldAttributeValues(c.UIDAttribute) {
		if value = strings.TrimSpace(value); value != "" && printable(value) {
			e.Addresses = append(e.Addresses, value)
		}
	}
	if len(e.Addresses) > 0 {
		e.UID = e.Addresses[0]
	} else {
		e.Stopped, e.Detail = ReasonIncomplete, c.UIDAttribute+" is missing or unreadable"
	}
	if reason, detail := stopped(from, now); reason != "" {
		e.Stopped, e.Detail = reason, detail
	}
	return e
}

func first(e *goldap.Entry, name string) string { return e.GetEqualFoldAttributeValue(name) }

// printable reports whether s may be shown and compared: valid UTF-8 with
// nothing in it that a reader cannot see (control and formatting characters).
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
	})
}

// stopped returns the first reason not to let a person in, with the attribute
// that gives it: the permanent reasons first.
func stopped(e *goldap.Entry, now time.Time) (Reason, string) {
	control := number(e, "userAccountControl")
	computed := number(e, "msDS-User-Account-Control-Computed")
	const accountDisabled, lockedOut = 0x2, 0x10
	switch {
	case control&accountDisabled != 0:
		return ReasonDisabled, fmt.Sprintf("userAccountControl %d", control)
	case isTrue(e, "nsAccountLock"):
		return ReasonDisabled, "nsAccountLock"
	case isTrue(e, "loginDisabled"):
		return ReasonDisabled, "loginDisabled"
	case first(e, "pwdAccountLockedTime") == "000001010000Z":
		// The password policy's way to say "until an administrator unlocks it".
		return ReasonDisabled, "pwdAccountLockedTime"
	}
	if reason, detail := expired(e, now); reason != "" {
		return reason, detail
	}
	_, hasComputed := value(e, "msDS-User-Account-Control-Computed")
	switch {
	case computed&lockedOut != 0:
		return ReasonLocked, fmt.Sprintf("msDS-User-Account-Control-Computed %d", computed)
	case !hasComputed && number(e, "lockoutTime") > 0:
		return ReasonLocked, "lockoutTime"
	case first(e, "pwdAccountLockedTime") != "":
		// How long it lasts is in a policy that nobody may be allowed to read. A
		// login lets the server decide; see Authenticate.
		return ReasonLocked, "pwdAccountLockedTime"
	}
	return "", ""
}

func expired(e *goldap.Entry, now time.Time) (Reason, string) {
	// 0 and the largest number both mean never.
	if ticks := number(e, "accountExpires"); ticks > 0 && ticks < math.MaxInt64 && !now.Before(fileTime(ticks)) {
		return ReasonExpired, "accountExpires"
	}
	for _, name := range []string{"pwdEndTime", "krbPrincipalExpiration"} {
		if text, ok := value(e, name); ok {
			if at, err := generalizedTime(text); err == nil && !now.Before(at) {
				return ReasonExpired, name
			}
		}
	}
	// shadow(5) calls 0 ambiguous, so it stops nobody.
	if days := number(e, "shadowExpire"); days > 0 && days < math.MaxInt32 && !now.Before(time.Unix(days*86400, 0)) {
		return ReasonExpired, "shadowExpire"
	}
	return "", ""
}

func value(e *goldap.Entry, name string) (string, bool) {
	values := e.GetEqualFoldAttributeValues(name)
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

func number(e *goldap.Entry, name string) int64 {
	n, err := strconv.ParseInt(first(e, name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func isTrue(e *goldap.Entry, name string) bool { return strings.EqualFold(first(e, name), "true") }

// fileTime reads Active Directory's time: steps of 100 ns since 1601.
func fileTime(ticks int64) time.Time {
	const toUnix = 11644473600 // seconds from 1601 to 1970
	return time.Unix(ticks/1e7-toUnix, ticks%1e7*100)
}

// generalizedTime reads the forms of RFC 4517 that servers write.
func generalizedTime(s string) (time.Time, error) {
	s = strings.Replace(s, ",", ".", 1)
	for _, layout := range []string{"20060102150405Z0700", "200601021504Z0700", "2006010215Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a generalized time", s)
}
