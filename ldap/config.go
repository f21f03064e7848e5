package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// usernameMark is the placeholder in Config.Filter. The typed name, escaped, replaces it.
const usernameMark = "{username}"

// Secret is a string that no log and no error shows.
type Secret string

const redacted = "[redacted]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Config is the [ldap] section of the configuration file, already parsed. New reads its
// files, with the functions that the caller gives.
type Config struct {
	URLs             []string // ldaps:// or ldap://, tried in order
	StartTLS         bool     // on the ldap:// ones; never skipped when it fails
	Insecure         bool     // allows ldap:// without TLS; never skips a certificate check
	CAFile           string   // PEM; instead of the system's authorities
	BindDN           string   // the service account; empty: search anonymously
	BindPassword     Secret
	BindPasswordFile string // instead of BindPassword
	BaseDN           string
	Filter           string        // default (uid={username})
	UIDAttribute     string        // default mail
	IDAttribute      string        // default entryUUID
	RequiredGroup    string        // DN; empty: everybody under BaseDN
	Timeout          time.Duration // for a whole login; default 5 s

	ReadFile   func(file string) ([]byte, error) // reads CAFile
	ReadSecret func(file string) (string, error) // reads BindPasswordFile, a secret on a single line

	Now func() time.Time // default time.Now; the clock of penalties and of expired accounts
}

// WithDefaults returns the configuration with the defaults filled in, as New uses it.
func (c Config) WithDefaults() Config {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Filter, "(uid={username})")
	set(&c.UIDAttribute, "mail")
	set(&c.IDAttribute, "entryUUID")
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Fault says what is wrong with a setting. The message names the setting.
type Fault struct {
	setting string
	err     error
}

func (f *Fault) Error() string { return "ldap: " + f.err.Error() }
func (f *Fault) Unwrap() error { return f.err }

// Setting is the key of the setting in the configuration file.
func (f *Fault) Setting() string { return "ldap." + f.setting }

// Validate returns every error in c, in whole sentences. It opens no file and no
// connection. Empty settings that have a default are valid.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	bad := func(setting, format string, args ...any) {
		errs = append(errs, &Fault{setting, fmt.Errorf(format, args...)})
	}

	if len(c.URLs) == 0 {
		bad("urls", "urls is empty: name at least one server, such as ldaps://ldap.example.com")
	}
	for _, raw := range c.URLs {
		s, err := newServer(raw)
		switch {
		case err != nil:
			bad("urls", "%w", err)
		case !s.tls && !c.StartTLS && !c.Insecure:
			bad("urls", "urls: %s would send passwords in plain text: use ldaps://, or set start_tls = true (or, for a test, insecure = true)", raw)
		}
	}
	if c.BaseDN == "" {
		bad("base_dn", "base_dn is empty: name the entry that contains the people, such as ou=people,dc=example,dc=org")
	} else if dn, err := goldap.ParseDN(c.BaseDN); err != nil || len(dn.RDNs) == 0 {
		bad("base_dn", "base_dn %q is not a distinguished name", c.BaseDN)
	}
	if c.RequiredGroup != "" {
		if dn, err := goldap.ParseDN(c.RequiredGroup); err != nil || len(dn.RDNs) == 0 {
			bad("required_group", "required_group %q is not a distinguished name", c.RequiredGroup)
		}
	}
	if err := validFilter(c.Filter); err != nil {
		bad("filter", "%w", err)
	}
	description := regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)$`) // RFC 4512, section 2.5
	for _, a := range [...]struct{ setting, name string }{{"uid_attribute", c.UIDAttribute}, {"id_attribute", c.IDAttribute}} {
		if !description.MatchString(a.name) {
			bad(a.setting, "%s %q is not the name of an attribute", a.setting, a.name)
		}
	}
	switch hasPassword := c.BindPassword != "" || c.BindPasswordFile != ""; {
	case c.BindPassword != "" && c.BindPasswordFile != "":
		bad("bind_password_file", "the password of bind_dn is given twice: keep only bind_password_file")
	case c.BindDN != "" && !hasPassword:
		bad("bind_dn", "bind_dn is set and bind_password_file is not: an empty password would search anonymously without saying so")
	case c.BindDN == "" && hasPassword:
		bad("bind_password_file", "bind_password_file is set and bind_dn is not: name the account that the password is for")
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		bad("timeout", "timeout %s is not between 100ms and 1m", c.Timeout)
	}
	return errors.Join(errs...)
}

// validFilter checks that a typed name can only ever become part of a value,
// never of an attribute or an operator.
func validFilter(filter string) error {
	if !strings.Contains(filter, usernameMark) {
		return fmt.Errorf("filter %q does not contain %s, which stands for the name", filter, usernameMark)
	}
	pieces := strings.Split(filter, usernameMark)
	before := ""
	for _, piece := range pieces[:len(pieces)-1] {
		before += piece
		clause := before[strings.LastIndexByte(before, '(')+1:]
		if !strings.Contains(clause, "=") {
			return fmt.Errorf("filter %q has %s outside a value", filter, usernameMark)
		}
		before += usernameMark
	}
	if _, err := goldap.CompileFilter(strings.ReplaceAll(filter, usernameMark, "name")); err != nil {
		return fmt.Errorf("filter %q is not an LDAP filter: %w", filter, err)
	}
	return nil
}

// newServer parses one of Config.URLs.
func newServer(raw string) (*server, error) {
	if strings.Contains(raw, "@") {
		// Not echoed: it may hold a password.
		return nil, errors.New("a url contains a user or a password: put them in bind_dn and bind_password_file")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("url %q is not a URL", raw)
	}
	port := map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme]
	switch {
	case port == "":
		return nil, fmt.Errorf("url %q begins with neither ldaps:// nor ldap://", raw)
	case u.Hostname() == "":
		return nil, fmt.Errorf("url %q names no host", raw)
	case u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("url %q has more than a host and a port: the rest belongs in base_dn and filter", raw)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("url %q has no valid port", raw)
		}
		port = p
	}
	return &server{
		url:  u.Scheme + "://" + u.Host,
		host: u.Hostname(),
		addr: net.JoinHostPort(u.Hostname(), port),
		tls:  u.Scheme == "ldaps",
	}, nil
}

// readPassword fills BindPassword from BindPasswordFile.
func (c *Config) readPassword() error {
	if c.BindPasswordFile == "" {
		return nil
	}
	password, err := c.ReadSecret(c.BindPasswordFile)
	if err != nil {
		return &Fault{"bind_password_file", fmt.Errorf("bind_password_file: %w", err)}
	}
	c.BindPassword = Secret(password)
	return nil
}

// tls returns the TLS configuration of all servers, except for the name to verify, which
// differs between them.
func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := c.ReadFile(c.CAFile)
	if err != nil {
		return nil, &Fault{"ca_file", fmt.Errorf("ca_file: %w", err)}
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, &Fault{"ca_file", fmt.Errorf("ca_file %s contains no PEM certificate", c.CAFile)}
	}
	return t, nil
}
