package ldap

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/ldap/ldaptest"
)

// standing is a row of the table of TestFamilies: a person of a server family in a state,
// and what a login, a sweep and a check make of it. If the three do not agree, the row
// says why.
type standing struct {
	family, state string
	attributes    string // "name: value" for each line, beside what everybody has
	login         Reason // empty: let in
	sweep         Reason // empty: active
	check         string // "", "warning" or "failed"
	why           string
}

const (
	byPolicy    = "the entry does not say it: the server's password policy decides, and a sweep does not log in"
	markStays   = "the mark of a lock stays until the next good password, and how long it holds is in a policy"
	policyMay   = "whether it counts is in a policy, so the server's word decides, and the check warns"
	spentByBind = "each look by a login would spend a grace login"
)

func families(now time.Time) []standing {
	at := func(d time.Duration) string { return now.Add(d).UTC().Format("20060102150405Z") }
	day := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix() / 86400) }
	ticks := func(d time.Duration) string { return fmt.Sprint((now.Add(d).Unix() + 11644473600) * 1e7) }
	past, future := at(-2*time.Hour), at(2*time.Hour)
	inSydney := now.Add(time.Hour).In(time.FixedZone("", 10*3600)).Format("20060102150405-0700")
	const stopped, warned = "failed", "warning"
	const computed = "msDS-User-Account-Control-Computed: "
	const noMustChange = "\npwdPolicySubentry: cn=strict,ou=policies," + base
	return []standing{
		{"openldap", "good", "", "", "", "", ""},
		{"openldap", "disabled", "pwdAccountLockedTime: 000001010000Z", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"openldap", "locked", "pwdAccountLockedTime: " + past, ReasonLocked, ReasonLocked, stopped, ""},
		{"openldap", "lock has ended", "pwdAccountLockedTime: " + past + "\npwdPolicySubentry: cn=short,ou=policies," + base, "", ReasonLocked, stopped, markStays},
		{"openldap", "delayed", "pwdAccountTmpLockoutEnd: " + future, ReasonLocked, ReasonLocked, stopped, ""},
		{"openldap", "delay has ended", "pwdAccountTmpLockoutEnd: " + past, "", "", "", ""},
		{"openldap", "not valid yet", "pwdStartTime: " + future, ReasonExpired, ReasonExpired, stopped, ""},
		{"openldap", "valid since", "pwdStartTime: " + past, "", "", "", ""},
		{"openldap", "ended", "pwdEndTime: " + past, ReasonExpired, ReasonExpired, stopped, ""},
		{"openldap", "ends later", "pwdEndTime: " + future, "", "", "", ""},
		{"openldap", "must change", "pwdReset: TRUE", ReasonMustChange, "", warned, ""},
		{"openldap", "reset, without pwdMustChange", "pwdReset: TRUE" + noMustChange, "", "", warned, policyMay},
		{"openldap", "password expired", "pwdChangedTime: 20200101000000Z" + noMustChange, ReasonPasswordExpired, "", "", byPolicy},
		{"openldap", "grace logins", "pwdChangedTime: 20200101000000Z\npwdPolicySubentry: cn=graceful,ou=policies," + base, ReasonPasswordExpired, "", "", spentByBind},
		{"openldap", "shadow expired", "shadowExpire: " + day(-48*time.Hour), ReasonExpired, ReasonExpired, stopped, ""},
		{"openldap", "shadow later", "shadowExpire: " + day(48*time.Hour), "", "", "", ""},
		{"openldap", "shadow 0", "shadowExpire: 0", "", "", "", ""},

		{"389", "good", "nsAccountLock: false\naccountUnlockTime: " + past + "\npasswordExpirationTime: 20380119031407Z", "", "", "", ""},
		{"389", "disabled", "nsAccountLock: true", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"389", "disabled by a role", "nsAccountLock: false\nnsAccountLock: TRUE", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"389", "locked for a time", "accountUnlockTime: " + future, ReasonLocked, ReasonLocked, stopped, ""},
		{"389", "locked, with fractions", "accountUnlockTime: " + strings.Replace(future, "Z", ".25Z", 1), ReasonLocked, ReasonLocked, stopped, ""},
		{"389", "locked, elsewhere", "accountUnlockTime: " + inSydney, ReasonLocked, ReasonLocked, stopped, ""},
		{"389", "locked for good", "accountUnlockTime: 19700101000000Z", ReasonLocked, ReasonLocked, stopped, ""},
		{"389", "lock has ended", "accountUnlockTime: " + past, "", "", "", ""},
		{"389", "no time", "accountUnlockTime: never\npasswordExpirationTime: never", "", "", "", ""},
		{"389", "must change", "passwordExpirationTime: 19700101000000Z", ReasonMustChange, "", warned, ""},
		{"389", "must change, a second later", "passwordExpirationTime: 19700101000001Z", ReasonMustChange, "", warned, ""},
		{"389", "password expired", "passwordExpirationTime: " + past, ReasonPasswordExpired, "", warned, ""},
		{"389", "password expires later", "passwordExpirationTime: " + future, "", "", "", ""},
		{"389", "password expired, and disabled", "passwordExpirationTime: " + past + "\nnsAccountLock: true", ReasonDisabled, ReasonDisabled, stopped, ""},

		{"freeipa", "disabled", "nsAccountLock: TRUE", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"freeipa", "expired", "krbPrincipalExpiration: " + past, ReasonExpired, ReasonExpired, stopped, ""},
		{"freeipa", "expires later", "krbPrincipalExpiration: " + future, "", "", "", ""},
		{"freeipa", "password expired", "krbPasswordExpiration: " + past, "", "", warned, policyMay},
		{"freeipa", "password expires later", "krbPasswordExpiration: " + future, "", "", "", ""},

		{"edirectory", "disabled", "loginDisabled: TRUE", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"edirectory", "good", "loginDisabled: FALSE", "", "", "", ""},

		{"ad", "good", "userAccountControl: 512\naccountExpires: 9223372036854775807\nlockoutTime: 0\npwdLastSet: " + ticks(-time.Hour) + "\n" + computed + "0", "", "", "", ""},
		{"ad", "disabled", "userAccountControl: 514\n" + computed + "0", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"ad", "disabled, never expires", "userAccountControl: 66050", ReasonDisabled, ReasonDisabled, stopped, ""},
		{"ad", "no password required", "userAccountControl: 544", "", "", "", ""},
		{"ad", "the highest bit", "userAccountControl: -2147483136", "", "", "", ""},
		{"ad", "account expired", "accountExpires: " + ticks(-time.Hour), ReasonExpired, ReasonExpired, stopped, ""},
		{"ad", "account expires later", "accountExpires: " + ticks(time.Hour), "", "", "", ""},
		{"ad", "account never expires", "accountExpires: 0", "", "", "", ""},
		{"ad", "locked", "lockoutTime: " + ticks(-time.Minute) + "\n" + computed + "16", ReasonLocked, ReasonLocked, stopped, ""},
		{"ad", "lock has ended", "lockoutTime: " + ticks(-time.Hour) + "\n" + computed + "0", "", "", "", ""},
		{"ad", "perhaps locked", "lockoutTime: " + ticks(-time.Hour), "", ReasonLocked, stopped, markStays},
		{"ad", "password expired", computed + "8388608", ReasonPasswordExpired, "", warned, ""},
		{"ad", "must change", "pwdLastSet: 0\n" + computed + "8388608", ReasonMustChange, "", warned, ""},
		{"ad", "must change, nothing computed", "userAccountControl: 512\npwdLastSet: 0", ReasonMustChange, "", warned, ""},
		{"ad", "must change, but never expires", "userAccountControl: 66048\npwdLastSet: 0\n" + computed + "0", "", "", "", ""},
		{"ad", "password never expires, nothing computed", "userAccountControl: 66048\npwdLastSet: 0", "", "", "", ""},
		{"ad", "the server computes no", "userAccountControl: 512\npwdLastSet: 0\n" + computed + "0", "", "", "", ""},
		{"ad", "smartcard", "userAccountControl: 262656\npwdLastSet: 0", "", "", "", ""},
		{"ad", "password expired, and locked", computed + "8388624", ReasonLocked, ReasonLocked, stopped, ""},
	}
}

