package server_test

import (
	"crypto/tls"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
	"gatehouse/storage/storagetest/must"
)

// TestReload changes one setting at a time: it is in force at once. For listen and
// key_file, the log says that they need a restart, and nothing has changed.
func TestReload(t *testing.T) {
	h := newHouse(t)
	slapd := ldaptest.Start(t)
	reader, secret := slapd.File("reader", ldaptest.ReaderPassword+"\n"), slapd.File("secret", "hunter2\n")
	token, cookie := h.token(), h.login(alice, password)
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
		{"[tokens]\ndefault_lifetime = \"1d\"", "tokens.max_lifetime tokens.default_lifetime", "", func() bool {
			return !strings.HasPrefix(h.create(`{}`).ExpiresOn, "292278994")
		}},
		{"[limits]\nchanges_per_user = 1", "tokens.default_lifetime limits.changes_per_user", "", func() bool {
			return h.ask("POST", "/api/token").cookie(cookie).send().code == http.StatusTooManyRequests
		}},
		{"[log]\naccess = \"on\"", "limits.changes_per_user log.access", "", func() bool {
			h.ask("GET", "/healthz").send()
			return strings.Contains(h.log.String(), "msg=request method=GET route=\"GET /healthz\"")
		}},
		{"trusted_proxies = [\"192.0.2.1/32\"]", "log.access trusted_proxies", "", func() bool {
			r := h.ask("GET", "/").header("X-Forwarded-For", "198.51.100.9").r
			return ipaddr.Client(r, h.Config().TrustedProxies).String() == "198.51.100.9"
		}},
		{"trusted_proxies = [\"192.0.2.1/32\"]\n[log]\nlevel = \"warn\"\nformat = \"json\"", "log.level log.format", "", func() bool { return h.Config().Log.Level == "warn" }},
		{"trusted_proxies = [\"192.0.2.1/32\"]", "log.level log.format", "", func() bool { return true }},
		{"listen = \"127.0.0.1:1\"", "trusted_proxies", "listen", func() bool { return h.Config().Listen != "127.0.0.1:1" }},
		{"[tokens]\nmax_per_user = 1", "tokens.max_per_user", "", func() bool {
			return h.ask("POST", "/api/token").cookie(h.login(alice, password)).send().code == http.StatusForbidden
		}},
		{"public_url = \"https://x.example\"", "tokens.max_per_user public_url", "", func() bool {
			got := h.ask("POST", "/api/login").form("username=" + alice + "&password=" + strings.ReplaceAll(password, " ", "+")).send()
			return strings.HasPrefix(got.header.Get("Set-Cookie"), "__Host-gatehouse=") && strings.Contains(got.header.Get("Set-Cookie"), "Secure") && got.header.Get("Strict-Transport-Security") != ""
		}},
		{"[ldap]\nurls = [\"ldap://" + slapd.Addr + "\"]\ninsecure = true\nbase_dn = \"" + ldaptest.People + "\"\nbind_dn = \"" + ldaptest.Reader + "\"\nbind_password_file = \"" + reader + "\"", "public_url ldap", "", func() bool {
			return h.ldap("bob", "bob-secret").code == http.StatusOK
		}},
		{"[oauth.github]\ntype = \"github\"\nclient_id = \"x\"\nclient_secret_file = \"" + secret + "\"", "ldap oauth.github", "", func() bool {
			got := h.ask("GET", "/login/github").send() // public_url is not set
			return h.ldap("bob", "bob-secret").code == http.StatusNotFound && got.code == http.StatusBadRequest
		}},
		{"[metrics]\nlisten = \"127.0.0.1:0\"", "oauth.github metrics.listen", "", func() bool {
			return h.ask("GET", "/metrics").send().code == http.StatusNotFound && h.ask("GET", "/login/github").send().code == http.StatusNotFound
		}},
		{"", "metrics.listen", "", func() bool { return h.ask("GET", "/metrics").send().code == http.StatusOK }},
	} {
		newer := must.Get(config.Parse("config.toml", []byte(c.text)))(t)
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

// TestReloadWhileServing: a running server takes and gives up addresses, turns TLS on and
// off, and sweeps another directory. If anything fails, nothing has changed.
func TestReloadWhileServing(t *testing.T) {
	slapd := ldaptest.Start(t)
	h := newHouse(t, withDirectory(slapd))
	cfg := h.cfg
	certificate := withTLS(t, "localhost")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	get := func(url string) int {
		resp, err := client.Get(url)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	plain := h.serve()
	host := strings.TrimPrefix(plain, "http://")
	l := h.Listener()
	reload := func(want bool, change ...func(*config.Config)) {
		t.Helper()
		newer := cfg
		for _, f := range change {
			f(&newer)
		}
		if h.Reload(newer) != want {
			t.Fatalf("taken: got %t, want %t\n%s", !want, want, h.log)
		}
	}
	ownMetrics := func(c *config.Config) { c.Metrics.Listen = "127.0.0.1:0" }
	if get(plain+"/healthz") != 200 || get(plain+"/metrics") != 200 {
		t.Fatal("not served")
	}
	reload(true, certificate, ownMetrics)
	at := l.MetricsURL()
	if get("https://"+host+"/healthz") != 200 || get("https://"+host+"/metrics") != 404 || get(at) != 200 || l.URL() != "https://"+host {
		t.Errorf("with TLS and an address of the metrics: %s", h.log)
	}
	reload(false, func(c *config.Config) { c.Metrics.Listen, c.PublicURL = host, "https://x.example" }) // in use
	reload(false, func(c *config.Config) {
		c.TLS = config.TLS{Cert: "no-such-file", Key: "k"}
		c.Gate.Listen = "127.0.0.1:0"
	})
	reload(false, func(c *config.Config) { c.LDAP = &config.LDAP{URLs: c.LDAP.URLs, BaseDN: "x", CAFile: "no-such-file"} })
	if get("https://"+host+"/healthz") != 200 || get(at) != 200 || h.Config().PublicURL != "" || l.GateURL() != "" || h.ldap("bob", "bob-secret").code != 200 {
		t.Errorf("after reloads that failed: %s", h.log)
	}
	reload(true)
	if get(plain+"/healthz") != 200 || get(plain+"/metrics") != 200 || get(at) != 0 || l.MetricsURL() != "" {
		t.Errorf("as at first: %s", h.log)
	}

	// Sweeps go on, by the directory that is in force.
	token := h.ldapToken("alice")
	reload(true, func(c *config.Config) {
		d := *c.LDAP
		d.Recheck = config.Interval{Duration: time.Second}
		c.LDAP = &d
	})
	slapd.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime", "000001010000Z")
	for start := time.Now(); h.ask("GET", "/api/token").token(token).send().code == http.StatusOK; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatal("no sweep has suspended the user")
		}
	}
	reload(true, func(c *config.Config) { c.LDAP = nil })
	h.ldap("bob", "bob-secret").want(http.StatusNotFound)
}

