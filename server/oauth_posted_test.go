package server_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/server"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// withProvider configures the provider of a stand-in, under that name.
func withProvider(s *oauthtest.Server, name string, change ...func(*config.OAuth)) func(*config.Config) {
	return func(c *config.Config) {
		roomy(c)
		p := config.OAuth{Type: s.Kind, URL: s.URL, Insecure: true, ClientID: oauthtest.Client, ClientSecretFile: s.SecretFile()}
		for _, f := range change {
			f(&p)
		}
		if c.OAuth == nil {
			c.OAuth = map[string]config.OAuth{}
		}
		c.OAuth[name] = p
	}
}

// ada is a person at a provider, with an address that is checked there.
func ada() *oauthtest.Account {
	return &oauthtest.Account{ID: 17, Login: "ada", Name: "Ada Backus", Emails: oauthtest.Verified("Ada@Example.com")}
}

var gitHubScopes = []string{"read:user", "user:email"}

// newGitHubHouse opens a house beside a GitHub.
func newGitHubHouse(t testing.TB, change ...func(*config.Config)) (*house, *oauthtest.Server) {
	t.Helper()
	s := oauthtest.New(t, "github")
	return newHouse(t, append([]func(*config.Config){withProvider(s, "github")}, change...)...), s
}

// postToken sends a token of a provider's.
func (h *house) postToken(provider, mail, token string) answer {
	body := map[string]any{"email": mail, "info": map[string]string{"accessToken": token}}
	return h.ask("POST", "/api/authenticate/"+provider).json(toJSON(body)).send()
}

// TestPosted: a user appears at the first login, with the name as the provider spells it,
// and stays the same user with any addresses.
func TestPosted(t *testing.T) {
	h, s := newGitHubHouse(t)
	person := ada()
	token := s.Issue(oauthtest.Client, person, gitHubScopes...)
	for _, mail := range []string{"ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.com"} {
		got := h.postToken("github", mail, token).newToken()
		if got.ExpiresOn != api.Never || len(got.Secret) != 256 {
			t.Errorf("got %+v", got)
		}
		if uid := h.owner(got.Secret); uid != "Ada@Example.com" {
			t.Errorf("got the token of %s, want Ada@Example.com", uid)
		}
	}
	h.wantUsers("Ada@Example.com github active")

	person.Emails = append(person.Emails, oauthtest.Email{Address: "ada@home.example", Verified: true})
	if uid := h.owner(h.postToken("github", "ada@home.example", token).newToken().Secret); uid != "Ada@Example.com" {
		t.Errorf("with a second address: got the token of %s, want Ada@Example.com", uid)
	}
	person.Emails = oauthtest.Verified("ada@home.example")
	if uid := h.owner(h.postToken("github", "ada@home.example", token).newToken().Secret); uid != "ada@home.example" {
		t.Errorf("with another address: got the token of %s, want ada@home.example", uid)
	}
	h.wantUsers("ada@home.example github active")
	if got := h.figures()[`gatehouse_logins_total{method="github",outcome="accepted"}`]; got != 5 {
		t.Errorf("got %v accepted logins in the metrics, want 5", got)
	}
}

// TestPostedRefused: one answer for everything that proves nothing.
func TestPostedRefused(t *testing.T) {
	h, s := newGitHubHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 1000 })
	unverified, blocked, other := ada(), ada(), ada()
	unverified.Emails = []oauthtest.Email{{Address: "ada@example.com", Primary: true}}
	blocked.Blocked = true
	other.Emails = oauthtest.Verified("mallory@example.com")
	revoked := s.Issue(oauthtest.Client, ada(), gitHubScopes...)
	s.Revoke(revoked)
	for what, token := range map[string]string{
		"another service's":    s.Issue(oauthtest.Foreign, ada(), gitHubScopes...),
		"an address unchecked": s.Issue(oauthtest.Client, unverified, gitHubScopes...),
		"blocked":              s.Issue(oauthtest.Client, blocked, gitHubScopes...),
		"somebody else's":      s.Issue(oauthtest.Client, other, gitHubScopes...),
		"without the scope":    s.Issue(oauthtest.Client, ada(), "repo"),
		"revoked":              revoked,
		"none":                 "",
		"unknown":              "gho_unknown",
		"hostile":              "x\r\nX-Evil: 1",
	} {
		got := h.postToken("github", "ada@example.com", token).want(http.StatusUnauthorized, invalidCredentials)
		if got.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: got a challenge", what)
		}
	}
	token := s.Issue(oauthtest.Client, ada(), gitHubScopes...)
	for _, mail := range []string{"", "public@example.com", "ada@example.co", "ada@example.com ", "ada@example.com\x00", "ada", "*", strings.Repeat("a", 50_000)} {
		h.postToken("github", mail, token).want(http.StatusUnauthorized, invalidCredentials)
	}
	h.wantUsers()
	if got := h.figures()[`gatehouse_logins_total{method="github",outcome="rejected"}`]; got != 17 {
		t.Errorf("got %v rejected logins in the metrics, want 17", got)
	}
}

