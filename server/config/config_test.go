package config_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

func TestConfigWhole(t *testing.T) {
	got := must.Get(config.Parse("config.toml", []byte(`
listen = "127.0.0.1:9090"
public_url = "https://tokens.example.com"
trusted_proxies = ["127.0.0.1/32", "2001:db8::/32"]
key_file = "/etc/gatehouse/key"

[tls]
cert = "cert.pem"
key = "key.pem"

[log]
level = "warn"
format = "json"
access = "on"

[metrics]
listen = "127.0.0.1:9091"

[gate]
listen = "unix:/run/gatehouse/gate.sock"
socket_group = "www-data"

[tokens]
known_scopes = ["admin", "repo:read"]
reveal = false
max_per_user = 7
default_lifetime = "90d"
max_lifetime = "8760h"
revoke_idle_after = "1y"

[logins]
local = false
account_failures = 3
address_failures = 30

[limits]
connections = 300
connections_per_address = 30
changes_per_user = 40

[audit]
keep = "1y"
max_size = "64MiB"
[notify]
command = "/bin/true"
webhook = "https://hooks.example.com/x"
webhook_secret_file = "/etc/gatehouse/secret"
smtp = "smtp://mail.example.com:587"
smtp_user = "gatehouse"
smtp_password_file = "/etc/gatehouse/password"
smtp_ca_file = "/etc/gatehouse/ca.pem"
from = "Gatehouse <gatehouse@example.com>"
templates = "/etc/gatehouse/notices"
before_expiry = ["14d"]
`)))(t)
	want := config.Config{
		Listen: "127.0.0.1:9090", PublicURL: "https://tokens.example.com", KeyFile: "/etc/gatehouse/key",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("2001:db8::/32")},
		TLS:            config.TLS{Cert: "cert.pem", Key: "key.pem"},
		Log:            config.Log{Level: "warn", Format: "json", Access: "on"},
		Metrics:        config.Metrics{Listen: "127.0.0.1:9091"},
		Gate:           config.Gate{Listen: "unix:/run/gatehouse/gate.sock", SocketGroup: "www-data"},
		Tokens:         config.Tokens{KnownScopes: []string{"admin", "repo:read"}, MaxPerUser: 7, DefaultLifetime: config.Lifetime{Duration: 90 * day}, MaxLifetime: config.Lifetime{Duration: 365 * day}, RevokeIdleAfter: config.Lifetime{Duration: 365 * day}},
		Logins:         config.Logins{AccountFailures: 3, AddressFailures: 30},
		Limits:         config.Limits{Connections: 300, ConnectionsPerAddress: 30, ChangesPerUser: 40},
		Audit:          config.Audit{Keep: config.Lifetime{Duration: 365 * day}, MaxSize: config.Size{Bytes: 64 << 20}},
		Notify: config.Notify{
			Command: "/bin/true", Webhook: "https://hooks.example.com/x", WebhookSecretFile: "/etc/gatehouse/secret",
			SMTP: "smtp://mail.example.com:587", SMTPUser: "gatehouse", SMTPPasswordFile: "/etc/gatehouse/password", SMTPCAFile: "/etc/gatehouse/ca.pem",
			From: "Gatehouse <gatehouse@example.com>", Templates: "/etc/gatehouse/notices", BeforeExpiry: []config.Lifetime{{Duration: 14 * day}},
		},
	}
	if changed := config.Changed(got, want); len(changed) > 0 {
		t.Errorf("got %+v, want %+v: %q differ", got, want, changed)
	}
}

func TestConfigDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "[tokens]\n[logins]\n", "[tokens]\ndefault_lifetime = \"never\"\nmax_lifetime = \"never\"\n"} {
		got, err := config.Parse("config.toml", []byte(text))
		if err != nil || len(config.Changed(got, config.Default())) > 0 {
			t.Errorf("%q: got %+v, %v, want the defaults", text, got, err)
		}
	}
	if err := config.Default().Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

