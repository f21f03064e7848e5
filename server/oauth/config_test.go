package oauth

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/storage/storagetest/must"
)

// secretFile writes a client's secret to a file.
func secretFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	must.Do(t, os.WriteFile(file, []byte(text), 0o600))
	must.Do(t, os.Chmod(file, mode))
	return file
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*Config)
		want   string // empty: it is right
	}{
		{"a github", func(c *Config) {}, ""},
		{"a gitlab", func(c *Config) { c.Type = GitLab }, ""},
		{"a google", func(c *Config) { c.Type = Google }, ""},
		{"an enterprise", func(c *Config) { c.Name, c.URL = "corp", "https://github.example.com/" }, ""},
		{"a gitea beneath a path", func(c *Config) { c.Type, c.URL = Gitea, "https://example.com/git" }, ""},
		{"an issuer", func(c *Config) { c.Type, c.URL = OIDC, "https://login.example.com/realms/x/" }, ""},
		{"http for a test", func(c *Config) { c.URL, c.Insecure = "http://127.0.0.1:3000", true }, ""},

		{"no type", func(c *Config) { c.Type = "" }, `oauth.corp: type "" is not github`},
		{"another type", func(c *Config) { c.Type = "GitHub" }, `oauth.corp: type "GitHub" is not github`},
		{"gitea without a url", func(c *Config) { c.Type = Gitea }, "oauth.corp: url is empty"},
		{"oidc without a url", func(c *Config) { c.Type = OIDC }, "oauth.corp: url is empty"},
		{"http", func(c *Config) { c.URL = "http://github.example.com" }, "oauth.corp: url http://github.example.com would send secrets in the clear"},
		{"HTTP", func(c *Config) { c.URL = "HTTP://github.example.com" }, "in the clear"},
		{"no scheme", func(c *Config) { c.URL = "github.example.com" }, "is not a URL such as https://"},
		{"another scheme", func(c *Config) { c.URL, c.Insecure = "file:///etc/passwd", true }, "is not a URL such as https://"},
		{"no host", func(c *Config) { c.URL = "https:///x" }, "is not a URL such as https://"},
		{"a query", func(c *Config) { c.URL = "https://example.com/?x=1" }, "has a query"},
		{"a password in it", func(c *Config) { c.URL = "https://me:hunter2@example.com" }, "contains a user or a password"},
		{"no client", func(c *Config) { c.ClientID = "" }, "oauth.corp: client_id is empty"},
		{"a client on two lines", func(c *Config) { c.ClientID = "a\nb" }, "oauth.corp: client_id"},
		{"no secret", func(c *Config) { c.ClientSecretFile = "" }, "oauth.corp: client_secret_file is empty"},
		{"all at once", func(c *Config) { c.ClientID, c.ClientSecretFile = "", "" }, "client_id is empty or has invalid characters: copy it from the registration at the provider\noauth.corp: client_secret_file"},
		{"userpass", func(c *Config) { c.Name = "userpass" }, "oauth.userpass: the name is reserved"},
		{"ldap", func(c *Config) { c.Name = "ldap" }, "oauth.ldap: the name is reserved"},
		{"local", func(c *Config) { c.Name = "local" }, "oauth.local: the name is reserved"},
		{"service", func(c *Config) { c.Name = "service" }, "oauth.service: the name is reserved"},
		{"upper case", func(c *Config) { c.Name = "LDAP" }, "is not a provider's name"},
		{"a path", func(c *Config) { c.Name = "../x" }, "is not a provider's name"},
		{"a format", func(c *Config) { c.Name = "%s" }, "is not a provider's name"},
		{"no name", func(c *Config) { c.Name = "" }, "is not a provider's name"},
		{"a long name", func(c *Config) { c.Name = strings.Repeat("a", 33) }, "is not a provider's name"},
	} {
		cfg := Config{Name: "corp", Type: GitHub, ClientID: "client", ClientSecretFile: "/nowhere"}
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error has the password", c.what)
		}
	}
}

func TestSecretFile(t *testing.T) {
	for _, c := range []struct {
		what, text string
		mode       os.FileMode
		want       string
	}{
		{"a line", "s3cret\n", 0o600, ""},
		{"no newline", "s3cret", 0o640, ""},
		{"open to all", "s3cret", 0o644, "open to every account"},
		{"empty", "\n", 0o600, "does not contain a secret on a single line"},
		{"two lines", "a\nb\n", 0o600, "does not contain a secret on a single line"},
		{"too long", strings.Repeat("a", 5000), 0o600, "is longer than 4096 bytes"},
	} {
		_, err := New(Config{Name: "corp", Type: GitHub, ClientID: "client", ClientSecretFile: secretFile(t, c.text, c.mode)})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "oauth.corp: client_secret_file: ") {
			t.Errorf("%s: got %v, which does not name the key", c.what, err)
		}
	}
	if _, err := New(Config{Name: "corp", Type: GitHub, ClientID: "client", ClientSecretFile: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("no file: got %v", err)
	}
}

// TestUnsafe: each unsafe setting is reported, and no safe one.
func TestUnsafe(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Type: GitHub}, ""},
		{Config{Type: GitHub, Insecure: true}, ""},
		{Config{Type: GitHub, AcceptAnyClient: true}, "accept_any_client"},
		{Config{Type: OIDC, URL: "https://login.example.com", TrustEmail: true}, "trust_email"},
		{Config{Type: Gitea, URL: "http://gitea.example", Insecure: true}, "http"},
	} {
		if got := (&Provider{cfg: c.cfg.WithDefaults()}).Unsafe(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.cfg, got, c.want)
		}
	}
}

// TestSecretHides: no way of printing shows a secret.
func TestSecretHides(t *testing.T) {
	var b strings.Builder
	s := Secret("hunter2")
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", s, "all", struct{ S Secret }{s})
	fmt.Fprintf(&b, "%v %s %q %x %#v %+v", s, s, s, s, s, struct{ S Secret }{s})
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("got %s", b.String())
	}
}

func TestTitle(t *testing.T) {
	for _, c := range []struct{ name, kind, want string }{
		{"github", GitHub, "GitHub"},
		{"gitlab", GitLab, "GitLab"},
		{"google", Google, "Google"},
		{"gitea", Gitea, "Gitea"},
		{"oidc", OIDC, "oidc"},
		{"corp", GitHub, "corp"},
	} {
		if got := (&Provider{cfg: Config{Name: c.name, Type: c.kind}}).Title(); got != c.want {
			t.Errorf("%s of type %s: got %q, want %q", c.name, c.kind, got, c.want)
		}
	}
}