// TestPostedMerge: an address opens no account of another subject, or of another source
// (CVE-2023-3128).
func TestPostedMerge(t *testing.T) {
	h, s := newGitHubHouse(t)
	mallory := &oauthtest.Account{ID: 66, Login: "mallory", Emails: oauthtest.Verified(alice)}
	token := s.Issue(oauthtest.Client, mallory, gitHubScopes...)
	h.postToken("github", alice, token).want(http.StatusConflict, `{"error":"This address belongs to another account"}`)
	if log := h.log.String(); !strings.Contains(log, "uid="+alice+" source=github subject=66") {
		t.Errorf("the log does not name the address once:\n%s", log)
	}

	h.postToken("github", "ada@example.com", s.Issue(oauthtest.Client, ada(), gitHubScopes...)).newToken()
	mallory.Emails = oauthtest.Verified("ADA@example.com")
	h.postToken("github", "ada@example.com", token).want(http.StatusConflict)
	h.wantUsers("Ada@Example.com github active")

	// An administrator links them; the account still keeps its name.
	mallory.Emails = oauthtest.Verified("alice@home.example")
	must.Get(h.admin.LinkUser(t.Context(), alice, api.Link{Identity: api.Identity{Source: "github", Subject: "66"}}))(t)
	if uid := h.owner(h.postToken("github", "alice@home.example", token).newToken().Secret); uid != alice {
		t.Errorf("got the token of %s, want %s", uid, alice)
	}
	must.Do(t, h.admin.DisableUser(t.Context(), alice))
	h.postToken("github", "alice@home.example", token).want(http.StatusUnauthorized, invalidCredentials)
}

// TestPostedTwoProviders: the same number at two providers is two people.
func TestPostedTwoProviders(t *testing.T) {
	gitHub, gitLab := oauthtest.New(t, "github"), oauthtest.New(t, "gitlab")
	h := newHouse(t, withProvider(gitHub, "github"), withProvider(gitLab, "gitlab"))
	bob := &oauthtest.Account{ID: 17, Login: "bob", Emails: oauthtest.Verified("bob@example.com")}
	h.postToken("github", "ada@example.com", gitHub.Issue(oauthtest.Client, ada(), gitHubScopes...)).newToken()
	h.postToken("gitlab", "bob@example.com", gitLab.Issue(oauthtest.Client, bob, "read_user")).newToken()
	h.wantUsers("Ada@Example.com github active", "bob@example.com gitlab active")
	h.postToken("github", "bob@example.com", gitLab.Issue(oauthtest.Client, bob, "read_user")).want(http.StatusUnauthorized)
}

