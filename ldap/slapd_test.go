package ldap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	base      = "dc=example,dc=org"
	peopleDN  = "ou=people," + base
	readerDN  = "cn=reader," + base
	adminDN   = "cn=admin," + base
	alice     = "uid=alice," + peopleDN
	zoe       = `cn=Zoë\, née Müller,` + peopleDN
	staff     = "cn=staff,ou=groups," + base
	adminPass = "admin-secret"
)

// slapdPath finds OpenLDAP's server. On a bare laptop a test without it is
// skipped; in CI it fails.
func slapdPath(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"slapd", "/usr/sbin/slapd", "/usr/local/libexec/slapd"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("slapd is missing: install Debian's package slapd")
	}
	t.Skip("slapd is missing: install Debian's package slapd")
	return ""
}

// slapd is a real server with the people of testdata.
type slapd struct {
	t        testing.TB
	path     string
	dir      string
	ldap     string // 127.0.0.1:port
	ldaps    string
	cmd      *exec.Cmd
	log      bytes.Buffer
	ca       string // file
	conf     string
	noTLS    bool
	database string // more lines for the database section
	global   string
}

type option func(*slapd)

func withoutTLS(s *slapd) { s.noTLS = true }
func inDatabase(lines string) option {
	return func(s *slapd) { s.database += lines + "\n" }
}

func startSlapd(t testing.TB, options ...option) *slapd {
	t.Helper()
	s := &slapd{t: t, path: slapdPath(t), dir: t.TempDir()}
	for _, o := range options {
		o(s)
	}
	s.configure()
	s.load("../testdata/ldap/people.ldif")
	s.start()
	t.Cleanup(s.stop)
	s.add(staff, map[string][]string{
		"objectClass": {"groupOfNames"}, "cn": {"staff"}, "member": {alice, zoe},
	})
	return s
}

func (s *slapd) file(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *slapd) configure() {
	s.t.Helper()
	tls := ""
	if !s.noTLS {
		ca := newAuthority(s.t)
		s.ca = s.file("ca.pem", ca.pem)
		cert, key := ca.issue(s.t, "127.0.0.1")
		tls = fmt.Sprintf("TLSCertificateFile %s\nTLSCertificateKeyFile %s\n", s.file("cert.pem", cert), s.file("key.pem", key))
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "db"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.conf = s.file("slapd.conf", `
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
`+tls+s.global+`
database mdb
suffix "`+base+`"
rootdn "`+adminDN+`"
rootpw `+adminPass+`
directory `+s.dir+`/db
dbnosync
index objectClass,uid,mail,entryUUID,member eq
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="`+readerDN+`" read by anonymous auth by * none
`+s.database+`
overlay ppolicy
ppolicy_default "cn=default,ou=policies,`+base+`"
ppolicy_use_lockout
overlay memberof
`)
}

// load fills the database. The group of the memberof overlay comes later, over
// LDAP, since only then does the overlay see it.
func (s *slapd) load(path string) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.path, "-T", "add", "-q", "-f", s.conf, "-l", s.file("people.ldif", string(data)))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("slapadd: %v\n%s", err, out)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs slapd, on the ports it had before, and waits until it answers.
func (s *slapd) start() {
	s.t.Helper()
	if s.ldap == "" {
		s.ldap, s.ldaps = freePort(s.t), freePort(s.t)
	}
	listen := "ldap://" + s.ldap
	if !s.noTLS {
		listen += " ldaps://" + s.ldaps
	}
	s.cmd = exec.Command(s.path, "-f", s.conf, "-h", listen, "-d", "none")
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if c, err := net.Dial("tcp", s.ldap); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.stop()
	s.t.Fatalf("slapd does not answer:\n%s", s.log.String())
}

func (s *slapd) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

func (s *slapd) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// admin changes the directory as its root.
func (s *slapd) admin(change func(*goldap.Conn) error) {
	s.t.Helper()
	c, err := goldap.DialURL("ldap://" + s.ldap)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind(adminDN, adminPass); err != nil {
		s.t.Fatal(err)
	}
	if err := change(c); err != nil {
		s.t.Fatal(err)
	}
}

func (s *slapd) modify(dn, attribute string, values ...string) {
	s.t.Helper()
	s.admin(func(c *goldap.Conn) error {
		m := goldap.NewModifyRequest(dn, nil)
		m.Replace(attribute, values)
		return c.Modify(m)
	})
}

func (s *slapd) add(dn string, attributes map[string][]string) {
	s.t.Helper()
	s.admin(func(c *goldap.Conn) error {
		a := goldap.NewAddRequest(dn, nil)
		for name, values := range attributes {
			a.Attribute(name, values)
		}
		return c.Add(a)
	})
}

func (s *slapd) remove(dn string) {
	s.t.Helper()
	s.admin(func(c *goldap.Conn) error { return c.Del(goldap.NewDelRequest(dn, nil)) })
}

// config is right for s, over ldaps.
func (s *slapd) config() Config {
	c := Config{
		URLs:         []string{"ldaps://" + s.ldaps},
		CAFile:       s.ca,
		BindDN:       readerDN,
		BindPassword: "reader-secret",
		BaseDN:       peopleDN,
		Timeout:      5 * time.Second,
	}
	if s.noTLS {
		c.URLs, c.Insecure = []string{"ldap://" + s.ldap}, true
	}
	return c
}

func open(t testing.TB, c Config) *Directory {
	t.Helper()
	d, err := New(c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// logged is a log to look into.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func openLogged(t testing.TB, c Config) (*Directory, *logged) {
	t.Helper()
	l := new(logged)
	d, err := New(c, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, l
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue makes a server's certificate for an address or a name.
func (a *authority) issue(t testing.TB, host string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: host},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// subjectOf is somebody's entryUUID, read as root.
func (s *slapd) subjectOf(dn string) string {
	s.t.Helper()
	var id string
	s.admin(func(c *goldap.Conn) error {
		res, err := c.Search(goldap.NewSearchRequest(dn, goldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"entryUUID"}, nil))
		if err == nil {
			id = res.Entries[0].GetAttributeValue("entryUUID")
		}
		return err
	})
	return strings.ToLower(id)
}

func TestMain(m *testing.M) {
	boundPackets() // before any helper reads a packet
	os.Exit(m.Run())
}
