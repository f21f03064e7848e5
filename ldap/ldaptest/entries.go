package ldaptest

import (
	"fmt"
	"os/exec"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// The entries that tests name. Everybody's password is their uid and "-secret".
const (
	Base           = "dc=example,dc=org"
	People         = "ou=people," + Base
	Reader         = "cn=reader," + Base // the service account
	ReaderPassword = "reader-secret"
	Admin          = "cn=admin," + Base
	AdminPassword  = "admin-secret"
	Staff          = "cn=staff,ou=groups," + Base // alice and zoë
)

// Person returns the DN of the person with this uid.
func Person(uid string) string { return "uid=" + uid + "," + People }

// WithEntries adds entries, in LDIF that begins with an empty line.
func WithEntries(ldif string) Option { return func(s *Slapd) { s.people += ldif } }

// WithPeople adds n people, "many0" and so on.
func WithPeople(n int) Option {
	return func(s *Slapd) {
		var b strings.Builder
		for i := range n {
			uid := fmt.Sprintf("many%d", i)
			fmt.Fprintf(&b, "\ndn: %s\nobjectClass: inetOrgPerson\nuid: %[2]s\ncn: %[2]s\nsn: %[2]s\nmail: %[2]s@example.org\nuserPassword: %[2]s-secret\n", Person(uid), uid)
		}
		s.people += b.String()
	}
}

// Do changes the directory as its root.
func (s *Slapd) Do(change func(*goldap.Conn) error) {
	s.t.Helper()
	c, err := goldap.DialURL("ldap://" + s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(Admin, AdminPassword); err != nil {
		s.t.Fatal(err)
	}
	if err := change(c); err != nil {
		s.t.Fatal(err)
	}
}

// Modify replaces the values of an attribute. Without values it removes the attribute.
func (s *Slapd) Modify(dn, attribute string, values ...string) {
	s.t.Helper()
	s.Do(func(c *goldap.Conn) error {
		m := goldap.NewModifyRequest(dn, nil)
		m.Replace(attribute, values)
		return c.Modify(m)
	})
}

// Add adds an entry.
func (s *Slapd) Add(dn string, attributes map[string][]string) {
	s.t.Helper()
	s.Do(func(c *goldap.Conn) error {
		a := goldap.NewAddRequest(dn, nil)
		for name, values := range attributes {
			a.Attribute(name, values)
		}
		return c.Add(a)
	})
}

// AddPerson adds somebody with the usual password.
func (s *Slapd) AddPerson(uid, mail string) {
	s.t.Helper()
	s.Add(Person(uid), map[string][]string{
		"objectClass": {"inetOrgPerson"}, "uid": {uid}, "cn": {uid}, "sn": {uid}, "mail": {mail}, "userPassword": {uid + "-secret"},
	})
}

// Remove removes entries.
func (s *Slapd) Remove(dns ...string) {
	s.t.Helper()
	s.Do(func(c *goldap.Conn) error {
		for _, dn := range dns {
			if err := c.Del(goldap.NewDelRequest(dn, nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveAtOnce removes entries while the server is stopped, so that a client
// sees all of them or none.
func (s *Slapd) RemoveAtOnce(dns ...string) {
	s.t.Helper()
	var changes strings.Builder
	for _, dn := range dns {
		fmt.Fprintf(&changes, "dn: %s\nchangetype: delete\n\n", dn)
	}
	file := s.File("changes.ldif", changes.String())
	s.Stop()
	if out, err := exec.Command(s.path, "-T", "modify", "-f", s.Conf, "-l", file).CombinedOutput(); err != nil {
		s.t.Fatalf("slapmodify: %v\n%s", err, out)
	}
	s.Start()
}

// Subject returns the entryUUID of an entry, read as root.
func (s *Slapd) Subject(dn string) string {
	s.t.Helper()
	var id string
	s.Do(func(c *goldap.Conn) error {
		res, err := c.Search(goldap.NewSearchRequest(dn, goldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"entryUUID"}, nil))
		if err == nil {
			id = res.Entries[0].GetAttributeValue("entryUUID")
		}
		return err
	})
	return strings.ToLower(id)
}

// Subjects maps the uid of each person that filter finds to the person's entryUUID.
func (s *Slapd) Subjects(filter string) map[string]string {
	s.t.Helper()
	subjects := map[string]string{}
	s.Do(func(c *goldap.Conn) error {
		res, err := c.Search(goldap.NewSearchRequest(Base, goldap.ScopeWholeSubtree, 0, 0, 0, false, filter, []string{"uid", "entryUUID"}, nil))
		if err == nil {
			for _, e := range res.Entries {
				subjects[e.GetAttributeValue("uid")] = strings.ToLower(e.GetAttributeValue("entryUUID"))
			}
		}
		return err
	})
	return subjects
}

// Move gives an entry another DN.
func (s *Slapd) Move(from, to string) {
	s.t.Helper()
	rdn, parent, _ := strings.Cut(to, ",")
	s.Do(func(c *goldap.Conn) error { return c.ModifyDN(goldap.NewModifyDNRequest(from, rdn, true, parent)) })
}
