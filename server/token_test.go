package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// flip changes one digit.
func flip(s string, i int) string {
	c := byte('0')
	if s[i] == c {
		c = '1'
	}
	return s[:i] + string(c) + s[i+1:]
}

// credentials is a request's worth of headers.
type credentials map[string][]string

func (c credentials) on(a *ask) *ask {
	for name, values := range c {
		a.header(name, values...)
	}
	return a
}

// badCredentials are all the ways in which a request fails to bring a token.
func badCredentials(h *house) map[string]credentials {
	h.Helper()
	good := h.token()
	revoked := h.token()
	h.ask("GET", "/api/revokeApiToken").token(revoked).send().want(http.StatusOK)
	expired := h.create(`{"expiresIn":"1s"}`).Secret
	elsewhere := h.create(`{"addresses":["198.51.100.0/24"]}`).Secret
	h.clock.Move(time.Second)
	h.addUser("gone@example.com", password)
	ownerless := h.userpass("gone@example.com", password).newToken().Secret
	must.Do(h, h.admin.RemoveUser(context.Background(), "gone@example.com"))
	h.addUser("off@example.com", password)
	disabled := h.userpass("off@example.com", password).newToken().Secret
	must.Do(h, h.admin.DisableUser(context.Background(), "off@example.com"))
	foreign := newHouse(h.TB).token()

	one := func(text string) credentials { return credentials{"X-Auth-Token": {text}} }
	all := map[string]credentials{
		"none":                  {},
		"empty":                 one(""),
		"two headers":           {"X-Auth-Token": {good, good}},
		"two headers, one bad":  {"X-Auth-Token": {good, "x"}},
		"two headers, one void": {"X-Auth-Token": {"", good}},
		"both headers":          {"X-Auth-Token": {good}, "Authorization": {"Bearer " + good}},
		"two bearers":           {"Authorization": {"Bearer " + good, "Bearer " + good}},
		"joined":                one(good + ", " + good),
		"bearer, no token":      {"Authorization": {"Bearer"}},
		"bearer, other scheme":  {"Authorization": {"Token " + good}},
		"bare authorization":    {"Authorization": {good}},
		"basic":                 {"Authorization": {"Basic " + good}},
		"5,000 characters":      one(strings.Repeat("a", 5000)),
		"the token 19 times":    one(strings.Repeat(good, 19)),
		"upper case":            one(strings.ToUpper(good)),
		"one upper-case digit":  one(upperDigit(good)),
		"NUL at the end":        one(good + "\x00"),
		"NUL inside":            one(good[:100] + "\x00" + good[101:]),
		"truncated":             one(good[:255]),
		"half":                  one(good[:128]),
		"one more":              one(good + "0"),
		"space before":          one(" " + good),
		"tab after":             one(good + "\t"),
		"quoted":                one(`"` + good + `"`),
		"fullwidth digits":      one("０" + good[1:]),
		"not hexadecimal":       one("g" + good[1:]),
		"zeros":                 one(strings.Repeat("0", 256)),
		"the id alone":          one(good[:28]),
		"revoked":               one(revoked),
		"expired":               one(expired),
		"from elsewhere":        one(elsewhere),
		"of a removed user":     one(ownerless),
		"of a disabled user":    one(disabled),
		"of another Gatehouse":  one(foreign),
	}
	for _, i := range []int{0, 1, 2, 27, 28, 29, 30, 31, 128, 247, 248, 255} {
		all[fmt.Sprintf("digit %d flipped", i)] = one(flip(good, i))
	}
	return all
}

func upperDigit(s string) string {
	i := strings.IndexAny(s, "abcdef")
	return s[:i] + strings.ToUpper(s[i:i+1]) + s[i+1:]
}

// TestOneAnswer: for any fault of the credential, the answer is the same to the last
// byte, on every route that a token opens.
func TestOneAnswer(t *testing.T) {
	h := newHouse(t)
	var first answer
	for what, c := range badCredentials(h) {
		for _, route := range []string{"GET /api/getApiTokens", "GET /api/tokens", "GET /api/token", "GET /api/getUserRecentFiles", "POST /api/userRecentFiles", "DELETE /api/token/x"} {
			method, path, _ := strings.Cut(route, " ")
			got := c.on(h.ask(method, path)).header("X-Request-Id", "one").send()
			if got.code != http.StatusUnauthorized || got.text != credentialsRequired {
				t.Errorf("%s with %s: got %d %.200s", route, what, got.code, got.text)
				continue
			}
			if first.header == nil {
				first = got
			}
			if fmt.Sprint(got.header) != fmt.Sprint(first.header) {
				t.Errorf("%s with %s: got headers %v, and %v elsewhere", route, what, got.header, first.header)
			}
		}
	}
	first.wantHeader("WWW-Authenticate", `Bearer realm="gatehouse"`)
}