func TestPostedBodies(t *testing.T) {
	h, s := newGitHubHouse(t)
	token := s.Issue(oauthtest.Client, ada(), gitHubScopes...)
	const json = "application/json"
	good := `{"email":"ada@example.com","info":{"accessToken":"` + token + `"}}`
	printed := `{'email':'ada@example.com', 'info': { 'accessToken': '` + token + `' }}`
	for _, c := range []struct {
		what, mediaType, body string
		want                  int
	}{
		{"JSON", json, good, http.StatusOK},
		{"as printed", json, printed, http.StatusOK},
		{"as printed, as curl -d sends it", "application/x-www-form-urlencoded", printed, http.StatusOK},
		{"JSON as curl -d sends it", "application/x-www-form-urlencoded", " " + good, http.StatusOK},
		{"no type", "", printed, http.StatusOK},
		{"with a charset", json + "; charset=utf-8", good, http.StatusOK},
		{"more than is asked for", json, `{"name":"Ada","email":"ada@example.com","info":{"scope":[1],"accessToken":"` + token + `"}}`, http.StatusOK},

		{"no email", json, `{"info":{"accessToken":"x"}}`, http.StatusBadRequest},
		{"no info", json, `{"email":"ada@example.com"}`, http.StatusBadRequest},
		{"info null", json, `{"email":"ada@example.com","info":null}`, http.StatusBadRequest},
		{"info a string", json, `{"email":"ada@example.com","info":"x"}`, http.StatusBadRequest},
		{"no token", json, `{"email":"ada@example.com","info":{}}`, http.StatusBadRequest},
		{"token null", json, `{"email":"ada@example.com","info":{"accessToken":null}}`, http.StatusBadRequest},
		{"token a number", json, `{"email":"ada@example.com","info":{"accessToken":1}}`, http.StatusBadRequest},
		{"names in another case", json, `{"Email":"ada@example.com","INFO":{"accesstoken":"` + token + `"}}`, http.StatusBadRequest},
		{"twice", json, `{"email":"mallory@example.com","email":"ada@example.com","info":{"accessToken":"x"}}`, http.StatusBadRequest},
		{"twice within", json, `{'email':'ada@example.com','info':{'accessToken':'x','accessToken':'y'}}`, http.StatusBadRequest},
		{"array", json, `[]`, http.StatusBadRequest},
		{"null", json, `null`, http.StatusBadRequest},
		{"empty", json, ``, http.StatusBadRequest},
		{"neither", json, `{email:ada}`, http.StatusBadRequest},
		{"not UTF-8", json, "{'email':'\xff','info':{'accessToken':'x'}}", http.StatusBadRequest},
		{"deep", json, strings.Repeat("{'a':", 10_000) + "1" + strings.Repeat("}", 10_000), http.StatusBadRequest},
		{"a form", "application/x-www-form-urlencoded", "email=a&accessToken=x", http.StatusUnsupportedMediaType},
		{"text", "text/plain", good, http.StatusUnsupportedMediaType},
		{"too large", json, good + strings.Repeat(" ", 64<<10), http.StatusRequestEntityTooLarge},
	} {
		a := h.ask("POST", "/api/authenticate/github").body(c.mediaType, c.body)
		if c.mediaType == "" {
			a.r.Header.Del("Content-Type")
		}
		got := a.send()
		if got.code != c.want {
			t.Errorf("%s: got %d %.200s, want %d", c.what, got.code, got.text, c.want)
		} else if c.want >= 400 {
			got.wantError()
		}
	}
}

// TestPostedUnavailable: a provider that hangs or breaks gives 503, only to its own
// people, and counts no failure.
func TestPostedUnavailable(t *testing.T) {
	gitHub, gitLab := oauthtest.New(t, "github"), oauthtest.New(t, "gitlab")
	h := newHouse(t, withProvider(gitHub, "github"), withProvider(gitLab, "gitlab"), func(c *config.Config) { c.Logins.AccountFailures = 1 })
	h.start(h.store, server.Options{ProviderTimeout: 50 * time.Millisecond})
	token := gitHub.Issue(oauthtest.Client, ada(), gitHubScopes...)
	gitHub.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		return true
	})
	for range 3 {
		h.postToken("github", "ada@example.com", token).want(http.StatusServiceUnavailable, `{"error":"The provider is not available: try again later"}`)
	}
	h.start(h.store, server.Options{}) // with time for an answer
	gitHub.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	h.postToken("github", "ada@example.com", token).want(http.StatusServiceUnavailable)

	st, err := h.admin.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Providers) != 2 || st.Providers[0].Name != "github" || st.Providers[0].Reachable || st.Providers[0].LastFailure != h.clock.Milli() ||
		!strings.Contains(st.Providers[0].LastError, "502") || !strings.Contains(st.Providers[0].Insecure, "http") {
		t.Errorf("got %+v", st.Providers)
	}
	gitHub.Intercept(nil)
	h.postToken("github", "ada@example.com", token).newToken()
	if st, err = h.admin.Status(t.Context()); err != nil || !st.Providers[0].Reachable || st.Providers[0].LastSuccess != h.clock.Milli() || st.Providers[1].LastSuccess != 0 {
		t.Errorf("got %+v, %v", st.Providers, err)
	}
}

