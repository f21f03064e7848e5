package ldap

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const nobody = "00000000-0000-4000-8000-000000000000"

func person(uid string) string { return "uid=" + uid + "," + peopleDN }

// outcome returns a word for a state: the reason if the person is stopped.
func outcome(s State) string {
	switch s.Verdict {
	case Active:
		return "active"
	case Stopped:
		return string(s.Stop.Reason)
	case Missing:
		return "missing"
	}
	return "unknown"
}

// wantOutcomes looks subjects up, and wants one outcome for each.
func wantOutcomes(t *testing.T, d *Directory, want map[string]string) error {
	t.Helper()
	got, err := d.Lookup(t.Context(), slices.Collect(maps.Keys(want)))
	for subject, w := range want {
		if o := outcome(got[subject]); o != w {
			t.Errorf("%s: got %q, want %q (%v)", subject, o, w, err)
		}
	}
	return err
}

func TestLookup(t *testing.T) {
	s := startSlapd(t)
	c := s.config()
	d, log := openLogged(t, c)
	who := map[string]string{}
	var all []string
	for _, uid := range []string{"alice", "bob", "carol", "dave", "erin", "heidi", "ivan"} {
		who[uid] = s.Subject(person(uid))
		all = append(all, who[uid])
	}
	all = append(all, nobody, nobody, "*)(uid=*", "", "not a uuid")

	check := func(want map[string]Reason, missing ...string) {
		t.Helper()
		got := must.Get(d.Lookup(t.Context(), all))(t)
		if len(got) != len(who)+1 || outcome(got[nobody]) != "missing" {
			t.Errorf("got %d states, want %d: %+v", len(got), len(who)+1, got)
		}
		for uid, id := range who {
			w := cmp.Or(string(want[uid]), "active")
			if slices.Contains(missing, uid) {
				w = "missing"
			}
			if state := got[id]; outcome(state) != w || w != "missing" && (state.Entry.Subject != id || state.Entry.DN == "") {
				t.Errorf("%s: got %q of %+v, want %q", uid, outcome(state), state, w)
			}
		}
	}
	check(map[string]Reason{"dave": ReasonDisabled, "ivan": ReasonExpired})
	if !strings.Contains(log.String(), "can't be looked up") {
		t.Error("subjects that can not be asked about are not in the log")
	}

	s.Remove(person("bob"))
	s.Modify(person("dave"), "pwdAccountLockedTime")
	s.Modify(person("alice"), "pwdAccountLockedTime", "20250101000000Z")
	check(map[string]Reason{"alice": ReasonLocked, "ivan": ReasonExpired}, "bob")

	// A new entry with the same name is a new person, and the old one stays away.
	s.Add(person("bob"), map[string][]string{"objectClass": {"inetOrgPerson"}, "uid": {"bob"}, "cn": {"Bob"}, "sn": {"B"}, "mail": {"bob@example.org"}, "userPassword": {"bob-secret"}})
	s.Modify(person("alice"), "pwdAccountLockedTime")
	check(map[string]Reason{"ivan": ReasonExpired}, "bob")
	if e, err := d.Login(t.Context(), "bob", "bob-secret"); err != nil || e.Subject == who["bob"] {
		t.Errorf("the new bob: %+v, %v", e, err)
	}

	// A person who has moved is still there. A person who has moved out of base_dn is
	// not.
	s.Do(func(c *goldap.Conn) error {
		return c.ModifyDN(goldap.NewModifyDNRequest(person("erin"), "uid=erin2", true, "ou=elsewhere,"+base))
	})
	s.Do(func(c *goldap.Conn) error {
		return c.ModifyDN(goldap.NewModifyDNRequest(person("heidi"), "uid=heidi2", true, ""))
	})
	check(map[string]Reason{"ivan": ReasonExpired}, "bob", "erin")
}

