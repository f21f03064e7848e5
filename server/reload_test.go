package server

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
)

// TestReload changes a setting at a time: it is in force at once, or the log says that
// it needs a restart and nothing has changed.
func TestReload(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	for _, c := range []struct {
		text, changed, restart string
		inForce                func() bool
	}{
		{"", "nothing", "", func() bool { return true }},
		{"[logins]\naccount_failures = 1", "logins.account_failures", "", func() bool {
			h.userpass("bob@example.com", "x").want(http.StatusUnauthorized)
			return h.userpass("bob@example.com", "x").code == http.StatusTooManyRequests
		}},
		{"[logins]\naddress_failures = 1", "logins.account_failures logins.address_failures", "", func() bool {
			return h.userpass("carol@example.com", "x").code == http.StatusTooManyRequests
		}},
		{"[tokens]\nreveal = false", "logins.address_failures tokens.reveal", "", func() bool {
			return !strings.Contains(h.ask("GET", "/api/getApiTokens").token(token).send().want(http.StatusOK).text, token[16:])
		}},
		{"[tokens]\nmax_lifetime = \"1d\"", "tokens.reveal tokens.max_lifetime", "", func() bool {
			return !strings.HasPrefix(h.create(`{}`).ExpiresOn, "292278994")
		}},
		{"trusted_proxies = [\"192.0.2.1/32\"]", "tokens.max_lifetime trusted_proxies", "", func() bool {
			r := h.ask("GET", "/").header("X-Forwarded-For", "198.51.100.9").r
			return ipaddr.Client(r, h.config().TrustedProxies).String() == "198.51.100.9"
		}},
		{"trusted_proxies = [\"192.0.2.1/32\"]\n[log]\nlevel = \"warn\"\nformat = \"json\"", "log.level", "log.format", func() bool { return h.config().Log.Level == "warn" }},
		{"trusted_proxies = [\"192.0.2.1/32\"]", "log.level", "", func() bool { return true }},
		{"listen = \"127.0.0.1:1\"", "trusted_proxies", "listen", func() bool { return h.config().Listen != "127.0.0.1:1" }},
		{"[gate]\nlisten = \"127.0.0.1:1\"", "nothing", "gate.listen", func() bool { return h.config().Gate.Listen == "" }},
		{"[tls]\ncert = \"c\"\nkey = \"k\"", "nothing", "tls.cert tls.key", func() bool { return h.config().TLS.Cert == "" }},
		{"public_url = \"https://x.example\"\n[ldap]\nurls = [\"ldaps://l.example\"]\nbase_dn = \"dc=x\"", "nothing", "public_url ldap", func() bool { return !h.config().Secure() }},
		{"[oauth.github]\ntype = \"github\"\nclient_id = \"x\"\nclient_secret_file = \"y\"", "nothing", "oauth.github", func() bool { return len(h.config().OAuth) == 0 }},
	} {
		newer, err := config.Parse("config.toml", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		before := len(h.log.String())
		h.Reload(newer)
		logged := h.log.String()[before:]
		sorted := func(s string) string { f := strings.Fields(s); slices.Sort(f); return strings.Join(f, " ") }
		if got := sorted(field(logged, "changed")); got != sorted(c.changed) {
			t.Errorf("%q: changed %q, want %q", c.text, got, sorted(c.changed))
		}
		if got := sorted(field(logged, "settings")); got != sorted(c.restart) {
			t.Errorf("%q: a restart for %q, want %q", c.text, got, sorted(c.restart))
		}
		if !c.inForce() {
			t.Errorf("%q: not as it should be", c.text)
		}
	}
}

// field returns the value of a field in a log, without its quotes; "" if there is none.
func field(log, name string) string {
	m := regexp.MustCompile(` ` + name + `=("[^"]*"|\S+)`).FindStringSubmatch(log)
	if m == nil {
		return ""
	}
	return strings.Trim(m[1], `"`)
}