// TestPostedQueue: a login that waits for other logins of the same account waits no
// longer than the time-out of the provider, for which the others wait.
func TestPostedQueue(t *testing.T) {
	h, s := newGitHubHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 1 })
	h.start(h.store, server.Options{ProviderTimeout: time.Millisecond})
	other := guard.NewProviderAttempt("github", "ADA@example.com", netip.MustParseAddr("192.0.2.1"))
	leave := must.Get(h.Logins().Throttle.Enter(t.Context(), other))(t)
	defer leave(guard.Undecided, nil)
	h.postToken("github", "ada@example.com", "x").want(http.StatusServiceUnavailable, `{"error":"The provider is not available: try again later"}`)
	if asked := s.Asked(); len(asked) != 0 {
		t.Errorf("got the questions %q, want none", asked)
	}
}

// TestPostedThrottle: failures are counted by address, and by the mail within an address.
// A stranger who knows the mail keeps nobody out.
func TestPostedThrottle(t *testing.T) {
	h, s := newGitHubHouse(t, func(c *config.Config) { c.Logins = config.Logins{Local: true, AccountFailures: 3, AddressFailures: 6} })
	token := s.Issue(oauthtest.Client, ada(), gitHubScopes...)
	try := func(from, mail, token string) answer {
		return h.ask("POST", "/api/authenticate/github").from(from).json(`{"email":"` + mail + `","info":{"accessToken":"` + token + `"}}`).send()
	}
	const mallory, home = "203.0.113.9:1", "192.0.2.7:1"
	for range 3 {
		try(mallory, "ada@example.com", "x").want(http.StatusUnauthorized)
	}
	got := try(mallory, "ADA@example.com", token).want(http.StatusTooManyRequests)
	if got.header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
	try(home, "ada@example.com", token).newToken()
	h.userpass(alice, password).newToken()
	for range 3 {
		try(mallory, "bob@example.com", "x").want(http.StatusUnauthorized)
	}
	try(mallory, "carol@example.com", "x").want(http.StatusTooManyRequests)
	h.wantTold(storage.ActionLoginRefused, "") // of nobody, from one address: the others are counted
	try(home, alice, "x").want(http.StatusUnauthorized)
	h.wantTold(storage.ActionLoginRefused, "", alice+" "+alice)
}

// TestPostedSecrets: the log, the audit log and the status never contain a token or a
// secret.
func TestPostedSecrets(t *testing.T) {
	h, s := newGitHubHouse(t)
	good, foreign := s.Issue(oauthtest.Client, ada(), gitHubScopes...), s.Issue(oauthtest.Foreign, ada(), gitHubScopes...)
	h.postToken("github", "ada@example.com", good).newToken()
	h.postToken("github", "ada@example.com", foreign).want(http.StatusUnauthorized)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, r.Header.Get("Authorization")+good, http.StatusInternalServerError)
		return true
	})
	h.postToken("github", "ada@example.com", good).want(http.StatusServiceUnavailable)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://"+good+".example/?"+good, http.StatusFound)
		return true
	})
	h.postToken("github", "ada@example.com", good).want(http.StatusServiceUnavailable)
	h.wantNoSecrets(good, foreign, oauthtest.Secret)
}

// wantNoSecrets checks everything that is written down.
func (h *house) wantNoSecrets(secrets ...string) {
	h.Helper()
	written := h.log.String()
	st := must.Get(h.admin.Status(h.Context()))(h)
	written += toJSON(st)
	for e := range must.All(h.admin.Events(h.Context(), api.EventQuery{}))(h) {
		written += toJSON(e)
	}
	if !strings.Contains(written, "refused a login") {
		h.Errorf("nothing is written down: %s", written)
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(strings.ToLower(written), strings.ToLower(s)) {
			h.Errorf("%s is written down", s)
		}
	}
}

// TestPostedUnchecked: if a provider can't say which client a token was issued to, nobody
// can log in with a token of it. The person is told about the other way.
func TestPostedUnchecked(t *testing.T) {
	s := oauthtest.New(t, "oidc")
	s.Metadata = func(m map[string]any) { delete(m, "introspection_endpoint") }
	h := newHouse(t, withProvider(s, "corp"))
	token := s.Issue(oauthtest.Client, ada(), "openid", "email", "profile")
	h.postToken("corp", "ada@example.com", token).want(http.StatusForbidden, `{"error":"This provider can't say whom a token was issued to: log in with a browser instead"}`)
}
