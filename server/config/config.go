// Package config holds the configuration file: the types of its sections, their
// defaults, and everything that can be wrong with a setting.
//
// A file becomes settings in one sequence. Errors carry the file, the line and the key,
// and all errors of a step are reported at once:
//
//	Parse       text      -> every key and its line; unknown keys and wrong types
//	Check       settings  -> values that are out of range or contradict each other
//	CheckFiles  files     -> certificates, CA files and secrets that can't be read
//
// A running server then compares the settings in force with newer ones (Changed) and
// takes over those that it can change while it runs (Adopt).
//
// The package owns the grammar of what people write in the file: spans of time, sizes,
// scopes, addresses to listen on. Requests and command lines use the same parsers. It
// never connects to anything, never opens the store, and does not know the server.
package config

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"gatehouse/ldap"
	"gatehouse/server/textfile"
	"gatehouse/storage/record"
)

// Config contains the settings of a configuration file. [Default] returns the
// defaults; a field that it leaves at its zero value is off, or has its default there.
type Config struct {
	Listen         string         `toml:"listen"`
	PublicURL      string         `toml:"public_url"`
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
	KeyFile        string         `toml:"key_file"`
	TLS            TLS            `toml:"tls"`
	Log            Log            `toml:"log"`
	Metrics        Metrics        `toml:"metrics"`
	Gate           Gate           `toml:"gate"`
	Tokens         Tokens         `toml:"tokens"`
	Logins         Logins         `toml:"logins"`
	Limits         Limits         `toml:"limits"`
	Admin          Admin          `toml:"admin"`
	Audit          Audit          `toml:"audit"`
	Notify         Notify         `toml:"notify"`
	LDAP           *LDAP          `toml:"ldap"` // nil: not configured

	OAuth map[string]OAuth `toml:"oauth"` // by the provider's name

	doc  *document         // the file, to name a setting's line in errors; nil: without a file
	from map[string]string // what decided a setting, if not the file
}

// TLS names the certificate and its key, in PEM files.
type TLS struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// Load reads the certificate and its key. Both are read as text files: a byte-order
// mark at the beginning would hide the first certificate of a chain.
func (c TLS) Load() (tls.Certificate, error) {
	cert, err := textfile.Read(c.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := textfile.Read(c.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// Metrics says where the metrics are.
type Metrics struct {
	Listen string `toml:"listen"` // their own address; empty: they are on the main port
}

// Tokens is the policy for API access tokens.
type Tokens struct {
	KnownScopes     []string `toml:"known_scopes"` // none: any scope may be given to a token
	Reveal          bool     `toml:"reveal"`
	MaxPerUser      int      `toml:"max_per_user"` // 0: any number
	DefaultLifetime Lifetime `toml:"default_lifetime"`
	MaxLifetime     Lifetime `toml:"max_lifetime"`
	RevokeIdleAfter Lifetime `toml:"revoke_idle_after"`
}

// Logins says who may log in with a password kept here, and how many refused
// logins are too many.
type Logins struct {
	Local           bool `toml:"local"`
	AccountFailures int  `toml:"account_failures"` // in a row
	AddressFailures int  `toml:"address_failures"` // a minute
}

// Limits bounds what one client or user may take.
type Limits struct {
	Connections           int `toml:"connections"` // 0: what the limit of open files leaves room for
	ConnectionsPerAddress int `toml:"connections_per_address"`
	ChangesPerUser        int `toml:"changes_per_user"` // an hour; 0: no limit
}

// Default returns the configuration without a file.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		Log:    Log{Level: "info", Format: "text", Access: "off"},
		Tokens: Tokens{Reveal: true},
		Logins: Logins{Local: true, AccountFailures: 5, AddressFailures: 100},
		Limits: Limits{ConnectionsPerAddress: 1000, ChangesPerUser: 10_000},
		Audit:  Audit{Keep: Lifetime{400 * day}, MaxSize: Size{4 << 30}},
		Notify: Notify{BeforeExpiry: []Lifetime{{30 * day}, {7 * day}, {day}}},
	}
}

// Load reads a configuration file over the defaults. An error names the
// file, the key and the line.
func Load(file string) (Config, error) {
	b, err := textfile.Read(file)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(file, b)
}

// Parse reads the text of a configuration file over the defaults, and checks the settings
// (Check). Errors name the file.
func Parse(file string, text []byte) (cfg Config, err error) {
	cfg = Default()
	if cfg.doc, err = readDocument(file, text, &cfg); err != nil {
		return cfg, err
	}
	err = toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&cfg)
	if err != nil && !(errors.As(err, new(*toml.StrictMissingError)) && len(cfg.doc.unknown) > 0) {
		return cfg, cfg.doc.decodeError(err)
	}
	cfg.doc.decoded = true
	return cfg, cfg.Check()
}

// Decoded reports whether all settings could be read, right or wrong. Then CheckFiles can
// say what else is wrong with them.
func (c Config) Decoded() bool { return c.doc != nil && c.doc.decoded }

// Check returns an error that lists all that is wrong with the settings, by file, line
// and key. It opens no file and connects to nothing; see CheckFiles.
func (c Config) Check() error { return c.doc.place(errors.Join(c.check()...)) }

