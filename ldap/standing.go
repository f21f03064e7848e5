package ldap

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// statusAttributes are the attributes with which directories stop a person. A server
// leaves out those it does not know.
var statusAttributes = []string{
	"userAccountControl", "msDS-User-Account-Control-Computed", "accountExpires", "lockoutTime", "pwdLastSet", // Active Directory, Samba
	"pwdAccountLockedTime", "pwdAccountTmpLockoutEnd", "pwdStartTime", "pwdEndTime", "pwdReset", // OpenLDAP's password policy
	"nsAccountLock", "accountUnlockTime", "passwordExpirationTime", "krbPrincipalExpiration", "krbPasswordExpiration", // 389 Directory Server, FreeIPA
	"loginDisabled", "shadowExpire", // eDirectory, and the shadow map of RFC 2307
}

// stops returns the reasons in an entry to stop its person, the most lasting first. It is
// the one place that reads the status attributes: a login, a sweep and a check each use
// what concerns them.
func stops(e *goldap.Entry, now time.Time) []Stop {
	return slices.Concat(disabled(e), expired(e, now), locked(e, now), password(e, now))
}

// The bits of userAccountControl and msDS-User-Account-Control-Computed (MS-ADTS,
// 2.2.16).
const (
	accountDisabled      = 0x2
	lockedOut            = 0x10
	passwordNeverExpires = 0x10000
	smartcardRequired    = 0x40000
	passwordExpired      = 0x800000
)

func disabled(e *goldap.Entry) (list []Stop) {
	if control := number(e, "userAccountControl"); control&accountDisabled != 0 {
		list = append(list, Stop{Reason: ReasonDisabled, Detail: fmt.Sprintf("userAccountControl %d", control)})
	}
	for _, name := range []string{"nsAccountLock", "loginDisabled"} {
		if isTrue(e, name) {
			list = append(list, Stop{Reason: ReasonDisabled, Detail: name})
		}
	}
	if first(e, "pwdAccountLockedTime") == lockedForGood {
		list = append(list, Stop{Reason: ReasonDisabled, Detail: "pwdAccountLockedTime " + lockedForGood})
	}
	return list
}

// lockedForGood is the password policy's way to say "until an administrator
// unlocks it".
const lockedForGood = "000001010000Z"

func expired(e *goldap.Entry, now time.Time) (list []Stop) {
	add := func(name string) {
		list = append(list, Stop{Reason: ReasonExpired, Detail: name + " " + first(e, name)})
	}
	// 0 and the largest number both mean never.
	if ticks := number(e, "accountExpires"); ticks > 0 && ticks < math.MaxInt64 && !now.Before(fileTime(ticks)) {
		add("accountExpires")
	}
	for _, name := range []string{"pwdEndTime", "krbPrincipalExpiration"} {
		if at, ok := timeOf(e, name); ok && !now.Before(at) {
			add(name)
		}
	}
	if at, ok := timeOf(e, "pwdStartTime"); ok && now.Before(at) { // not valid yet
		add("pwdStartTime")
	}
	// shadow(5) calls 0 ambiguous, so it stops nobody.
	if days := number(e, "shadowExpire"); days > 0 && days < math.MaxInt32 && !now.Before(time.Unix(days*86400, 0)) {
		add("shadowExpire")
	}
	return list
}

func locked(e *goldap.Entry, now time.Time) (list []Stop) {
	add := func(name string, open bool) {
		list = append(list, Stop{Reason: ReasonLocked, Detail: name + " " + first(e, name), open: open})
	}
	const computed = "msDS-User-Account-Control-Computed"
	if number(e, computed)&lockedOut != 0 {
		add(computed, false)
	}
	// 389 Directory Server: the epoch stands for "until an administrator acts".
	if at, ok := timeOf(e, "accountUnlockTime"); ok && (at.Unix() == 0 || now.Before(at)) {
		add("accountUnlockTime", false)
	}
	if at, ok := timeOf(e, "pwdAccountTmpLockoutEnd"); ok && now.Before(at) {
		add("pwdAccountTmpLockoutEnd", false)
	}
	// These two stay until the next good password. How long the lock lasts is in a
	// policy that the service account may not be allowed to read.
	if at := first(e, "pwdAccountLockedTime"); at != "" && at != lockedForGood {
		add("pwdAccountLockedTime", true)
	}
	if first(e, computed) == "" && number(e, "lockoutTime") > 0 {
		add("lockoutTime", true)
	}
	return list
}

// password returns what is wrong with the password, not with the account.
func password(e *goldap.Entry, now time.Time) (list []Stop) {
	add := func(reason Reason, name string, open bool) {
		list = append(list, Stop{Reason: reason, Detail: name + " " + first(e, name), open: open})
	}
	mustChange := first(e, "pwdLastSet") == "0"
	const computed = "msDS-User-Account-Control-Computed"
	switch {
	case number(e, computed)&passwordExpired != 0 && mustChange:
		add(ReasonMustChange, "pwdLastSet", false)
	case number(e, computed)&passwordExpired != 0:
		add(ReasonPasswordExpired, computed, false)
	case mustChange && first(e, computed) == "" && number(e, "userAccountControl")&(passwordNeverExpires|smartcardRequired) == 0:
		add(ReasonMustChange, "pwdLastSet", false)
	}
	if isTrue(e, "pwdReset") { // counts only while the policy has pwdMustChange
		add(ReasonMustChange, "pwdReset", true)
	}
	// 389 Directory Server writes the epoch, or one second after it, when an
	// administrator has set the password.
	if at, ok := timeOf(e, "passwordExpirationTime"); ok && at.Unix() <= 1 {
		add(ReasonMustChange, "passwordExpirationTime", false)
	} else if ok && !now.Before(at) {
		add(ReasonPasswordExpired, "passwordExpirationTime", false)
	}
	// FreeIPA refuses the bind only where its policy bounds the grace logins.
	if at, ok := timeOf(e, "krbPasswordExpiration"); ok && !now.Before(at) {
		add(ReasonPasswordExpired, "krbPasswordExpiration", true)
	}
	return list
}

func first(e *goldap.Entry, name string) string { return e.GetEqualFoldAttributeValue(name) }

func number(e *goldap.Entry, name string) int64 {
	n, err := strconv.ParseInt(first(e, name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// isTrue looks at all values: an attribute that roles give may have several.
func isTrue(e *goldap.Entry, name string) bool {
	return slices.ContainsFunc(e.GetEqualFoldAttributeValues(name), func(v string) bool { return strings.EqualFold(v, "true") })
}

func timeOf(e *goldap.Entry, name string) (time.Time, bool) {
	at, err := generalizedTime(first(e, name))
	return at, err == nil
}

// fileTime reads Active Directory's time: steps of 100 ns since 1601.
func fileTime(ticks int64) time.Time {
	const toUnix = 11644473600 // seconds from 1601 to 1970
	return time.Unix(ticks/1e7-toUnix, ticks%1e7*100)
}

// generalizedTime reads the forms of RFC 4517 that servers write.
func generalizedTime(s string) (time.Time, error) {
	s = strings.Replace(s, ",", ".", 1)
	for _, layout := range []string{"20060102150405", "200601021504", "2006010215"} {
		for _, zone := range []string{"Z0700", "Z07"} {
			if t, err := time.Parse(layout+zone, s); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a generalized time", s)
}
