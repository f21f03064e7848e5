package ldap

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const (
	base     = ldaptest.Base
	peopleDN = ldaptest.People
	readerDN = ldaptest.Reader
	adminDN  = ldaptest.Admin
	alice    = "uid=alice," + peopleDN
	staff    = ldaptest.Staff
)

// slapd is a real server with the people of testdata.
type slapd struct {
	*ldaptest.Slapd
	t     testing.TB
	plain bool
}

func startSlapd(t testing.TB, options ...ldaptest.Option) *slapd {
	t.Helper()
	s := ldaptest.Start(t, options...)
	return &slapd{s, t, s.CA == ""}
}

// roomy is a time-out that a directory which answers never reaches, however busy the
// machine is.
const roomy = time.Minute

// config is right for s, over ldaps.
func (s *slapd) config() Config {
	c := Config{
		URLs:         []string{"ldaps://" + s.TLSAddr},
		CAFile:       s.CA,
		BindDN:       readerDN,
		BindPassword: ldaptest.ReaderPassword,
		BaseDN:       peopleDN,
		Timeout:      roomy,
		ReadFile:     os.ReadFile,
	}
	if s.plain {
		c.URLs, c.Insecure = []string{"ldap://" + s.Addr}, true
	}
	return c
}

func open(t testing.TB, c Config) *Directory {
	t.Helper()
	d := must.Get(New(c, slog.New(slog.NewTextHandler(io.Discard, nil))))(t)
	t.Cleanup(func() { d.Close() })
	return d
}

func openLogged(t testing.TB, c Config) (*Directory, *storagetest.Log) {
	t.Helper()
	l := new(storagetest.Log)
	d := must.Get(New(c, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))))(t)
	t.Cleanup(func() { d.Close() })
	return d, l
}

func TestMain(m *testing.M) {
	boundPackets() // before any helper reads a packet
	os.Exit(m.Run())
}

// Login is Find and Authenticate, together within Config.Timeout, as a server calls them.
func (d *Directory) Login(ctx context.Context, name, password string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	e, err := d.Find(ctx, name)
	if err != nil {
		return Entry{}, err
	}
	return d.Authenticate(ctx, e, password)
}