func (c Config) check() (f faults) {
	if c.doc != nil {
		f = append(f, c.doc.unknown...)
	}
	c.checkAddresses(&f)
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		f.add("tls", "set both cert and key, or neither")
	}
	c.Log.check(&f)
	for _, scope := range c.Tokens.KnownScopes {
		if err := record.CheckScope(scope); err != nil {
			f.add("tokens.known_scopes", "%q: %w", scope, err)
		}
	}
	c.Gate.check(&f)
	c.Admin.check(&f)
	f.within("tokens.max_per_user", c.Tokens.MaxPerUser, 0, 1_000_000)
	f.within("limits.connections", c.Limits.Connections, 0, 1_000_000)
	f.within("limits.connections_per_address", c.Limits.ConnectionsPerAddress, 1, 1_000_000)
	f.within("limits.changes_per_user", c.Limits.ChangesPerUser, 0, 1_000_000_000)
	c.Audit.check(&f)
	c.Notify.check(&f)
	if c.Tokens.MaxLifetime.Ends() && c.Tokens.DefaultLifetime.Duration > c.Tokens.MaxLifetime.Duration {
		f.add("tokens.default_lifetime", "is longer than tokens.max_lifetime, %v", c.Tokens.MaxLifetime)
	}
	f.within("logins.account_failures", c.Logins.AccountFailures, 1, 1_000_000)
	f.within("logins.address_failures", c.Logins.AddressFailures, 1, 1_000_000)
	if c.LDAP != nil {
		c.LDAP.check(&f)
	}
	c.checkOAuth(&f)
	return f
}

func (c Config) checkAddresses(f *faults) {
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.TrimSuffix(c.PublicURL[len(u.Scheme):], "/") != "://"+u.Host {
			f.add("public_url", "%q is not a URL such as https://tokens.example.com", c.PublicURL)
		}
	}
	if err := CheckListen(c.Listen); err != nil {
		f.add("listen", "%w", err)
	}
	if c.Metrics.Listen != "" {
		if err := CheckListen(c.Metrics.Listen); err != nil {
			f.add("metrics.listen", "%w", err)
		}
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() || p.Addr().Is4In6() { // no client ever has such an address
			f.add("trusted_proxies", "%q is not a range of addresses such as 10.0.0.0/8", p)
		}
	}
}

// checkApart finds two settings with one address: only one of them could listen there. An
// empty host, 0.0.0.0 and :: mean every address of the machine.
func (c Config) checkApart(f *faults) {
	type address struct{ setting, text, host, port string }
	list := []address{{setting: "listen", text: c.Listen}, {setting: "metrics.listen", text: c.Metrics.Listen}, {setting: "gate.listen", text: c.Gate.Listen}}
	for i := range list {
		a := &list[i]
		host, port, err := net.SplitHostPort(a.text)
		number, unknown := net.LookupPort("tcp", port)
		if err != nil || unknown != nil || number == 0 {
			continue // not an address, a unix socket, or any free port
		}
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
			host = ""
		}
		a.host, a.port = strings.ToLower(host), strconv.Itoa(number)
		for _, b := range list[:i] {
			if a.port == b.port && (a.host == b.host || a.host == "" || b.host == "") {
				f.add(a.setting, "%q and %q can't both be in use: the other is %s (%s)", a.text, b.text, b.setting, c.source(b.setting))
			}
		}
	}
}

// CheckListen returns an error unless the text names where to listen.
func CheckListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil && port != "" {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return fmt.Errorf("%q is not an address such as 127.0.0.1:8080", address)
	}
	return nil
}

func (f *faults) within(setting string, n, least, most int) {
	if n < least || n > most {
		f.add(setting, "write a number from %d to %d", least, most)
	}
}

// CheckFiles returns an error that lists all that is wrong with the settings, as Check
// does, and with the files that they name, except for the key file, which the store
// checks. It connects to no directory and no provider.
func (c Config) CheckFiles() error {
	f := c.check()
	c.checkApart(&f) // not earlier: a flag may replace listen
	if c.TLS.Cert != "" && c.TLS.Key != "" {
		if _, err := c.TLS.Load(); err != nil {
			f.add("tls", "load the certificate: %w", err)
		}
	}
	if c.Gate.SocketGroup != "" {
		if _, err := c.Gate.Group(); err != nil {
			f.add("gate.socket_group", "%w", err)
		}
	}
	c.Admin.checkGroups(&f)
	if c.LDAP != nil {
		d, err := ldap.New(c.LDAP.Directory(), slog.New(slog.DiscardHandler))
		if err == nil {
			d.Close()
		}
		f.join(err)
	}
	_, err := c.Providers(0, nil)
	f.join(err)
	_, err = c.Notify.Targets()
	f.join(err)
	_, err = c.Notify.Words("")
	f.join(err)
	return c.doc.place(errors.Join(f.once()...))
}

// Secure reports whether browsers reach the server by https.
func (c Config) Secure() bool {
	return c.TLS.Cert != "" || strings.HasPrefix(strings.ToLower(c.PublicURL), "https:")
}

// Origin is the part of the public URL that browsers send as Origin (RFC 6454,
// section 4). It is empty when there is no public URL.
func (c Config) Origin() string {
	u, err := url.Parse(c.PublicURL)
	if err != nil || c.PublicURL == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	if p := u.Port(); p == "443" && u.Scheme == "https" || p == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+p)
	}
	return u.Scheme + "://" + host
}
