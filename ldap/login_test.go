package ldap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest/must"
)

func TestLogin(t *testing.T) {
	s := startSlapd(t)
	d := open(t, s.config())

	got, err := d.Login(t.Context(), "alice", "alice-secret")
	if err != nil {
		t.Fatalf("alice: %v\n%s", err, s.Log())
	}
	want := Entry{Subject: s.Subject(alice), UID: "alice@example.org", Name: "Alice Liddell", DN: alice, Addresses: []string{"alice@example.org"}, login: "alice"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("alice: got %+v, want %+v", got, want)
	}
	if got, err := d.Login(t.Context(), `a*b(c)\d`, "judy-secret"); err != nil || got.UID != "judy@example.org" {
		t.Errorf("a name of metacharacters: got %+v, %v", got, err)
	}
	if got, err := d.Login(t.Context(), "zoë", "zoe-secret"); err != nil || got.UID != "zoe@example.org" {
		t.Errorf("a DN with a comma: got %+v, %v", got, err)
	}

	for _, test := range []struct {
		name, password string
		want           error
		reason         Reason
	}{
		{"alice", "wrong", ErrInvalidCredentials, ""},
		{"nobody", "alice-secret", ErrInvalidCredentials, ""},
		{"outsider", "outsider-secret", ErrInvalidCredentials, ""},
		{"erin", "erin-secret", nil, ""}, // has no mail; the caller must check that
		{"erin", "wrong", ErrInvalidCredentials, ""},
		{"frank", "frank-secret", ErrRefused, ReasonAmbiguous},
		{"carol", "carol-secret", ErrRefused, ReasonMustChange},
		{"carol", "wrong", ErrInvalidCredentials, ""},
		{"dave", "dave-secret", ErrRefused, ReasonDisabled}, // the entry says more than the policy control,
		{"grace", "grace-secret", ErrRefused, ReasonPasswordExpired},
		{"heidi", "heidi-secret", ErrRefused, ReasonPasswordExpired},
		{"ivan", "ivan-secret", ErrRefused, ReasonExpired},
		{"ivan", "wrong", ErrInvalidCredentials, ""},
	} {
		_, err := d.Login(t.Context(), test.name, test.password)
		var r *Refusal
		errors.As(err, &r)
		if !errors.Is(err, test.want) || (r != nil && r.Reason != test.reason) {
			t.Errorf("%s with %s: got %v, want %v %s", test.name, test.password, err, test.want, test.reason)
		}
	}
	if status := d.Servers(); !status[0].Reachable || status[0].LastSuccess.IsZero() || status[0].Latency <= 0 {
		t.Errorf("status after all this: %+v", status)
	}
}

// A policy locks after five failures, and says so beside a right password too.
func TestLockedByPolicy(t *testing.T) {
	s := startSlapd(t)
	d := open(t, s.config())
	for i := range 5 {
		if _, err := d.Login(t.Context(), "bob", "wrong"); !errors.Is(err, ErrInvalidCredentials) {
			t.Fatalf("failure %d: %v", i, err)
		}
	}
	_, err := d.Login(t.Context(), "bob", "bob-secret")
	var r *Refusal
	if !errors.As(err, &r) || r.Reason != ReasonLocked {
		t.Fatalf("after five failures: %v", err)
	}
	id := s.Subject("uid=bob," + peopleDN)
	if states, err := d.Lookup(t.Context(), []string{id}); err != nil || outcome(states[id]) != string(ReasonLocked) {
		t.Errorf("look up: %+v, %v", states, err)
	}
	s.Modify("uid=bob,"+peopleDN, "pwdAccountLockedTime")
	if _, err := d.Login(t.Context(), "bob", "bob-secret"); err != nil {
		t.Errorf("unlocked: %v", err)
	}
}

// What a person types is spelt in many ways and means one account.
func TestSpellings(t *testing.T) {
	s := startSlapd(t)
	d := open(t, s.config())
	want := s.Subject(alice)
	for _, name := range []string{
		"alice", "ALICE", "Alice", "aLiCe", " alice", "alice ", "  alice  ", "ａｌｉｃｅ", "ＡＬＩＣＥ", "ⓐlice", "alIce",
	} {
		e, err := d.Find(t.Context(), name)
		if err != nil || e.Subject != want {
			t.Errorf("find %q: got %q, %v, want %q", name, e.Subject, err, want)
		}
		if e, err := d.Authenticate(t.Context(), e, "alice-secret"); err != nil || e.Subject != want {
			t.Errorf("authenticate %q: %+v, %v", name, e, err)
		}
	}
}