// TestBearer accepts the other header, its scheme in any case.
func TestBearer(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	for _, v := range []string{"Bearer " + token, "bearer " + token, "BEARER   " + token} {
		h.ask("GET", "/api/token").header("Authorization", v).send().want(http.StatusOK)
	}
	h.ask("GET", "/api/token").token(token).header("Authorization", "Basic YTpi").send().want(http.StatusOK)
}

// TestRevokeAlways: 200 and {} for everything.
func TestRevokeAlways(t *testing.T) {
	h := newHouse(t)
	for what, c := range badCredentials(h) {
		got := c.on(h.ask("GET", "/api/revokeApiToken")).send()
		if got.code != http.StatusOK || got.text != "{}" {
			t.Errorf("%s: got %d %.200s, want 200 {}", what, got.code, got.text)
		}
	}
	token := h.token()
	h.ask("GET", "/api/revokeApiToken").header("Authorization", "Bearer "+token).send().want(http.StatusOK, "{}")
	h.dead(token)

	a, b := h.token(), h.token()
	h.ask("GET", "/api/revokeApiToken").header("X-Auth-Token", a, b, "x").send().want(http.StatusOK, "{}")
	h.dead(a)
	h.dead(b)

	expired := h.create(`{"expiresIn":"1m"}`)
	h.clock.Move(time.Hour)
	h.ask("GET", "/api/revokeApiToken").token(expired.Secret).send().want(http.StatusOK, "{}")
	if tk := adminToken(h, expired.ID); tk.State != api.StateRevoked {
		t.Errorf("got state %s of an expired token that its holder revoked", tk.State)
	}
}

// TestRevokeByTokenAlone: the cookie of a logged-in visitor revokes nothing.
func TestRevokeByTokenAlone(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	made := h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	h.ask("GET", "/api/revokeApiToken").cookie(cookie).send().want(http.StatusOK, "{}")
	h.ask("GET", "/api/revokeApiToken?token="+made.Secret).cookie(cookie).send().want(http.StatusOK, "{}")
	h.alive(made.Secret)
}

// adminToken finds a token in the administration's listing.
func adminToken(h *house, id string) api.Token {
	h.Helper()
	for tk := range must.All(h.admin.Tokens(context.Background(), api.TokenQuery{Revoked: true}))(h) {
		if tk.ID == id {
			return tk
		}
	}
	h.Fatalf("no token %s", id)
	return api.Token{}
}