// TestConfigRefused: the message says where and what the error is.
func TestConfigRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"lisen = \":1\"", "line 1: unknown key lisen"},
		{"\n\n[tokens]\nrevael = true", "line 4: unknown key tokens.revael"},
		{"[token]\nreveal = true", "unknown key token"},
		{"a = 1\nb = 2", "line 1: unknown key a; line 2: unknown key b"},
		{"listen = 8080", "line 1: listen"},
		{"listen = \"8080\"", "listen"},
		{"listen = \"\"", "listen"},
		{"listen = \"127.0.0.1:\"", "listen"},
		{"listen = \"a", "line 1"},
		{"listen = \":1\"\nlisten = \":2\"", "line 2"},
		{"= 3", "line 1"},
		{"public_url = \"tokens.example.com\"", "public_url"},
		{"public_url = \"ftp://tokens.example.com\"", "public_url"},
		{"public_url = \"https://\"", "public_url"},
		{"public_url = \"https://example.com/sub\"", "public_url"},
		{"public_url = \"https://example.com?x\"", "public_url"},
		{"public_url = \"https://user@example.com\"", "public_url"},
		{"public_url = \"https://example.com/#x\"", "public_url"},
		{"trusted_proxies = [\"10.0.0.0/33\"]", "line 1: trusted_proxies"},
		{"listen = \":1\"\ntrusted_proxies = [\"proxy.example.com\"]", "line 2: trusted_proxies"},
		{"trusted_proxies = \"10.0.0.0/8\"", "line 1: trusted_proxies"},
		{"trusted_proxies = [\"\"]", "trusted_proxies"},
		{"trusted_proxies = [\"::ffff:10.0.0.0/8\"]", `trusted_proxies: "::ffff:10.0.0.0/8" is not a range of addresses such as 10.0.0.0/8`},
		{"trusted_proxies = [\"::ffff:10.0.0.0/104\"]", `trusted_proxies: "::ffff:10.0.0.0/104" is not a range of addresses such as 10.0.0.0/8`},
		{"[tls]\ncert = \"c\"", "tls: set both cert and key"},
		{"[tls]\nkey = \"k\"", "tls: set both cert and key"},
		{"[tokens]\nreveal = \"yes\"", "line 2: tokens.reveal"},
		{"[limits]\nchanges_per_user = -1", "limits.changes_per_user"},
		{"[log]\nlevel = \"verbose\"", `line 2: log.level: write "debug", "info", "warn" or "error"`},
		{"[log]\nlevel = 3", "line 2: log.level"},
		{"[log]\n\nformat = \"xml\"", `line 3: log.format: write "text" or "json"`},
		{"[log]\naccess = \"yes\"", `line 2: log.access: write "on" or "off"`},
		{"[log]\naccess = true", "line 2: log.access"},
		{"[metrics]\nlisten = \"9090\"", `line 2: metrics.listen: "9090" is not an address such as 127.0.0.1:8080`},
		{"[metrics]\nlisten = true", "line 2: metrics.listen"},
		{"[admin]\ngroups = { audit = \"auditor\", helpdesk = \"root\" }", `line 2: admin.groups.helpdesk: "root" is not a role: write admin, operator or auditor`},
		{"[admin.groups]\naudit = 1", "line 2: admin.groups.audit: write a string in quotes"},
		{"[admin]\ngroups = \"audit\"", "line 2: admin.groups: is a section"},
		{"[gate]\nlisten = \"9090\"", `line 2: gate.listen: "9090" is not an address such as 127.0.0.1:8080`},
		{"[gate]\nlisten = \"unix:gate.sock\"", `line 2: gate.listen: "unix:gate.sock" is not a socket such as unix:/run/gatehouse/gate.sock`},
		{"[gate]\nlisten = \"unix:\"", "line 2: gate.listen"},
		{"[gate]\nlisten = \"unix:/run/../gate.sock\"", "line 2: gate.listen"},
		{"[gate]\nlisten = \"127.0.0.1:8081\"\nsocket_group = \"www-data\"", "line 3: gate.socket_group: needs a unix socket"},
		{"[gate]\nsocket_group = \"www-data\"", "line 2: gate.socket_group"},
		{"[limits]\nconnections = -1", "line 2: limits.connections: write a number from 0 to 1000000"},
		{"[limits]\nconnections = 1000001", "line 2: limits.connections"},
		{"[limits]\nconnections = \"100\"", "line 2: limits.connections"},
		{"[limits]\n\nconnections_per_address = 0", "line 3: limits.connections_per_address: write a number from 1 to 1000000"},
		{"[limits]\nconnections_per_address = 1.5", "line 2: limits.connections_per_address"},
		{"[limits]\nconnections_per_adress = 10", "line 2: unknown key limits.connections_per_adress"},
		{"[audit]\nkeep = \"long\"", "line 2: audit.keep"},
		{"[audit]\nmax_size = \"4 apples\"", "line 2: audit.max_size"},
		{"[audit]\nmax_size = \"-4GiB\"", "line 2: audit.max_size"},
		{"[audit]\nmax_size = \"1KiB\"", "audit.max_size: write at least 1MiB"},
		{"[audit]\nmax_size = 4096", "line 2: audit.max_size"},
		{"[tokens]\nmax_per_user = -1", "tokens.max_per_user"},
		{"[tokens]\nmax_per_user = 1000001", "tokens.max_per_user"},
		{"[tokens]\nmax_per_user = 1.5", "line 2: tokens.max_per_user"},
		{"[tokens]\ndefault_lifetime = \"90\"", "line 2: tokens.default_lifetime"},
		{"[tokens]\ndefault_lifetime = \"\"", "line 2: tokens.default_lifetime"},
		{"[tokens]\ndefault_lifetime = \"-90d\"", "line 2: tokens.default_lifetime"},
		{"[tokens]\ndefault_lifetime = 90", `line 2: tokens.default_lifetime: "90" is not a span of time`},
		{"[tokens]\nrevoke_idle_after = \"soon\"", "line 2: tokens.revoke_idle_after"},
		{"[tokens]\nmax_lifetime = \"90d\"\ndefault_lifetime = \"91d\"", "tokens.default_lifetime"},
		{"[logins]\naccount_failures = 0", "logins.account_failures"},
		{"[logins]\naccount_failures = 1000001", "logins.account_failures"},
		{"[logins]\naddress_failures = 0", "logins.address_failures"},
		{"[logins]\naddress_failures = 1000001", "logins.address_failures"},
		{"\x00", "line 1"},
	} {
		_, err := config.Parse("config.toml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want an error that says %q", c.text, err, c.want)
		}
	}
}