func hostileNames() []string {
	return []string{
		"*", "a*", "*e", "al*ce", "a**", "(*)", "alice)", "(alice", "alice*)", "*)(uid=*", "alice)(uid=*",
		"*)(|(uid=*", "alice)(&)", "alice)(|(objectClass=*)", ")(cn=*))(|(cn=*", "*)(objectClass=*))(&(uid=void",
		"alice))(|(uid=bob", "alice)(!(uid=alice)", "|(uid=*)", "&(uid=*)", "!(uid=x)", "(uid=alice)", "uid=alice",
		alice, adminDN, readerDN, "alice," + peopleDN, `alice\2a`, `\2a`, `\61lice`, `alice\`, `\`, `\\2a`, `alice\00`,
		"alice\x00", "alice\x00)(uid=*", "\x00", "alice\n", "alice\r\nuid: bob", "\talice", "ali\u200bce", "\u202ealice", "alice\ufeff",
		"\xff\xfealice", "alice\xc0\xaf", "\xc0\xaa", "ａｌｉｃｅ＊", "", " ", "   ", "\u00a0", "%2a", "{username}", "{username}*", "${jndi:ldap://127.0.0.1/a}",
		"' or '1'='1", "alice;cn=*", "uid:=alice", ":dn:=alice", ">=alice", "~=alice", "0", "-1", "#616c696365", "ldap:///", "../alice", "alice@example.org",
		strings.Repeat("a", 257), strings.Repeat("*", 256), strings.Repeat("(", 256), strings.Repeat(`\`, 256), strings.Repeat("é", 129), strings.Repeat("a", 1<<20),
	}
}

// No typed name opens anything, reaches the directory as more than a value, or is bound
// as a DN.
func TestHostileNames(t *testing.T) {
	s := startSlapd(t)
	proxy := record(t, s.Addr)
	c := plain(proxy.addr)
	d := open(t, c)
	names := hostileNames()
	if len(names) < 40 {
		t.Fatalf("only %d names", len(names))
	}
	for _, name := range names {
		for _, password := range []string{"alice-secret", "*", name} {
			_, err := d.Login(t.Context(), name, password)
			if !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("%.60q with %.20q: got %v", name, password, err)
			}
			searches, binds := proxy.take()
			if len(searches) > 1 || len(binds) > 1 {
				t.Errorf("%.60q: %d searches, %d binds", name, len(searches), len(binds))
			}
			for _, q := range searches {
				if err := asksOnly(q, name); err != nil {
					t.Errorf("%.60q: %v", name, err)
				}
			}
			for _, q := range binds {
				if !strings.HasPrefix(q.dn, "cn=") || len(q.dn) < 26+len(peopleDN) || strings.EqualFold(q.dn, adminDN) {
					t.Errorf("%.60q: bound %q", name, q.dn)
				}
			}
		}
	}
}

// asksOnly checks on the wire that the search is one comparison of uid with
// the whole name, for at most two entries, below base_dn.
func asksOnly(q request, name string) error {
	f := q.raw.Children[6]
	if f.Tag != goldap.FilterEqualityMatch {
		return fmt.Errorf("the filter sent was %s", q.filter)
	}
	attribute, value := f.Children[0].Data.String(), f.Children[1].Data.String()
	if attribute != "uid" || value != name {
		return fmt.Errorf("compared %s with %q", attribute, value)
	}
	if want := "(uid=" + goldap.EscapeFilter(name) + ")"; q.filter != want {
		return fmt.Errorf("the filter sent was %s, want %s", q.filter, want)
	}
	if size := q.raw.Children[3].Value; size != int64(2) || q.dn != peopleDN {
		return fmt.Errorf("asked for %v entries below %s", size, q.dn)
	}
	return nil
}

func TestHostilePasswords(t *testing.T) {
	s := startSlapd(t)
	proxy := record(t, s.Addr)
	d := open(t, plain(proxy.addr))
	refusedHere := []string{"", "\x00", "alice-secret\x00", "\x00alice-secret", strings.Repeat("a", 257), strings.Repeat("alice-secret", 1<<16)}
	for _, password := range refusedHere {
		if _, err := d.Authenticate(t.Context(), Entry{DN: alice}, password); !errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%.30q: got %v", password, err)
		}
		if searches, binds := proxy.take(); len(searches)+len(binds) != 0 {
			t.Errorf("%.30q was sent to the directory", password)
		}
	}
	for _, password := range []string{
		"*", " ", "alice-secret ", " alice-secret", "Alice-secret", "ALICE-SECRET", "alice-secre", "alice-secret*", "alice-secret\n", "\talice-secret",
		"{CLEARTEXT}alice-secret", "{SASL}alice", "{SSHA}", "{EXTERNAL}", "alice", alice, "(userPassword=*)", "*)(uid=*", `\2a`, "%00", "null", "\xff\xff", "\u200balice-secret",
		"ａlice-secret", ldaptest.AdminPassword, "reader-secret", strings.Repeat("*", 256),
	} {
		// A policy locks alice in between: that must not hide a success.
		s.Modify(alice, "pwdAccountLockedTime")
		if _, err := d.Login(t.Context(), "alice", password); !errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%.30q: got %v", password, err)
		}
		if _, binds := proxy.take(); len(binds) != 1 || binds[0].dn != alice || binds[0].password != password {
			t.Errorf("%.30q: bound %+v", password, binds)
		}
	}
	s.Modify(alice, "pwdAccountLockedTime")
	if _, err := d.Login(t.Context(), "alice", "alice-secret"); err != nil {
		t.Errorf("the right one at last: %v", err)
	}
}

// An unknown name costs what a known one does: one search and one bind.
func TestUnknownNameIsBoundToo(t *testing.T) {
	s := startSlapd(t)
	proxy := record(t, s.Addr)
	d := open(t, plain(proxy.addr))
	for _, name := range []string{"alice", "nobody", "frank"} {
		d.Login(t.Context(), name, "wrong")
		searches, binds := proxy.take()
		if len(searches) != 1 || len(binds) != 1 {
			t.Errorf("%s: %d searches and %d binds", name, len(searches), len(binds))
		}
	}
	if e, err := d.Find(t.Context(), "nobody"); err != nil || e.Known() {
		t.Errorf("find nobody: %+v, %v", e, err)
	}
}

func TestRequiredGroup(t *testing.T) {
	s := startSlapd(t)
	for _, test := range []struct{ group, in, out string }{
		{staff, "alice", "bob"},                        // memberOf
		{"cn=board,ou=groups," + base, "alice", "bob"}, // uniqueMember
		{"cn=unix,ou=groups," + base, "alice", "bob"},  // memberUid
		{staff, "zoë", "bob"},
	} {
		c := s.config()
		c.RequiredGroup = test.group
		d := open(t, c)
		password := strings.ReplaceAll(test.in, "ë", "e") + "-secret"
		if _, err := d.Login(t.Context(), test.in, password); err != nil {
			t.Errorf("%s: %s: %v", test.group, test.in, err)
		}
		_, err := d.Login(t.Context(), test.out, test.out+"-secret")
		var r *Refusal
		if !errors.As(err, &r) || r.Reason != ReasonGroup {
			t.Errorf("%s: %s: got %v", test.group, test.out, err)
		}
	}
	// A group that does not exist, or is hidden, is a fault and not an empty group.
	c := s.config()
	c.RequiredGroup = "cn=nothing,ou=groups," + base
	if _, err := open(t, c).Login(t.Context(), "alice", "alice-secret"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a group that does not exist: got %v", err)
	}
}

// Only Active Directory has these: a group within a group, which its own matching rule
// sees; a primary group, which no memberOf names; a group within that, which only
// tokenGroups tells; and two domains that number their groups alike.
func TestActiveDirectoryGroups(t *testing.T) {
	const group = "CN=Gatehouse,OU=Groups,DC=corp,DC=example"
	sid := func(domain, id uint32) string {
		b := append([]byte{1, 2}, 0, 0, 0, 0, 0, 5)
		return string(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, domain), id))
	}
	people := map[string]struct {
		domain, primary uint32
		tokenGroups     []string
		in              bool
	}{
		"ann": {7, 513, []string{sid(7, 513)}, true}, // by the nested group
		"ben": {7, 513, []string{sid(7, 513)}, false},
		"cyd": {7, 1105, []string{sid(7, 1105)}, true},
		"dee": {7, 514, []string{sid(7, 514), sid(7, 1105)}, true},
		"eve": {8, 1105, []string{sid(8, 1105)}, false}, // another domain's 1105
		"flo": {7, 0, nil, false},
	}
	guid := func(name string) string { return strings.Repeat(name, 6)[:16] }
	dn := func(name string) string { return "CN=" + name + ",DC=corp,DC=example" }
	addr := fake(t, func(r request) []*ber.Packet {
		if r.op == goldap.ApplicationBindRequest {
			return bound(0, "")
		}
		if r.dn == group { // it lists only the inner group
			if r.filter == "(objectClass=*)" {
				return []*ber.Packet{found(group, map[string][]string{"objectSid": {sid(7, 1105)}}), done(0)}
			}
			return []*ber.Packet{done(0)}
		}
		var answers []*ber.Packet
		for name, p := range people {
			attributes := map[string][]string{
				"mail": {name + "@corp.example"}, "objectGUID": {guid(name)}, "userAccountControl": {"512"},
				"objectSid": {sid(p.domain, 5000)}, "primaryGroupID": {fmt.Sprint(p.primary)},
			}
			byID := strings.Contains(r.filter, goldap.EscapeFilter(guid(name)))
			switch {
			case r.dn == dn(name):
				answers = append(answers, found(r.dn, map[string][]string{"tokenGroups": p.tokenGroups}))
			case isBase(r):
			case has(r.filter, inChain):
				if byID && name == "ann" && has(r.filter, group) {
					answers = append(answers, found(dn(name), attributes))
				}
			case has(r.filter, "(memberOf=") && !has(r.filter, "memberOf=*"):
			case byID, has(r.filter, "sAMAccountName="+name):
				answers = append(answers, found(dn(name), attributes))
			}
		}
		return append(answers, done(0))
	})
	c := plain(addr)
	c.BaseDN, c.IDAttribute, c.RequiredGroup = "DC=corp,DC=example", "objectGUID", group
	c.Filter = "(|(sAMAccountName={username})(userPrincipalName={username}))"
	d := open(t, c)
	want := map[string]string{}
	for name, p := range people {
		id := must.Get(guidText([]byte(guid(name))))(t)
		want[id] = string(ReasonGroup)
		if p.in {
			want[id] = "active"
		}
		e, err := d.Login(t.Context(), name, "x")
		var r *Refusal
		if p.in && (err != nil || e.Subject != id) || !p.in && (!errors.As(err, &r) || r.Reason != ReasonGroup) {
			t.Errorf("log %s in: %+v, %v", name, e, err)
		}
	}
	must.Do(t, wantOutcomes(t, d, want))
}

// Every answer to a bind means one thing, with any result code.
func TestJudge(t *testing.T) {
	const ad = "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data %s, v4563"
	policy := func(b ...byte) []byte { return append([]byte{0x30, byte(len(b))}, b...) }
	const behera, mustChange = goldap.ControlTypeBeheraPasswordPolicy, goldap.ControlTypeVChuPasswordMustChange
	for _, test := range []struct {
		name    string
		code    int
		message string
		control string
		value   []byte
		want    error
		reason  Reason
	}{
		{name: "success", want: nil},
		{name: "success, empty policy", control: behera, value: policy(), want: nil},
		{name: "success, expires soon", control: behera, value: policy(0xa0, 3, 0x80, 1, 60), want: nil},
		{name: "success, grace", control: behera, value: policy(0xa0, 3, 0x81, 1, 2), want: ErrRefused, reason: ReasonPasswordExpired},
		{name: "success, last grace", control: behera, value: policy(0xa0, 3, 0x81, 1, 0), want: ErrRefused, reason: ReasonPasswordExpired},
		{name: "success, expired", control: behera, value: policy(0x81, 1, 0), want: ErrRefused, reason: ReasonPasswordExpired},
		{name: "success, locked", control: behera, value: policy(0x81, 1, 1), want: ErrRefused, reason: ReasonLocked},
		{name: "success, reset", control: behera, value: policy(0x81, 1, 2), want: ErrRefused, reason: ReasonMustChange},
		{name: "success, other", control: behera, value: policy(0x81, 1, 6), want: ErrRefused, reason: ReasonOther},
		{name: "success, malformed policy", control: behera, value: policy(0x81, 2, 0, 0), want: ErrUnavailable},
		{name: "success, netscape", control: mustChange, value: []byte("0"), want: ErrRefused, reason: ReasonMustChange},
		{name: "wrong", code: 49, want: ErrInvalidCredentials},
		{name: "wrong, locked", code: 49, control: behera, value: policy(0x81, 1, 1), want: ErrRefused, reason: ReasonLocked},
		{name: "ad wrong", code: 49, message: fmt.Sprintf(ad, "52e"), want: ErrInvalidCredentials},
		{name: "ad unknown", code: 49, message: fmt.Sprintf(ad, "525"), want: ErrInvalidCredentials},
		{name: "ad hours", code: 49, message: fmt.Sprintf(ad, "530"), want: ErrRefused, reason: ReasonOther},
		{name: "ad password expired", code: 49, message: fmt.Sprintf(ad, "532"), want: ErrRefused, reason: ReasonPasswordExpired},
		{name: "ad disabled", code: 49, message: fmt.Sprintf(ad, "533"), want: ErrRefused, reason: ReasonDisabled},
		{name: "ad expired", code: 49, message: fmt.Sprintf(ad, "701"), want: ErrRefused, reason: ReasonExpired},
		{name: "ad must change", code: 49, message: fmt.Sprintf(ad, "773"), want: ErrRefused, reason: ReasonMustChange},
		{name: "ad locked", code: 49, message: fmt.Sprintf(ad, "775"), want: ErrRefused, reason: ReasonLocked},
		{name: "389ds inactive", code: 53, message: "Account inactivated. Contact system administrator.", want: ErrRefused, reason: ReasonDisabled},
		{name: "389ds retries", code: 19, message: "Exceed password retry limit. Please try later.", want: ErrRefused, reason: ReasonLocked},
		{name: "no password", code: 48, want: ErrInvalidCredentials},
		{name: "gone", code: 32, want: ErrInvalidCredentials},
		{name: "busy", code: 51, want: ErrUnavailable},
		{name: "down", code: 52, want: ErrUnavailable},
		{name: "needs tls", code: 13, want: ErrUnavailable},
		{name: "referral", code: 10, want: ErrUnavailable},
		{name: "other", code: 80, want: ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := fake(t, func(r request) []*ber.Packet {
				switch {
				case r.op == goldap.ApplicationSearchRequest:
					return []*ber.Packet{found(alice, map[string][]string{"entryUUID": {"EEE1FA86-7A8D-1041-9AF5-335988DB20B8"}, "mail": {"alice@example.org"}}), done(0)}
				case r.dn == readerDN:
					return bound(0, "")
				}
				answer := result(goldap.ApplicationBindResponse, test.code, test.message)
				if test.control != "" {
					answer = withControl(answer, test.control, test.value)
				}
				return []*ber.Packet{answer}
			})
			_, err := open(t, plain(addr)).Login(t.Context(), "alice", "alice-secret")
			var r *Refusal
			errors.As(err, &r)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || (r != nil && r.Reason != test.reason) {
				t.Errorf("got %v, want %v %s", err, test.want, test.reason)
			}
		})
	}
}

// An entry with an empty DN would be an anonymous bind, which always succeeds.
func TestEntryWithoutName(t *testing.T) {
	addr := fake(t, func(r request) []*ber.Packet {
		if r.op == goldap.ApplicationBindRequest {
			return bound(0, "")
		}
		return []*ber.Packet{found("", map[string][]string{"entryUUID": {"x"}, "mail": {"a@b"}}), done(0)}
	})
	if _, err := open(t, plain(addr)).Login(t.Context(), "alice", "x"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