func TestExpiryToTheMillisecond(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{"expiresIn":"90m"}`)
	if want := "2026-03-01T13:30:00.000Z"; made.ExpiresOn != want {
		t.Errorf("got expiresOn %s, want %s", made.ExpiresOn, want)
	}
	h.clock.Move(90*time.Minute - time.Millisecond)
	h.alive(made.Secret)
	h.clock.Move(time.Millisecond)
	h.dead(made.Secret)
	if got := adminToken(h, made.ID).State; got != api.StateExpired {
		t.Errorf("got state %s, want expired", got)
	}
	h.clock.Move(-time.Millisecond)
	h.alive(made.Secret)
}

func TestAddresses(t *testing.T) {
	storagetest.Slow(t)
	for _, c := range []struct {
		list, from string
		passes     bool
	}{
		{`["192.0.2.1"]`, "192.0.2.1:9", true},
		{`["192.0.2.1"]`, "192.0.2.2:9", false},
		{`["192.0.2.0/24","2001:db8::/32"]`, "192.0.2.255:9", true},
		{`["192.0.2.0/24","2001:db8::/32"]`, "[2001:db8:1::1]:9", true},
		{`["192.0.2.0/24","2001:db8::/32"]`, "[2001:db9::1]:9", false},
		{`["192.0.2.77/24"]`, "192.0.2.1:9", true},
		{`["192.0.2.0/24"]`, "[::ffff:192.0.2.9]:9", true},
		{`["::ffff:192.0.2.0/120"]`, "192.0.2.9:9", true},
		{`["0.0.0.0/0"]`, "[2001:db8::1]:9", false},
		{`["::/0"]`, "192.0.2.1:9", false},
		{`["fe80::/10"]`, "[fe80::1%eth0]:9", true},
		{`["192.0.2.0/24"]`, "garbage", false},
		{`[]`, "garbage", true},
	} {
		h := newHouse(t)
		made := h.create(`{"addresses":` + c.list + `}`)
		want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[c.passes]
		if got := h.ask("GET", "/api/token").token(made.Secret).from(c.from).send(); got.code != want {
			t.Errorf("%s from %s: got %d, want %d", c.list, c.from, got.code, want)
		}
	}
}

func TestTokenOptionsRefused(t *testing.T) {
	h := newHouse(t, func(c *config.Config) {
		c.Tokens.MaxLifetime, c.Tokens.DefaultLifetime = config.Lifetime{Duration: 365 * 24 * time.Hour}, config.Lifetime{Duration: time.Hour}
	})
	cookie := h.login(alice, password)
	many := func(n int, item string) string { return "[" + strings.Repeat(item+",", n-1) + item + "]" }
	for _, body := range []string{
		`{"expiresIn":"never"}`, `{"expiresIn":"0"}`, `{"expiresIn":"0d"}`, `{"expiresIn":"-1h"}`, `{"expiresIn":"1.5d"}`, `{"expiresIn":"1mo"}`, `{"expiresIn":"1y1d"}`,
		`{"expiresIn":"1ns"}`, `{"expiresIn":"999999999999d"}`, `{"expiresIn":"9223372036854775807d"}`, `{"expiresIn":3600}`, `{"expiresIn":"366d"}`, `{"expiresIn":"8761h"}`,
		`{"scopes":"files"}`, `{"scopes":[""]}`, `{"scopes":["a b"]}`, `{"scopes":["*"]}`, `{"scopes":["a\r\nX-Auth-User: root"]}`, `{"scopes":[null]}`, `{"scopes":["ä"]}`,
		`{"scopes":["` + strings.Repeat("a", 65) + `"]}`, `{"scopes":` + many(33, `"a"`) + `}`,
		`{"addresses":["10.0.0.0/33"]}`, `{"addresses":["10.0.0"]}`, `{"addresses":["example.com"]}`, `{"addresses":["fe80::1%eth0"]}`, `{"addresses":[""]}`,
		`{"addresses":["10.0.0.1:80"]}`, `{"addresses":"10.0.0.0/8"}`, `{"addresses":` + many(65, `"10.0.0.1"`) + `}`,
		`{"name":"a\u0000"}`, `{"name":"a\u202eb"}`, `{"name":"` + strings.Repeat("ä", 201) + `"}`, `{"name":1}`,
		`{"nmae":"a"}`, `{"owner":"bob@example.com"}`, `{"name":"a","name":"b"}`, `{"name":"a","NAME":"b"}`, `{"scopes":["files"],"\u017fcopes":[]}`,
		`{"name":"a"} {"name":"b"}`, `{"name":"a"}x`, `[]`, `null`, `"name"`, `{`, `{"name":"` + "\xff" + `"}`, "\ufeff\ufeff{}", "{\ufeff}", `{"name":'a'}`,
		strings.Repeat(`{"name":`, 40) + `1` + strings.Repeat(`}`, 40), strings.Repeat("[", 60_000),
	} {
		if got := h.ask("POST", "/api/token").cookie(cookie).json(body).send(); got.code != http.StatusBadRequest {
			t.Errorf("%.60s: got %d %.200s, want 400", body, got.code, got.text)
		} else {
			got.wantError()
		}
	}
	var none []api.Token
	if h.ask("GET", "/api/tokens").cookie(cookie).send().into(&none); len(none) != 0 {
		t.Errorf("got %d tokens after refusals alone", len(none))
	}
	for _, body := range []string{`{}`, ` {} `, `{"expiresIn":"365d"}`, `{"expiresIn":"1y"}`, `{"scopes":` + many(32, `"a"`) + `}`, `{"name":"` + strings.Repeat("ä", 200) + `"}`, "\ufeff", "\ufeff{}", "\ufeff" + `{"name":"Nachtlauf"}`} {
		h.ask("POST", "/api/token").cookie(cookie).json(body).send().newToken()
	}
	h.ask("POST", "/api/token").cookie(cookie).form("").send().newToken()
}

func TestLifetimes(t *testing.T) {
	h := newHouse(t, func(c *config.Config) {
		c.Tokens.DefaultLifetime, c.Tokens.MaxLifetime = config.Lifetime{Duration: day}, config.Lifetime{Duration: 30 * day}
	})
	cookie := h.login(alice, password)
	for path, made := range map[string]api.NewToken{
		"userpass": h.userpass(alice, password).newToken(),
		"POST":     h.ask("POST", "/api/token").cookie(cookie).send().newToken(),
		"GET":      h.ask("GET", "/api/createApiToken").cookie(cookie).send().newToken(),
	} {
		if want := "2026-03-02T12:00:00.000Z"; made.ExpiresOn != want {
			t.Errorf("%s: got expiresOn %s, want %s by the default", path, made.ExpiresOn, want)
		}
	}
	h.ask("POST", "/api/token").cookie(cookie).json(`{"expiresIn":"30d"}`).send().newToken()
	h.ask("POST", "/api/token").cookie(cookie).json(`{"expiresIn":"31d"}`).send().want(http.StatusBadRequest)

	h = newHouse(t, func(c *config.Config) { c.Tokens.MaxLifetime = config.Lifetime{Duration: day} })
	if got, want := h.userpass(alice, password).newToken().ExpiresOn, "2026-03-02T12:00:00.000Z"; got != want {
		t.Errorf("got expiresOn %s, want %s by the longest that is allowed", got, want)
	}
}

func TestMaxPerUser(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Tokens.MaxPerUser = 3 })
	cookie := h.login(alice, password)
	soon := h.ask("POST", "/api/token").cookie(cookie).json(`{"expiresIn":"1h"}`).send().newToken()
	h.ask("GET", "/api/createApiToken").cookie(cookie).send().newToken()
	third := h.token()
	for range 2 {
		h.ask("POST", "/api/token").cookie(cookie).send().want(http.StatusForbidden)
		h.ask("GET", "/api/createApiToken").cookie(cookie).send().want(http.StatusForbidden)
		h.userpass(alice, password).want(http.StatusForbidden)
	}
	h.ask("GET", "/api/revokeApiToken").token(third).send()
	h.token()
	h.ask("POST", "/api/token").cookie(cookie).send().want(http.StatusForbidden)
	h.clock.Move(time.Hour) // one has expired
	h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	h.dead(soon.Secret)
}

func TestScopes(t *testing.T) {
	h := newHouse(t)
	made := map[string]api.NewToken{}
	for _, scope := range []string{"files", "tokens:read", "introspect", "files2"} {
		made[scope] = h.create(`{"scopes":["` + scope + `"]}`)
	}
	made["none"] = h.create(`{}`)
	file := `{"id":1,"name":"a","revision":1,"path":"/a"}`
	for _, c := range []struct {
		method, path, body string
		allowed            string // beside none
		ok                 int
	}{
		{"GET", "/api/token", "", "files tokens:read introspect files2", http.StatusOK},
		{"POST", "/api/introspect", `{"token":"x"}`, "files tokens:read introspect files2", http.StatusOK},
		{"GET", "/api/getApiTokens", "", "tokens:read", http.StatusOK},
		{"GET", "/api/tokens", "", "tokens:read", http.StatusOK},
		{"GET", "/api/getUserRecentFiles", "", "files", http.StatusOK},
		{"POST", "/api/userRecentFiles", file, "files", http.StatusNoContent},
	} {
		for scope, tk := range made {
			want := http.StatusForbidden
			for _, s := range append(strings.Fields(c.allowed), "none") {
				if s == scope {
					want = c.ok
				}
			}
			a := h.ask(c.method, c.path).token(tk.Secret)
			if c.body != "" {
				a.json(c.body)
			}
			if got := a.send(); got.code != want {
				t.Errorf("%s %s with scope %s: got %d, want %d", c.method, c.path, scope, got.code, want)
			}
		}
	}
	h.ask("DELETE", "/api/token/"+made["none"].ID).token(made["files"].Secret).send().want(http.StatusForbidden)
	h.alive(made["none"].Secret)
	h.ask("DELETE", "/api/token/"+made["files"].ID).token(made["files"].Secret).send().want(http.StatusNoContent)
	h.dead(made["files"].Secret)
	h.ask("GET", "/api/revokeApiToken").token(made["introspect"].Secret).send().want(http.StatusOK, "{}")
	h.dead(made["introspect"].Secret)
}

// TestMasking: a token that may do less than its user shows no other token.
func TestMasking(t *testing.T) {
	for name, options := range map[string]string{
		"scopes": `{"scopes":["tokens:read"]}`, "addresses": `{"addresses":["192.0.2.0/24"]}`, "expiry": `{"expiresIn":"1h"}`,
	} {
		h := newHouse(t)
		weak, strong := h.create(options), h.create(`{}`)
		seen := h.listed(weak.Secret)
		if got, want := seen[strong.ID].APIToken, strong.Secret[:8]+"…"; got != want {
			t.Errorf("%s: got another's apiToken %.20s, want %s", name, got, want)
		}
		if got := seen[weak.ID].APIToken; got != weak.Secret {
			t.Errorf("%s: got its own apiToken %.20s, want it in full", name, got)
		}
		if got := h.listed(strong.Secret)[weak.ID].APIToken; got != weak.Secret {
			t.Errorf("%s: got %.20s by a token without limits, want it in full", name, got)
		}
	}
}

func TestRevealOff(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Tokens.Reveal = false })
	token, cookie := h.token(), h.login(alice, password)
	for _, a := range []*ask{h.ask("GET", "/api/getApiTokens").token(token), h.ask("GET", "/api/getApiTokens").cookie(cookie)} {
		var list []api.DocumentedToken
		got := a.send().want(http.StatusOK).wantHeader("Cache-Control", "no-store").into(&list)
		if len(list) != 1 || list[0].APIToken != token[:8]+"…" || strings.Contains(got.text, token) {
			t.Errorf("got %.300s, want the token masked", got.text)
		}
	}
}

// TestUserStops: what an administrator does to a user takes effect at the next request,
// for tokens and sessions.
func TestUserStops(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	token, cookie := h.token(), h.login(alice, password)
	check := func(what string, err error, code int) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		h.ask("GET", "/api/getApiTokens").token(token).send().want(code)
		h.userpass(alice, password).want(code)
	}
	check("nothing", nil, http.StatusOK)
	check("disable", h.admin.DisableUser(ctx, alice), http.StatusUnauthorized)
	h.ask("GET", "/api/getApiTokens").cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("GET", "/api/createApiToken").cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
	h.userpass(alice, password).want(http.StatusUnauthorized, invalidCredentials)
	check("enable", h.admin.EnableUser(ctx, alice), http.StatusOK)
	h.ask("GET", "/api/getApiTokens").cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)

	cookie = h.login(alice, password)
	must.Get(h.admin.SetPassword(ctx, alice, "another password"))(t)
	h.ask("GET", "/api/getApiTokens").cookie(cookie).send().want(http.StatusUnauthorized)
	h.alive(token)
	h.userpass(alice, password).want(http.StatusUnauthorized, invalidCredentials)
	cookie = h.login(alice, "another password")

	check("remove", h.admin.RemoveUser(ctx, alice), http.StatusUnauthorized)
	h.ask("GET", "/api/getApiTokens").cookie(cookie).send().want(http.StatusUnauthorized)
	h.addUser(alice, password)
	h.dead(token)
	if got := len(h.listed(h.token())); got != 1 {
		t.Errorf("got %d tokens of the new alice, want 1", got)
	}
}

func TestRevokeIdle(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Tokens.RevokeIdleAfter = config.Lifetime{Duration: 90 * 24 * time.Hour} })
	idle, busy := h.token(), h.token()
	h.clock.Move(90*24*time.Hour - time.Millisecond)
	h.alive(busy)
	h.Idle().Sweep()
	h.clock.Move(time.Millisecond)
	h.Idle().Sweep()
	h.dead(idle)
	h.alive(busy)
}

// TestSweepIdle: a policy of seconds takes effect within seconds, not within the hour
// that is enough for one of months.
func TestSweepIdle(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Tokens.RevokeIdleAfter = config.Lifetime{Duration: 2 * time.Second} })
	idle, _, _ := h.store.Identify(h.token())
	h.clock.Move(2 * time.Second)
	ctx, stop := context.WithCancel(t.Context())
	var sweeps sync.WaitGroup
	sweeps.Go(func() { h.Idle().Run(ctx) })
	defer sweeps.Wait()
	defer stop()
	for {
		switch tk, err := h.store.Token(idle); {
		case err != nil:
			t.Fatal(err)
		case tk.Revoked != 0:
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestConcurrentUse revokes a token while it is used: once its revocation has
// been answered, no use passes.
func TestConcurrentUse(t *testing.T) {
	h := newHouse(t)
	for range 20 {
		token := h.token()
		id, _, ok := h.store.Identify(token)
		if !ok {
			t.Fatal("the token is not known")
		}
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default:
					h.ask("GET", "/api/token").token(token).send()
				}
			}
		}()
		h.ask("GET", "/api/revokeApiToken").token(token).send().want(http.StatusOK)
		h.dead(token)
		close(stop)
		<-ended
		if tk, err := h.store.Token(id); err != nil || tk.Revoked == 0 {
			t.Errorf("got %v, %v, want it revoked", tk.Revoked, err)
		}
	}
}
