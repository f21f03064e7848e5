package ldap

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

func TestValidate(t *testing.T) {
	good := Config{URLs: []string{"ldaps://ldap.example.com"}, BaseDN: peopleDN}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   []string // parts of the message; none: valid
	}{
		{"as it is", func(c *Config) {}, nil},
		{"port", func(c *Config) { c.URLs = []string{"ldaps://ldap.example.com:1636/"} }, nil},
		{"IPv6", func(c *Config) { c.URLs = []string{"ldaps://[::1]:636"} }, nil},
		{"starttls", func(c *Config) { c.URLs, c.StartTLS = []string{"ldap://a", "ldaps://b"}, true }, nil},
		{"insecure", func(c *Config) { c.URLs, c.Insecure = []string{"ldap://a"}, true }, nil},
		{"service account", func(c *Config) { c.BindDN, c.BindPassword = `CORP\reader`, "x" }, nil},
		{"filter", func(c *Config) { c.Filter = "(|(sAMAccountName={username})(userPrincipalName={username}))" }, nil},
		{"no urls", func(c *Config) { c.URLs = nil }, []string{"urls is empty"}},
		{"plain", func(c *Config) { c.URLs = []string{"ldaps://a", "ldap://b"} }, []string{"ldap://b", "plain text", "start_tls = true"}},
		{"http", func(c *Config) { c.URLs = []string{"http://a"} }, []string{"neither ldaps:// nor ldap://"}},
		{"ldapi", func(c *Config) { c.URLs = []string{"ldapi://%2frun%2fldapi"} }, []string{"url"}},
		{"no scheme", func(c *Config) { c.URLs = []string{"ldap.example.com"} }, []string{"neither"}},
		{"no host", func(c *Config) { c.URLs = []string{"ldaps://:636"} }, []string{"names no host"}},
		{"bad port", func(c *Config) { c.URLs = []string{"ldaps://a:99999"} }, []string{"port"}},
		{"search url", func(c *Config) { c.URLs = []string{"ldaps://a/dc=example"} }, []string{"base_dn"}},
		{"query", func(c *Config) { c.URLs = []string{"ldaps://a/?mail"} }, []string{"base_dn"}},
		{"no base", func(c *Config) { c.BaseDN = "" }, []string{"base_dn is empty"}},
		{"bad base", func(c *Config) { c.BaseDN = "example.org" }, []string{"base_dn", "distinguished name"}},
		{"bad group", func(c *Config) { c.RequiredGroup = "staff" }, []string{"required_group"}},
		{"filter without name", func(c *Config) { c.Filter = "(uid=alice)" }, []string{"does not contain {username}"}},
		{"broken filter", func(c *Config) { c.Filter = "(uid={username}" }, []string{"not an LDAP filter"}},
		{"bare filter", func(c *Config) { c.Filter = "uid={username}" }, []string{"not an LDAP filter"}},
		{"name in the attribute", func(c *Config) { c.Filter = "({username}=x)" }, []string{"outside a value"}},
		{"name as the filter", func(c *Config) { c.Filter = "(&(uid=x){username})" }, []string{"not an LDAP filter"}},
		{"bad uid_attribute", func(c *Config) { c.UIDAttribute = "mail)(uid=*" }, []string{"uid_attribute"}},
		{"bad id_attribute", func(c *Config) { c.IDAttribute = "*" }, []string{"id_attribute"}},
		{"no password", func(c *Config) { c.BindDN = readerDN }, []string{"bind_password_file is not"}},
		{"no account", func(c *Config) { c.BindPassword = "x" }, []string{"bind_dn is not"}},
		{"two passwords", func(c *Config) { c.BindDN, c.BindPassword, c.BindPasswordFile = readerDN, "x", "y" }, []string{"twice"}},
		{"short timeout", func(c *Config) { c.Timeout = time.Millisecond }, []string{"timeout"}},
		{"long timeout", func(c *Config) { c.Timeout = time.Hour }, []string{"timeout"}},
		{"negative timeout", func(c *Config) { c.Timeout = -1 }, []string{"timeout"}},
		{"all at once", func(c *Config) { *c = Config{Filter: "x"} }, []string{"urls", "base_dn", "filter"}},
	} {
		c := good
		test.change(&c)
		err := c.Validate()
		if (err == nil) != (test.want == nil) || (err != nil && !has(err.Error(), test.want...)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestPasswordInURL(t *testing.T) {
	for _, url := range []string{"ldaps://reader:hunter2@a", "ldaps://reader:hunter2@a:bad port", "reader:hunter2@a", "ldap://a/hunter2@"} {
		c := Config{URLs: []string{url}, BaseDN: peopleDN}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}

// TestFiles: New reads what the configuration names with the functions it is given,
// and says which setting their errors are about.
func TestFiles(t *testing.T) {
	base := Config{
		URLs: []string{"ldaps://a"}, BaseDN: peopleDN,
		ReadSecret: func(file string) (string, error) {
			if file != "good" {
				return "", errors.New("no secret in it")
			}
			return "hunter2 ", nil
		},
		ReadFile: func(file string) ([]byte, error) {
			if file != "text" {
				return nil, errors.New("no file there")
			}
			return []byte("not PEM"), nil
		},
	}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   []string // of the error; none: the password is "hunter2 "
	}{
		{"a password", func(c *Config) { c.BindDN, c.BindPasswordFile = readerDN, "good" }, nil},
		{"no password", func(c *Config) { c.BindDN, c.BindPasswordFile = readerDN, "bad" }, []string{"bind_password_file: ", "no secret in it"}},
		{"no authority", func(c *Config) { c.CAFile = "none" }, []string{"ca_file: ", "no file there"}},
		{"not PEM", func(c *Config) { c.CAFile = "text" }, []string{"ca_file", "no PEM certificate"}},
	} {
		c := base
		test.change(&c)
		d, err := New(c, slog.New(slog.DiscardHandler))
		switch {
		case test.want == nil && (err != nil || d.cfg.BindPassword != "hunter2 "):
			t.Errorf("%s: got %v", test.name, err)
		case test.want != nil && (err == nil || !has(err.Error(), test.want...)):
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// No way of printing a configuration shows the password.
func TestSecret(t *testing.T) {
	c := Config{BindPassword: "hunter2"}
	asJSON := must.Get(json.Marshal(c.BindPassword))(t)
	var log storagetest.Log
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", c.BindPassword)
	for _, s := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%s %q %x", c.BindPassword, c.BindPassword, c.BindPassword), string(asJSON), log.String(),
	} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74657232") {
			t.Errorf("shows it: %s", s)
		}
	}
}

func TestAnybody(t *testing.T) {
	for filter, want := range map[string]string{
		"(uid={username})": "(uid=*)",
		"(&(|(uid={username})(mail={username}@example.org))(status=active))": "(&(|(uid=*)(mail=*@example.org))(status=active))",
		"(uid:caseExactMatch:={username})":                                   "",
		"(uid>={username})":                                                  "",
		"(&(memberOf:1.2.840.113556.1.4.1941:=cn=x)(uid={username}))":        "(&(memberOf:1.2.840.113556.1.4.1941:=cn=x)(uid=*))",
	} {
		if got := anybody(filter); got != want {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
}