// TestFamilies puts a person in each state of each server family into a slapd. slapd
// itself enforces only OpenLDAP's states. For the others it grants the bind, and only the
// entry says no, as it must in a sweep.
func TestFamilies(t *testing.T) {
	rows := families(time.Now())
	s := startSlapd(t, withStandings(rows))
	settings := map[string]func(*Config){
		"openldap": func(*Config) {}, "edirectory": func(*Config) {},
		"389":     func(c *Config) { c.IDAttribute = "nsUniqueId" },
		"freeipa": func(c *Config) { c.IDAttribute = "ipaUniqueID" },
		"ad": func(c *Config) {
			c.IDAttribute, c.UIDAttribute = "objectGUID", "userPrincipalName"
			c.Filter = "(&(objectClass=user)(|(sAMAccountName={username})(userPrincipalName={username})))"
		},
	}
	for i, row := range rows {
		t.Run(row.family+"/"+row.state, func(t *testing.T) {
			c := s.config()
			settings[row.family](&c)
			d := open(t, c)
			name := fmt.Sprintf("row%d", i)

			// A check and a sweep first, since a login may change how somebody stands.
			check, detail := "", ""
			for _, step := range d.Check(t.Context(), name) {
				if !step.OK {
					check, detail = "failed", step.Name+" "+step.Detail
				} else if step.Warning {
					check, detail = "warning", step.Name+" "+step.Detail
				}
			}
			e, err := d.Find(t.Context(), name)
			if err != nil || !e.Known() {
				t.Fatalf("find: %+v, %v", e, err)
			}
			states, err := d.Lookup(t.Context(), []string{e.Subject})
			sweep := Reason(outcome(states[e.Subject]))
			if sweep == "active" {
				sweep = ""
			}
			if err != nil || sweep != row.sweep {
				t.Errorf("sweep: got %q, %v, want %q", sweep, err, row.sweep)
			}
			_, err = d.Login(t.Context(), name, name+"-secret")
			refusal, login := (*Refusal)(nil), Reason("")
			if errors.As(err, &refusal) {
				login = refusal.Reason
			} else if err != nil {
				t.Fatal(err)
			}
			if login != row.login {
				t.Errorf("login: got %v, want %q", err, row.login)
			}
			if check != row.check {
				t.Errorf("check: got %q (%s), want %q", check, detail, row.check)
			}
			if want := row.sweep; want != "" && !strings.HasPrefix(detail, "attributes refused: "+string(want)) {
				t.Errorf("check: got %q, want the reason %q", detail, want)
			}
			if want := row.login; check == "warning" && want != "" && !strings.Contains(detail, string(want)) {
				t.Errorf("check: got %q, want the reason %q", detail, want)
			}
			if _, err := d.Login(t.Context(), name, "wrong"); !errors.Is(err, ErrInvalidCredentials) && !errors.Is(err, ErrRefused) {
				t.Errorf("a wrong password: got %v", err)
			}
		})
	}
}

