package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// TestSettings writes a file of all settings that are shown, and reads it: nothing has
// changed. The settings in the first file have that file as their source, and the others
// do not.
func TestSettings(t *testing.T) {
	const text = `
trusted_proxies = ["10.0.0.0/8", "2001:db8::/32"]
[log]
level = "warn"
[tokens]
known_scopes = ["a", "b"]
max_lifetime = "1y"
reveal = false
[audit]
max_size = "1500KiB"
[ldap]
urls = ["ldaps://a.example", "ldaps://b.example"]
base_dn = "ou=a\\,b,dc=example"
recheck = "off"
[oauth.github]
type = "github"
client_id = "x"
client_secret_file = "y"
[oauth.corp]
type = "gitea"
url = "https://git.example"
client_id = "client-2"
client_secret_file = "y"
`
	cfg := must.Get(config.Parse("first.toml", []byte(text)))(t)
	cfg.Listen = "127.0.0.1:1"
	cfg.Override("listen", "flag --listen")
	var again strings.Builder
	from := map[string][]string{}
	for _, s := range cfg.Settings() {
		if s.Value == config.NotSet {
			continue
		}
		fmt.Fprintf(&again, "%s = %s\n", s.Name, s.Value)
		place, _, _ := strings.Cut(s.From, ",")
		from[place] = append(from[place], s.Name)
	}
	got, err := config.Parse("again.toml", []byte(again.String()))
	if err != nil {
		t.Fatalf("%v\n%s", err, &again)
	}
	// Other packages fill in the defaults of these.
	filled := []string{
		"ldap.filter", "ldap.uid_attribute", "ldap.id_attribute", "ldap.timeout", "oauth.corp.recheck", "oauth.corp.recheck_grace",
		"oauth.github.url", "oauth.github.recheck", "oauth.github.recheck_grace",
	}
	if changed := config.Changed(cfg, got); !slices.Equal(changed, filled) {
		t.Errorf("%q have changed, want %q\n%s", changed, filled, &again)
	}
	if want := []string{
		"trusted_proxies", "log.level", "tokens.known_scopes", "tokens.reveal", "tokens.max_lifetime", "audit.max_size",
		"ldap.urls", "ldap.base_dn", "ldap.recheck",
		"oauth.corp.type", "oauth.corp.url", "oauth.corp.client_id", "oauth.corp.client_secret_file",
		"oauth.github.type", "oauth.github.client_id", "oauth.github.client_secret_file",
	}; !slices.Equal(from["first.toml"], want) {
		t.Errorf("from the file: got %q, want %q", from["first.toml"], want)
	}
	if got := from["flag --listen"]; !slices.Equal(got, []string{"listen"}) {
		t.Errorf("from the flag: got %q", got)
	}
	if len(from) != 3 || len(from[config.FromDefault]) == 0 {
		t.Errorf("got the sources %v", from)
	}
}

// TestSettingsNotSet: a section that is not configured is shown, too.
func TestSettingsNotSet(t *testing.T) {
	const some = `
[admin]
groups = { helpdesk = "operator" }
[ldap]
urls = ["ldaps://a.example"]
base_dn = "dc=example"
[oauth.github]
type = "github"
client_id = "x"
client_secret_file = "y"
`
	for text, want := range map[string][]string{"": {"admin.groups", "ldap", "oauth"}, some: nil} {
		cfg := must.Get(config.Parse("config.toml", []byte(text)))(t)
		var got []string
		for _, s := range cfg.Settings() {
			if s.Value == config.NotSet {
				got = append(got, s.Name)
			}
			if (s.Value == config.NotSet) && s.From != config.FromDefault {
				t.Errorf("got %+v", s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestSettingsHidePasswords: the password in a URL is not shown, nor the part of a webhook
// that may be a secret.
func TestSettingsHidePasswords(t *testing.T) {
	cfg := config.Default()
	cfg.PublicURL = "https://ada:hunter2@tokens.example.com"
	cfg.Notify.Webhook = "https://ada:hunter2@hooks.example.com:8443/services/hunter2?key=hunter2#hunter2"
	for _, s := range cfg.Settings() {
		if strings.Contains(s.Value, "hunter2") || s.Name == "public_url" && !strings.Contains(s.Value, "ada:xxxxx@") ||
			s.Name == "notify.webhook" && s.Value != `"https://hooks.example.com:8443/xxxxx"` {
			t.Errorf("got %+v", s)
		}
	}
}
