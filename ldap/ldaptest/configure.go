package ldaptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// File writes a file beside the server's own.
func (s *Slapd) File(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *Slapd) configure() {
	s.t.Helper()
	tls := ""
	if !s.noTLS {
		ca := NewAuthority(s.t)
		s.CA = s.File("ca.pem", ca.PEM)
		cert, key := ca.Issue(s.t, "127.0.0.1")
		tls = fmt.Sprintf("TLSCertificateFile %s\nTLSCertificateKeyFile %s\n", s.File("cert.pem", cert), s.File("key.pem", key))
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "db"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.File("families.schema", s.testdata("families.schema"))
	s.Conf = s.File("slapd.conf", `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include `+s.dir+`/families.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload memberof
pidfile `+s.dir+`/pid
argsfile `+s.dir+`/args
`+tls+`
database mdb
suffix "`+Base+`"
rootdn "`+Admin+`"
rootpw `+AdminPassword+`
directory `+s.dir+`/db
dbnosync
index objectClass,uid,mail,entryUUID,member eq
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="`+Reader+`" read by anonymous auth by * none
`+s.database+`
overlay ppolicy
ppolicy_default "cn=default,ou=policies,`+Base+`"
ppolicy_use_lockout
overlay memberof
`)
}

// load fills the database with the people of testdata.
func (s *Slapd) load() {
	s.t.Helper()
	file := s.File("people.ldif", s.testdata("people.ldif")+s.people)
	cmd := exec.Command(s.path, "-T", "add", "-q", "-f", s.Conf, "-l", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("slapadd: %v\n%s", err, out)
	}
}

// testdata reads a file of testdata/ldap, for a test in any package of the module.
func (s *Slapd) testdata(name string) string {
	s.t.Helper()
	dir := "."
	for exists := false; !exists; {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if exists = err == nil; !exists {
			dir = filepath.Join(dir, "..")
		}
		if len(dir) > 100 {
			s.t.Fatal("there is no go.mod above the directory of the test")
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "testdata", "ldap", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}