// TestReloadKeepsWhatIsUnderWay: requests during a reload are answered, and what is
// remembered about them goes on.
func TestReloadKeepsWhatIsUnderWay(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser, c.Logins.AccountFailures = 3, 3 })
	cookie := h.login(alice, password)
	token := h.token()
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					h.alive(token)
				}
			}
		})
	}
	h.userpass("bob@example.com", "x").want(http.StatusUnauthorized)
	for n := range 20 {
		cfg := h.cfg
		cfg.Tokens.Reveal = n%2 == 0
		if !h.Reload(cfg) {
			t.Fatal("not taken")
		}
	}
	close(stop)
	asking.Wait()
	h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	h.ask("POST", "/api/token").cookie(cookie).send().want(http.StatusTooManyRequests) // the login's token counts, too
	for range 2 {
		h.userpass("bob@example.com", "x").want(http.StatusUnauthorized)
	}
	h.userpass("bob@example.com", "x").want(http.StatusTooManyRequests)
}

// field returns the value of a field in a log, without its quotes; "" if there is none.
func field(log, name string) string {
	m := regexp.MustCompile(` ` + name + `=("[^"]*"|\S+)`).FindStringSubmatch(log)
	if m == nil {
		return ""
	}
	return strings.Trim(m[1], `"`)
}