// Rows with columns that disagree have an explanation, and others have none.
func TestFamiliesAgree(t *testing.T) {
	for _, row := range families(time.Now()) {
		check := ""
		switch {
		case row.login != "" && row.login.Suspends():
			check = "failed"
		case row.login != "":
			check = "warning"
		}
		sweep := row.login
		if !sweep.Suspends() {
			sweep = ""
		}
		agree := row.sweep == sweep && row.check == check
		if agree != (row.why == "") {
			t.Errorf("%s, %s: login %q, sweep %q, check %q, and why %q", row.family, row.state, row.login, row.sweep, row.check, row.why)
		}
	}
}

// withStandings adds a person for each row, "row0" and so on.
func withStandings(rows []standing) ldaptest.Option {
	var b strings.Builder
	fmt.Fprintf(&b, "\ndn: cn=short,ou=policies,%s\nobjectClass: organizationalRole\nobjectClass: pwdPolicy\ncn: short\npwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 5\npwdLockoutDuration: 60\n", base)
	for i, row := range rows {
		name := fmt.Sprintf("row%d", i)
		fmt.Fprintf(&b, "\ndn: cn=%s,%s\ncn: %[1]s\nsn: %[1]s\nmail: %[1]s@example.org\nuserPassword: %[1]s-secret\nobjectClass: extensibleObject\n", name, peopleDN)
		id := fmt.Sprintf("6f1d5a52-5c1e-4c0a-9d5e-%012x", 0xfe00+i)
		switch row.family {
		case "ad":
			fmt.Fprintf(&b, "objectClass: user\nsAMAccountName: %s\nuserPrincipalName: %[1]s@corp.example\nobjectGUID: %s\n", name, "0123456789abcd"+fmt.Sprintf("%02d", i))
		case "389":
			// The form of 389 Directory Server, with hyphens in other places.
			fmt.Fprintf(&b, "objectClass: inetOrgPerson\nuid: %s\nnsUniqueId: 1f2e3d4c-5b6a11ee-8f3ab0c1-d2e3%04x\n", name, i)
		case "freeipa":
			fmt.Fprintf(&b, "objectClass: inetOrgPerson\nuid: %s\nipaUniqueID: %s\n", name, id)
		default:
			fmt.Fprintf(&b, "objectClass: inetOrgPerson\nuid: %s\n", name)
		}
		if row.attributes != "" {
			b.WriteString(row.attributes + "\n")
		}
	}
	return ldaptest.WithEntries(b.String())
}