// TestOneAddressTwice: a flag may still replace listen after Parse, and so CheckFiles looks.
func TestOneAddressTwice(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"listen = \":80\"\n[metrics]\nlisten = \"127.0.0.1:http\"", `config.toml: line 3: metrics.listen: "127.0.0.1:http" and ":80" can't both be in use: the other is listen (config.toml, line 1)`},
		{"[gate]\nlisten = \"LOCALHOST:81\"\n[metrics]\nlisten = \"localhost:81\"", `config.toml: line 2: gate.listen: "LOCALHOST:81" and "localhost:81" can't both be in use: the other is metrics.listen (config.toml, line 4)`},
		{"[gate]\nlisten = \"[::]:8080\"", "config.toml: line 2: gate.listen: \"[::]:8080\" and \"127.0.0.1:8080\" can't both be in use: the other is listen (default)"},
		{"listen = \":0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n[gate]\nlisten = \"127.0.0.2:0\"", ""},
		{"listen = \"127.0.0.1:80\"\n[metrics]\nlisten = \"127.0.0.2:80\"\n[gate]\nlisten = \"unix:/run/gate.sock\"", ""},
	} {
		cfg, err := config.Parse("config.toml", []byte(c.text))
		if err != nil {
			t.Errorf("%q: got %v", c.text, err)
		}
		if err := cfg.CheckFiles(); fmt.Sprint(err) != cmp.Or(c.want, "<nil>") {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestLoadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: got %v", err)
	}
	must.Do(t, os.WriteFile(file, []byte("\nx = 1\n"), 0o600))
	if _, err := config.Load(file); err == nil || err.Error() != file+": line 2: unknown key x" {
		t.Errorf("got %v", err)
	}
}

func TestOrigin(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.example": "https://a.example", "https://a.example/": "https://a.example", "HTTPS://A.Example:443": "https://a.example",
		"http://a.example:80/": "http://a.example", "https://a.example:8443": "https://a.example:8443", "http://a.example:443": "http://a.example:443",
		"https://[2001:DB8::1]:443": "https://[2001:db8::1]",
	} {
		if got := (config.Config{PublicURL: url}).Origin(); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
