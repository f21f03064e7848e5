package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Config is the configuration file. The zero value of a field stands for its
// default; DefaultConfig has the defaults filled in.
type Config struct {
	Listen         string         `toml:"listen"`
	PublicURL      string         `toml:"public_url"`
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
	KeyFile        string         `toml:"key_file"`
	TLS            TLSConfig      `toml:"tls"`
	Tokens         TokenConfig    `toml:"tokens"`
	Logins         LoginConfig    `toml:"logins"`
	LDAP           *LDAPConfig    `toml:"ldap"` // nil: not configured

	OAuth map[string]OAuthConfig `toml:"oauth"` // by the provider's name
}

// TLSConfig names the certificate and its key, in PEM files.
type TLSConfig struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// TokenConfig is the policy for API access tokens.
type TokenConfig struct {
	Reveal          bool     `toml:"reveal"`
	MaxPerUser      int      `toml:"max_per_user"`
	DefaultLifetime Lifetime `toml:"default_lifetime"`
	MaxLifetime     Lifetime `toml:"max_lifetime"`
	RevokeIdleAfter Lifetime `toml:"revoke_idle_after"`
}

// LoginConfig says how many refused logins are too many.
type LoginConfig struct {
	AccountFailures int `toml:"account_failures"` // in a row
	AddressFailures int `toml:"address_failures"` // a minute
}

// DefaultConfig is the configuration without a file.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		Tokens: TokenConfig{Reveal: true, MaxPerUser: 1000},
		Logins: LoginConfig{AccountFailures: 5, AddressFailures: 100},
	}
}

// LoadConfig reads a configuration file over the defaults. An error names the
// key and the line.
func LoadConfig(file string) (Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	cfg, err := parseConfig(f)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", file, err)
	}
	return cfg, nil
}

func parseConfig(r io.Reader) (Config, error) {
	cfg := DefaultConfig()
	b, err := io.ReadAll(r)
	if err != nil {
		return cfg, err
	}
	err = toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&cfg)
	if strict := (*toml.StrictMissingError)(nil); errors.As(err, &strict) {
		var lines []string
		for _, e := range strict.Errors {
			line, _ := e.Position()
			lines = append(lines, fmt.Sprintf("line %d: unknown key %s", line, strings.Join(e.Key(), ".")))
		}
		return cfg, errors.New(strings.Join(lines, "; "))
	}
	if wrong := (*toml.DecodeError)(nil); errors.As(err, &wrong) {
		line, _ := wrong.Position()
		message := strings.TrimPrefix(wrong.Error(), "toml: ")
		if k := strings.Join(wrong.Key(), "."); k != "" {
			return cfg, fmt.Errorf("line %d: %s: %s", line, k, message)
		}
		return cfg, fmt.Errorf("line %d: %s", line, message)
	}
	if err != nil {
		return cfg, placeNumber(b, err)
	}
	return cfg, cfg.Check()
}

// placeNumber finds the number that stands where a span of time belongs: of
// that alone the decoder does not say where it is.
func placeNumber(config []byte, err error) error {
	var texts struct {
		Tokens struct {
			Default string `toml:"default_lifetime"`
			Max     string `toml:"max_lifetime"`
			Idle    string `toml:"revoke_idle_after"`
		} `toml:"tokens"`
		LDAP struct {
			Recheck string `toml:"recheck"`
			Timeout string `toml:"timeout"`
		} `toml:"ldap"`
	}
	if wrong := (*toml.DecodeError)(nil); errors.As(toml.Unmarshal(config, &texts), &wrong) {
		line, _ := wrong.Position()
		return fmt.Errorf("line %d: %s: %w", line, strings.Join(wrong.Key(), "."), err)
	}
	return err
}

// Check returns an error that names the first setting that can't be.
func (c Config) Check() error {
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.TrimSuffix(c.PublicURL[len(u.Scheme):], "/") != "://"+u.Host {
			return fmt.Errorf("public_url: %q is not like https://tokens.example.com", c.PublicURL)
		}
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		return fmt.Errorf("listen: %q is not like 127.0.0.1:8080", c.Listen)
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() || p.Addr().Is4In6() { // as which no client is ever seen
			return fmt.Errorf("trusted_proxies: %q is not like 10.0.0.0/8", p)
		}
	}
	switch {
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return errors.New("tls: cert and key go together")
	case c.Tokens.MaxPerUser < 1 || c.Tokens.MaxPerUser > 1_000_000:
		return errors.New("tokens.max_per_user: from 1 to 1000000")
	case c.Tokens.MaxLifetime.Ends() && c.Tokens.DefaultLifetime.Duration > c.Tokens.MaxLifetime.Duration:
		return errors.New("tokens.default_lifetime: is longer than tokens.max_lifetime")
	case c.Logins.AccountFailures < 1 || c.Logins.AccountFailures > 1000:
		return errors.New("logins.account_failures: from 1 to 1000")
	case c.Logins.AddressFailures < 1 || c.Logins.AddressFailures > 60_000:
		return errors.New("logins.address_failures: from 1 to 60000")
	}
	if c.LDAP != nil {
		if err := c.LDAP.check(); err != nil {
			return err
		}
	}
	return c.checkOAuth()
}

// CheckFiles says whether the files that the configuration names can be used,
// but for the key, which is the store's. It asks no directory and no provider.
func (c Config) CheckFiles() error {
	if c.TLS.Cert != "" {
		if _, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key); err != nil {
			return fmt.Errorf("tls: load the certificate: %w", err)
		}
	}
	d, err := openDirectory(c.LDAP, slog.New(slog.DiscardHandler))
	if d != nil {
		d.Close()
	}
	_, err2 := openProviders(c, 0, nil)
	return errors.Join(err, err2)
}

// secure reports whether browsers reach the server by https.
func (c Config) secure() bool {
	return c.TLS.Cert != "" || strings.HasPrefix(strings.ToLower(c.PublicURL), "https:")
}

// Lifetime is a span of time that may have no end, which is its zero value. It
// is a struct so that TOML takes no number for it.
type Lifetime struct{ time.Duration }

// Ends reports whether the span has an end.
func (l Lifetime) Ends() bool { return l.Duration != 0 }

func (l Lifetime) String() string {
	if !l.Ends() {
		return "never"
	}
	return spanText(l.Duration)
}

// UnmarshalText reads "never", or what ParseSpan reads.
func (l *Lifetime) UnmarshalText(b []byte) (err error) {
	l.Duration = 0
	if string(b) != "never" {
		l.Duration, err = ParseSpan(string(b))
	}
	return err
}