func TestLookupGroup(t *testing.T) {
	s := startSlapd(t)
	a, b := s.Subject(alice), s.Subject(person("bob"))
	for _, group := range []string{staff, "cn=board,ou=groups," + base, "cn=unix,ou=groups," + base} {
		c := s.config()
		c.RequiredGroup = group
		if err := wantOutcomes(t, open(t, c), map[string]string{a: "active", b: string(ReasonGroup), nobody: "missing"}); err != nil {
			t.Errorf("%s: %v", group, err)
		}
	}
	c := s.config()
	c.RequiredGroup = staff
	d := open(t, c)
	s.Remove(staff)
	if err := wantOutcomes(t, d, map[string]string{a: "unknown", b: "unknown", nobody: "unknown"}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), staff) {
		t.Errorf("without the group: %v", err)
	}
	if status := d.Servers()[0]; !status.Reachable || status.LastError != "" {
		t.Errorf("without the group: the server is punished: %+v", status)
	}
	if err := wantOutcomes(t, d, map[string]string{b: "unknown", nobody: "unknown"}); strings.Count(err.Error(), "was it moved") != 1 {
		t.Errorf("without the group: the reason is not given once: %v", err)
	}
	s.Add(staff, map[string][]string{"objectClass": {"groupOfNames"}, "cn": {"staff"}, "member": {person("bob")}})
	if err := wantOutcomes(t, d, map[string]string{a: string(ReasonGroup), b: "active"}); err != nil {
		t.Errorf("changed places: %v", err)
	}
}

// A condition in the filter counts in a sweep as it does in a login.
func TestLookupFilter(t *testing.T) {
	s := startSlapd(t)
	c := s.config()
	c.Filter = "(&(uid={username})(employeeType=active))"
	d := open(t, c)
	a := s.Subject(alice)
	s.Modify(alice, "employeeType", "active")
	if err := wantOutcomes(t, d, map[string]string{a: "active"}); err != nil {
		t.Errorf("active: %v", err)
	}
	s.Modify(alice, "employeeType", "retired")
	if err := wantOutcomes(t, d, map[string]string{a: string(ReasonFilter)}); err != nil {
		t.Errorf("retired: %v", err)
	}
	if _, err := d.Login(t.Context(), "alice", "alice-secret"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("log in: %v", err)
	}
}

// A thousand people, and a server that sends no more than seven at a time.
func TestLookupMany(t *testing.T) {
	s := startSlapd(t, ldaptest.InDatabase("limits dn.exact=\""+readerDN+"\" size=7"))
	var want []string
	s.Do(func(c *goldap.Conn) error {
		for i := range 250 {
			uid := fmt.Sprintf("many%d", i)
			a := goldap.NewAddRequest(person(uid), nil)
			for name, value := range map[string]string{"objectClass": "inetOrgPerson", "uid": uid, "cn": uid, "sn": uid, "mail": uid + "@example.org"} {
				a.Attribute(name, []string{value})
			}
			if err := c.Add(a); err != nil {
				return err
			}
		}
		res, err := c.Search(goldap.NewSearchRequest(peopleDN, goldap.ScopeWholeSubtree, 0, 0, 0, false, "(uid=many*)", []string{"entryUUID"}, nil))
		for _, e := range res.Entries {
			want = append(want, e.GetAttributeValue("entryUUID"))
		}
		return err
	})
	d := open(t, s.config())
	got, err := d.Lookup(t.Context(), append(want, nobody))
	if err != nil || len(got) != 251 || outcome(got[nobody]) != "missing" {
		t.Fatalf("%d states, %v", len(got), err)
	}
	for _, id := range want {
		if o := outcome(got[id]); o != "active" {
			t.Errorf("%s: %s", id, o)
		}
	}
}