// Active Directory's primary group is in no memberOf, and the group does not list its
// members. A login, a sweep and a check find it by the SID, and groups within groups by
// tokenGroups.
func TestPrimaryGroup(t *testing.T) {
	sid := func(domain, id uint32) string {
		b := append([]byte{1, 5}, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		return string(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, domain), id))
	}
	const group = "cn=gatehouse-users,ou=groups," + base
	people := []struct {
		state                     string
		domain, relative, primary uint32
		token                     []string
		in                        bool
	}{
		{"the primary group", 7, 5001, 1105, []string{sid(7, 1105)}, true},
		{"another primary group", 7, 5002, 513, []string{sid(7, 513)}, false},
		{"a group within it", 7, 5003, 513, []string{sid(7, 513), sid(7, 1105)}, true},
		{"the number in another domain", 8, 5004, 1105, []string{sid(8, 1105)}, false},
		{"a member", 7, 5005, 513, []string{sid(7, 513)}, true},
		{"without any", 7, 5006, 0, nil, false},
	}
	var b strings.Builder
	raw := func(name, value string) {
		fmt.Fprintf(&b, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	fmt.Fprintf(&b, "\ndn: %s\nobjectClass: group\ncn: gatehouse-users\nmember: cn=sid4,%s\n", group, peopleDN)
	raw("objectSid", sid(7, 1105))
	for i, p := range people {
		fmt.Fprintf(&b, "\ndn: cn=sid%d,%s\nobjectClass: user\nobjectClass: extensibleObject\ncn: sid%[1]d\nsn: x\nsAMAccountName: sid%[1]d\nmail: sid%[1]d@corp.example\nuserPassword: sid%[1]d-secret\nuserAccountControl: 512\n", i, peopleDN)
		raw("objectGUID", fmt.Sprintf("\x00\xff(*)\\,=#%7d", i)) // bytes that mean something in a filter
		raw("objectSid", sid(p.domain, p.relative))
		if p.primary != 0 {
			fmt.Fprintf(&b, "primaryGroupID: %d\n", p.primary)
		}
		for _, group := range p.token {
			raw("tokenGroups", group)
		}
	}
	s := startSlapd(t, ldaptest.WithEntries(b.String()))
	c := s.config()
	c.IDAttribute, c.RequiredGroup, c.Filter = "objectGUID", group, "(&(objectClass=user)(sAMAccountName={username}))"
	d := open(t, c)
	for i, p := range people {
		name := fmt.Sprintf("sid%d", i)
		steps := d.Check(t.Context(), name)
		e, err := d.Login(t.Context(), name, name+"-secret")
		refusal := (*Refusal)(nil)
		if p.in != (err == nil) || !p.in && (!errors.As(err, &refusal) || refusal.Reason != ReasonGroup) {
			t.Errorf("%s: login: got %v", p.state, err)
		}
		if last := steps[len(steps)-1]; last.Name != "group" || last.OK != p.in {
			t.Errorf("%s: check: got %+v", p.state, last)
		}
		want := "active"
		if !p.in {
			want = string(ReasonGroup)
		}
		if err := wantOutcomes(t, d, map[string]string{e.Subject: want}); err != nil {
			t.Errorf("%s: sweep: %v", p.state, err)
		}
	}
}

// If a person's groups could not be read, the person is not an outsider, even if the
// group does not list them.
func TestGroupsUnread(t *testing.T) {
	const id = "eee1fa86-7a8d-1041-9af5-335988db20b8"
	for _, code := range []int{goldap.LDAPResultTimeLimitExceeded, goldap.LDAPResultAdminLimitExceeded, goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultBusy, goldap.LDAPResultOther} {
		for _, spoiled := range []string{"(memberOf=", inChain} {
			addr := fake(t, func(r request) []*ber.Packet {
				switch {
				case r.op == goldap.ApplicationBindRequest:
					return bound(0, "")
				case strings.Contains(r.filter, spoiled):
					return []*ber.Packet{done(code)}
				case isBase(r) && r.filter == "(objectClass=*)":
					return []*ber.Packet{found(r.dn, nil), done(0)}
				case isBase(r) || strings.Contains(r.filter, "memberOf"):
					return []*ber.Packet{done(0)}
				}
				return []*ber.Packet{found(alice, map[string][]string{"entryUUID": {id}, "mail": {"alice@example.org"}}), done(0)}
			})
			c := plain(addr)
			c.RequiredGroup = staff
			if err := wantOutcomes(t, open(t, c), map[string]string{id: "unknown"}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, code %d: got %v", spoiled, code, err)
			}
		}
	}
}
