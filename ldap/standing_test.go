package ldap

import (
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// Every status attribute, in every state that a server writes.
func TestStops(t *testing.T) {
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, value string
		want        Reason
	}{
		{"nsAccountLock", "TRUE", ReasonDisabled},
		{"nsaccountlock", "true", ReasonDisabled},
		{"nsAccountLock", "FALSE", ""},
		{"loginDisabled", "TRUE", ReasonDisabled},
		{"pwdAccountLockedTime", "000001010000Z", ReasonDisabled},
		{"pwdAccountLockedTime", "20250601110000Z", ReasonLocked},
		{"pwdAccountTmpLockoutEnd", "20250601110000Z", ""},
		{"pwdAccountTmpLockoutEnd", "20250601130000Z", ReasonLocked},
		{"pwdStartTime", "20250601115959Z", ""},
		{"pwdStartTime", "20250601130000Z", ReasonExpired},
		{"pwdEndTime", "20250601115959Z", ReasonExpired},
		{"pwdEndTime", "20250601115959.123Z", ReasonExpired},
		{"pwdEndTime", "20250601130000Z", ""},
		{"pwdEndTime", "20250601130000+0200", ReasonExpired},
		{"pwdEndTime", "soon", ""},
		{"pwdReset", "TRUE", ReasonMustChange},
		{"pwdReset", "FALSE", ""},
		{"accountUnlockTime", "20250601130000Z", ReasonLocked},
		{"accountUnlockTime", "20250601115959Z", ""},
		{"accountUnlockTime", "19700101000000Z", ReasonLocked},
		{"accountUnlockTime", "20250601130000+00", ReasonLocked},
		{"accountUnlockTime", "20250601130000+02", ""},
		{"accountUnlockTime", "202506011300Z", ReasonLocked},
		{"accountUnlockTime", "2025060113Z", ReasonLocked},
		{"accountUnlockTime", "20250601120000,5Z", ReasonLocked},
		{"accountUnlockTime", "20250601020001-1000", ReasonLocked},
		{"accountUnlockTime", "never", ""},
		{"passwordExpirationTime", "19700101000000Z", ReasonMustChange},
		{"passwordExpirationTime", "19700101000001Z", ReasonMustChange},
		{"passwordExpirationTime", "20250601115959Z", ReasonPasswordExpired},
		{"passwordExpirationTime", "20380119031407Z", ""},
		{"krbPrincipalExpiration", "20200101000000Z", ReasonExpired},
		{"krbPrincipalExpiration", "20380101000000Z", ""},
		{"shadowExpire", "18000", ReasonExpired},
		{"shadowExpire", "20241", ""},
		{"shadowExpire", "0", ""},
		{"shadowExpire", "-1", ""},
		{"shadowExpire", "99999999999999999999", ""},
		{"accountExpires", "0", ""},
		{"accountExpires", "9223372036854775807", ""},
		{"accountExpires", "132223104000000000", ReasonExpired}, // 2020
		{"accountExpires", "137000000000000000", ""},            // 2035
		{"userAccountControl", "514", ReasonDisabled},
		{"userAccountControl", "66048", ""},
		{"userAccountControl", "66050", ReasonDisabled},
		{"userAccountControl", "-2147483646", ReasonDisabled},
		{"lockoutTime", "0", ""},
		{"lockoutTime", "133000000000000000", ReasonLocked},
		{"msDS-User-Account-Control-Computed", "8388624", ReasonLocked},
		{"msDS-User-Account-Control-Computed", "8388608", ReasonPasswordExpired},
		{"msDS-User-Account-Control-Computed", "0", ""},
		{"pwdLastSet", "0", ReasonMustChange},
		{"pwdLastSet", "133000000000000000", ""},
	} {
		got := stops(goldap.NewEntry("uid=x", map[string][]string{test.name: {test.value}}), now)
		if test.want == "" && len(got) != 0 || test.want != "" && (len(got) == 0 || got[0].Reason != test.want ||
			!strings.EqualFold(strings.Fields(got[0].Detail)[0], test.name)) {
			t.Errorf("%s %s: got %+v, want %q", test.name, test.value, got, test.want)
		}
	}
}

// Several attributes together: which one is named, and how they affect each other.
func TestStopsTogether(t *testing.T) {
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		attributes map[string][]string
		first      string // the detail of the first stop; empty: there is none
		suspends   bool
	}{
		{map[string][]string{"lockoutTime": {"133000000000000000"}, "msDS-User-Account-Control-Computed": {"0"}}, "", false},
		{map[string][]string{"pwdLastSet": {"0"}, "msDS-User-Account-Control-Computed": {"0"}}, "", false},
		{map[string][]string{"pwdLastSet": {"0"}, "msDS-User-Account-Control-Computed": {"8388608"}}, "pwdLastSet 0", false},
		{map[string][]string{"pwdLastSet": {"0"}, "userAccountControl": {"66048"}}, "", false}, // the password never expires
		{map[string][]string{"pwdLastSet": {"0"}, "userAccountControl": {"512"}}, "pwdLastSet 0", false},
		{map[string][]string{"pwdLastSet": {"0"}, "userAccountControl": {"514"}}, "userAccountControl 514", true},
		{map[string][]string{"passwordExpirationTime": {"19700101000000Z"}, "accountUnlockTime": {"19700101000000Z"}}, "accountUnlockTime 19700101000000Z", true},
		{map[string][]string{"nsAccountLock": {"false", "true"}}, "nsAccountLock", true},
		{map[string][]string{"pwdReset": {"TRUE"}, "pwdAccountLockedTime": {"20250101000000Z"}}, "pwdAccountLockedTime 20250101000000Z", true},
	} {
		got := Entry{Stops: stops(goldap.NewEntry("uid=x", test.attributes), now)}
		first := ""
		if len(got.Stops) > 0 {
			first = got.Stops[0].Detail
		}
		if _, suspended := got.suspended(); first != test.first || suspended != test.suspends {
			t.Errorf("%v: got %+v", test.attributes, got.Stops)
		}
	}
}
