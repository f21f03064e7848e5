// Package ldaptest runs OpenLDAP's slapd for tests, with TLS, a password policy,
// the memberof overlay and the people of testdata/ldap/people.ldif. It is a real
// server: what it accepts, folds, locks and forgets is what is met in the field.
package ldaptest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

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

// Person is the DN of somebody who is named by uid.
func Person(uid string) string { return "uid=" + uid + "," + People }

// T is the part of testing.TB that is used, so that a script can be one too.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skip(args ...any)
	TempDir() string
	Cleanup(func())
}

// Slapd is a running server, or one that is stopped for a while.
type Slapd struct {
	Addr    string // 127.0.0.1:port, of ldap://
	TLSAddr string // of ldaps://
	CA      string // the file with the authority of its certificate
	Conf    string // slapd.conf, read at each Start

	t        T
	path     string
	dir      string
	noTLS    bool
	database string // more lines of the section
	people   string // more entries, in LDIF
	cmd      *exec.Cmd
	log      log
}

// Option changes a server before it starts.
type Option func(*Slapd)

// WithoutTLS leaves it with plain text alone.
func WithoutTLS(s *Slapd) { s.noTLS = true }

// InDatabase adds lines to the section of the database.
func InDatabase(lines string) Option {
	return func(s *Slapd) { s.database += lines + "\n" }
}

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

// Start runs a server until the test ends. Where slapd is missing the test is
// skipped, and in CI it fails.
func Start(t T, options ...Option) *Slapd {
	t.Helper()
	s := &Slapd{t: t, path: find(t), dir: t.TempDir()}
	for _, o := range options {
		o(s)
	}
	s.configure()
	s.load()
	s.Start()
	t.Cleanup(s.Stop)
	// Over LDAP, since only then does the memberof overlay see it.
	s.Add(Staff, map[string][]string{
		"objectClass": {"groupOfNames"}, "cn": {"staff"}, "member": {Person("alice"), `cn=Zoë\, née Müller,` + People},
	})
	return s
}

func find(t T) string {
	t.Helper()
	for _, path := range []string{"slapd", "/usr/sbin/slapd", "/usr/local/libexec/slapd"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	const missing = "slapd is missing: install Debian's package slapd"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

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
	s.Conf = s.File("slapd.conf", `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/msuser.schema
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
	data, err := os.ReadFile(filepath.Join(dir, "testdata", "ldap", "people.ldif"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.path, "-T", "add", "-q", "-f", s.Conf, "-l", s.File("people.ldif", string(data)+s.people))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("slapadd: %v\n%s", err, out)
	}
}

// FreePort returns an address that nobody listens on. It is below the ports that
// the kernel gives out by itself: one of those may be another test's connection
// by the time that it is used.
func FreePort(t T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000)))
		if err == nil {
			l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// Start runs a stopped server again, on the ports it had, and waits until it
// answers.
func (s *Slapd) Start() {
	s.t.Helper()
	if s.Addr == "" {
		s.Addr, s.TLSAddr = FreePort(s.t), FreePort(s.t)
	}
	listen := "ldap://" + s.Addr
	if !s.noTLS {
		listen += " ldaps://" + s.TLSAddr
	}
	s.cmd = exec.Command(s.path, "-f", s.Conf, "-h", listen, "-d", "stats")
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Stop()
	s.t.Fatalf("slapd does not answer:\n%s", s.Log())
}

// Stop kills the server, also one that is halted.
func (s *Slapd) Stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// Signal sends the server a signal.
func (s *Slapd) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	if sig == syscall.SIGSTOP {
		s.halted()
	}
}

// halted waits until every thread of the server has stopped: the signal is sent
// before that, and one more answer could come (proc_pid_stat(5): state T).
func (s *Slapd) halted() {
	for range 1000 {
		running := false
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			_, state, _ := strings.Cut(string(b), ") ")
			running = running || err == nil && !strings.HasPrefix(state, "T")
		}
		if !running {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// settle waits until the log has what the server wrote before now: it comes
// through a pipe, in order, but later than the answers. A stopped server writes
// no more.
func (s *Slapd) settle() {
	c, err := goldap.DialURL("ldap://"+s.Addr, goldap.DialWithDialer(&net.Dialer{Timeout: time.Second}))
	if err != nil {
		return
	}
	defer c.Close()
	c.SetTimeout(5 * time.Second)
	mark := fmt.Sprintf("(uid=mark-%d)", rand.Uint64())
	if _, err := c.Search(goldap.NewSearchRequest(People, goldap.ScopeBaseObject, 0, 0, 0, false, mark, nil, nil)); err != nil && goldap.IsErrorWithCode(err, goldap.ErrorNetwork) {
		return
	}
	for range 1000 {
		if strings.Contains(s.Log(), mark) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Log is what the server has written: a line for each operation.
func (s *Slapd) Log() string { return s.log.String() }

// Binds counts the binds of dn so far, the refused ones too.
func (s *Slapd) Binds(dn string) int {
	s.settle()
	return strings.Count(s.Log(), `BIND dn="`+dn+`" method=128`)
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

// Modify replaces the values of an attribute; without values it goes.
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

// Subject is somebody's entryUUID, read as root.
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

// Subjects maps the uid of those whom filter finds to their entryUUID.
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

// log is what slapd writes while a test reads it.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