// A directory that is not what it was says nothing about people who are not found.
func TestLookupDoubt(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*slapd)
		alice  string
	}{
		"base_dn is gone":     {func(s *slapd) { s.empty(peopleDN); s.Remove(peopleDN) }, "unknown"},
		"nobody is left":      {func(s *slapd) { s.empty(peopleDN) }, "unknown"},
		"the server is gone":  {func(s *slapd) { s.Stop() }, "unknown"},
		"the server hangs":    {func(s *slapd) { s.Signal(syscall.SIGSTOP) }, "unknown"},
		"the account is gone": {func(s *slapd) { s.Remove(readerDN); s.Stop(); s.Start() }, "unknown"},
		"a part is elsewhere": {func(s *slapd) { s.refer() }, "active"},
		"a part is elsewhere, and she is disabled": {func(s *slapd) {
			s.refer()
			s.Modify(alice, "pwdAccountLockedTime", "000001010000Z")
		}, "disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSlapd(t)
			c := s.config()
			d := open(t, c)
			id := s.Subject(alice)
			if err := wantOutcomes(t, d, map[string]string{id: "active", nobody: "missing"}); err != nil {
				t.Fatalf("before: %v", err)
			}
			test.change(s)
			if name == "the server hangs" {
				d.cfg.Timeout = 100 * time.Millisecond
			}
			if err := wantOutcomes(t, d, map[string]string{id: test.alice, nobody: "unknown"}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The parts of the tree on another server are named, wherever the referral is.
func TestReferrals(t *testing.T) {
	s := startSlapd(t)
	far := func(dn string) {
		s.Add(dn, map[string][]string{"objectClass": {"referral", "extensibleObject"}, "ou": {"far"}, "ref": {"ldap://far.example.org/" + dn}})
	}
	far("ou=far,ou=groups," + base)
	far("ou=far," + base)
	far("ou=far," + peopleDN)
	id := s.Subject(alice)
	for _, test := range []struct {
		base, group string
		step        string // of a check, at which the referral is named
		warning     bool
		alice       string
	}{
		{peopleDN, "", "search", true, "active"},
		{base, "", "search", true, "active"},
		{"ou=far," + base, "", "search", false, "unknown"},
		{"ou=people,ou=far," + base, "", "search", false, "unknown"},
		{peopleDN, "cn=x,ou=far,ou=groups," + base, "group", false, "unknown"},
	} {
		c := s.config()
		c.BaseDN, c.RequiredGroup = test.base, test.group
		d := open(t, c)
		named := false
		for _, step := range d.Check(t.Context(), "alice") {
			named = named || step.Name == test.step && step.OK == test.warning && step.Warning == test.warning && strings.Contains(step.Detail, "ldap://far.example.org/")
		}
		err := wantOutcomes(t, d, map[string]string{id: test.alice, nobody: "unknown"})
		if !named || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "ldap://far.example.org/") {
			t.Errorf("%s, %s: got %v, and a check %+v", test.base, test.group, err, d.Check(t.Context(), "alice"))
		}
		if status := d.Servers()[0]; !status.Reachable {
			t.Errorf("%s, %s: the server is punished: %+v", test.base, test.group, status)
		}
	}
}

// refer adds a part of the tree that is on another server.
func (s *slapd) refer() {
	s.t.Helper()
	s.Add("ou=branch,"+peopleDN, map[string][]string{"objectClass": {"referral", "extensibleObject"}, "ou": {"branch"}, "ref": {"ldap://branch.example.org/" + peopleDN}})
}

// empty removes everything right under dn.
func (s *slapd) empty(dn string) {
	s.t.Helper()
	s.Do(func(c *goldap.Conn) error {
		res, err := c.Search(goldap.NewSearchRequest(dn, goldap.ScopeSingleLevel, 0, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
		if err != nil {
			return err
		}
		for _, e := range res.Entries {
			if err := c.Del(goldap.NewDelRequest(e.DN, nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

// The service account no longer sees the attribute that identifies people: all of them
// would be missing.
func TestLookupHidden(t *testing.T) {
	s := startSlapd(t)
	s.Stop()
	s.Conf = s.File("hidden.conf", strings.Replace(read(t, s.Conf), "access to *", "access to attrs=mail by * none\naccess to *", 1))
	s.Start()
	d := open(t, s.config())
	if err := wantOutcomes(t, d, map[string]string{nobody: "unknown"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// If an answer is incomplete, the entries in it count, and nobody is missing.
func TestLookupPartialAnswers(t *testing.T) {
	const id = "eee1fa86-7a8d-1041-9af5-335988db20b8"
	entry := func(dn, id string) *ber.Packet {
		return found(dn, map[string][]string{"entryUUID": {id}, "mail": {"alice@example.org"}})
	}
	one := entry(alice, id)
	for _, test := range []struct {
		name    string
		answers []*ber.Packet
		good    bool
	}{
		{"all there", []*ber.Packet{one, done(0)}, true},
		{"operations error", []*ber.Packet{one, done(1)}, false},
		{"time limit", []*ber.Packet{one, done(3)}, false},
		{"size limit", []*ber.Packet{one, done(4)}, false},
		{"referral", []*ber.Packet{done(10)}, false},
		{"admin limit", []*ber.Packet{one, done(11)}, false},
		{"no such object", []*ber.Packet{done(32)}, false},
		{"no rights", []*ber.Packet{done(50)}, false},
		{"busy", []*ber.Packet{done(51)}, false},
		{"unavailable", []*ber.Packet{one, done(52)}, false},
		{"unwilling", []*ber.Packet{done(53)}, false},
		{"other", []*ber.Packet{one, done(80)}, false},
		{"reference", []*ber.Packet{one, reference("ldap://b.example/"), done(0)}, false},
		{"cut off", []*ber.Packet{one}, false},
		{"closed", nil, false},
		{"somebody else", []*ber.Packet{one, entry("uid=eve,"+peopleDN, "eee1fa86-7a8d-1041-9af5-335988db2000"), done(0)}, false},
		{"twice", []*ber.Packet{one, entry("uid=eve,"+peopleDN, id), done(0)}, false},
		{"without id", []*ber.Packet{found(alice, map[string][]string{"mail": {"a@b"}}), done(0)}, false},
		{"nothing at all", []*ber.Packet{done(0)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := fake(t, func(r request) []*ber.Packet {
				switch {
				case r.op == goldap.ApplicationBindRequest:
					return bound(0, "")
				case isBase(r):
					return []*ber.Packet{found(r.dn, nil), done(0)}
				case strings.HasPrefix(r.filter, "(&(entryUUID=*)"): // is there anybody
					if test.name == "nothing at all" {
						return []*ber.Packet{done(0)}
					}
					return []*ber.Packet{one, done(4)}
				}
				return test.answers
			})
			c := plain(addr)
			if !test.good {
				c.Timeout = 200 * time.Millisecond // for those who never finish
			}
			got, err := open(t, c).Lookup(t.Context(), []string{id, nobody})
			if test.good && (err != nil || outcome(got[id]) != "active" || outcome(got[nobody]) != "missing") {
				t.Errorf("got %+v, %v", got, err)
			}
			if !test.good && (!errors.Is(err, ErrUnavailable) || got[id].Verdict > Active || outcome(got[nobody]) != "unknown") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Active Directory: a binary id, escaped byte by byte, and a disabled account.
func TestLookupActiveDirectory(t *testing.T) {
	ad := readLDIF(t, "../testdata/ldap/active-directory.ldif")
	var filters []string
	addr := fake(t, func(r request) []*ber.Packet {
		if r.op == goldap.ApplicationBindRequest {
			return bound(0, "")
		}
		if isBase(r) {
			return []*ber.Packet{found(r.dn, nil), done(0)}
		}
		filters = append(filters, r.filter)
		var answers []*ber.Packet
		for _, e := range ad {
			attributes := map[string][]string{}
			for _, a := range e.Attributes {
				attributes[a.Name] = a.Values
			}
			if strings.HasPrefix(r.filter, "(&(objectGUID=*)") || strings.Contains(r.filter, goldap.EscapeFilter(attributes["objectGUID"][0])) {
				answers = append(answers, found(e.DN, attributes))
			}
			if strings.HasPrefix(r.filter, "(&(objectGUID=*)") {
				return append(answers, done(4))
			}
		}
		return append(answers, done(0))
	})
	c := plain(addr)
	c.BaseDN, c.UIDAttribute, c.IDAttribute = "DC=corp,DC=example", "userPrincipalName", "objectGUID"
	c.Filter = "(|(sAMAccountName={username})(userPrincipalName={username}))"
	got := must.Get(open(t, c).Lookup(t.Context(), []string{"3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3f2504e0-4f89-41d3-9a0c-0305e82c3302", "00000000-0000-0000-0000-0000000000ff", nobody}))(t)
	if s := got["3f2504e0-4f89-41d3-9a0c-0305e82c3301"]; s.Entry.UID != "ann@corp.example" || outcome(s) != "active" {
		t.Errorf("ann: %+v", s)
	}
	if s := got["3f2504e0-4f89-41d3-9a0c-0305e82c3302"]; outcome(s) != "disabled" {
		t.Errorf("dan: %+v", s)
	}
	if s := got["00000000-0000-0000-0000-0000000000ff"]; s.Entry.UID != "zoe@corp.example" {
		t.Errorf("zoe: %+v", s)
	}
	if outcome(got[nobody]) != "missing" {
		t.Errorf("nobody: %+v", got[nobody])
	}
	if len(filters) == 0 || !strings.Contains(filters[0], `\e0`) || !strings.Contains(filters[0], `\00`) {
		t.Errorf("filters %q", filters)
	}
}

func TestCheck(t *testing.T) {
	s := startSlapd(t)
	for _, test := range []struct {
		name, user string
		change     func(*Config)
		failing    string // the step at which it ends
		steps      int
	}{
		{"good", "alice", func(c *Config) {}, "", 6},
		{"in the group", "alice", func(c *Config) { c.RequiredGroup = staff }, "", 7},
		{"not in the group", "bob", func(c *Config) { c.RequiredGroup = staff }, "group", 7},
		{"nobody listens", "alice", func(c *Config) { c.URLs = []string{"ldaps://" + storagetest.FreePort(t)} }, "dial", 1},
		{"wrong authority", "alice", func(c *Config) { c.CAFile = "" }, "tls", 2},
		{"wrong password", "alice", func(c *Config) { c.BindPassword = "hunter2" }, "bind", 3},
		{"wrong base", "alice", func(c *Config) { c.BaseDN = "ou=nothing," + base }, "search", 4},
		{"anonymous", "alice", func(c *Config) { c.BindDN, c.BindPassword = "", "" }, "search", 4},
		{"no such user", "nobody", func(c *Config) {}, "match", 5},
		{"two users", "frank", func(c *Config) {}, "match", 5},
		{"impossible user", "\x00", func(c *Config) {}, "search", 4},
		{"no mail", "erin", func(c *Config) {}, "attributes", 6},
		{"expired", "ivan", func(c *Config) {}, "attributes", 6},
		{"no such attribute", "alice", func(c *Config) { c.IDAttribute = "objectGUID" }, "attributes", 6},
	} {
		c := s.config()
		test.change(&c)
		steps := open(t, c).Check(t.Context(), test.user)
		failing := ""
		for _, step := range steps {
			if !step.OK {
				failing = step.Name
			}
			if step.Detail == "" || step.Server != c.URLs[0] || strings.Contains(step.Detail, "hunter2") {
				t.Errorf("%s: step %+v", test.name, step)
			}
		}
		if failing != test.failing || len(steps) != test.steps {
			t.Errorf("%s: got %+v", test.name, steps)
		}
	}
	c := s.config()
	c.URLs = append([]string{"ldaps://" + storagetest.FreePort(t)}, c.URLs...)
	if steps := open(t, c).Check(t.Context(), "alice"); len(steps) != 7 || steps[0].OK || !steps[6].OK {
		t.Errorf("two servers: %+v", steps)
	}
}

// TestDoubtKeepsConnection: an answer that proves nothing is an answer, and the connection
// that it came on is used again.
func TestDoubtKeepsConnection(t *testing.T) {
	s := startSlapd(t)
	r := record(t, s.Addr)
	c := plain(r.addr)
	c.BaseDN = "ou=groups," + base // where nobody is
	d := open(t, c)
	var asked [3]int
	for n := range asked {
		before := r.count()
		if err := wantOutcomes(t, d, map[string]string{nobody: "unknown"}); !InDoubt(err) {
			t.Errorf("where nobody is: %v, want doubt", err)
		}
		asked[n] = r.count() - before
	}
	if bind := 1; asked[1] != asked[0]-bind || asked[2] != asked[1] {
		t.Errorf("three questions took %v requests, want one less after the first, which binds", asked)
	}
}
