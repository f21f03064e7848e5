package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest"
)

// An introspection endpoint that answers 400, as some do for an ID token posted by
// mistake, has refused the token: the client is told so, and throttled.
func TestPostedByMistake(t *testing.T) {
	s := oauthtest.New(t, "oidc")
	h := newHouse(t, withProvider(s, "corp"), func(c *config.Config) { c.Logins.AccountFailures = 3 })
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/introspect" {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_request"}`))
		return true
	})
	for range 3 {
		h.postToken("corp", "ada@example.com", "an.id.token").want(http.StatusUnauthorized, invalidCredentials)
	}
	if wait := h.postToken("corp", "ada@example.com", "an.id.token").want(http.StatusTooManyRequests).retryAfter(); wait <= 0 {
		t.Errorf("got Retry-After %v", wait)
	}
	st, err := h.admin.Status(t.Context())
	if err != nil || len(st.Providers) != 1 || st.Providers[0].LastFailure != 0 || strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("got status %+v, %v, and the log %s", st.Providers, err, h.log)
	}
}

// What the log says about a refused login: why, who, and from where.
func TestRefusedLog(t *testing.T) {
	s := oauthtest.New(t, "gitea")
	h := newHouse(t, withProvider(s, "gitea"))
	first := ada()
	h.postToken("gitea", "ada@example.com", s.Issue(oauthtest.Client, first, "read:user")).newToken()
	blocked, inactive, must := ada(), ada(), ada()
	blocked.Blocked, inactive.Inactive, must.NewPassword = true, true, true
	for _, c := range []struct {
		mail, token string
		want        []string
	}{
		{"ada@example.com", s.Issue(oauthtest.Client, blocked, "read:user"), []string{`reason="the account may not log in"`, "uid=ada@example.com"}},
		{"ada@example.com", s.Issue(oauthtest.Client, inactive, "read:user"), []string{`reason="the account is not activated"`, "uid=ada@example.com"}},
		{"ada@example.com", s.Issue(oauthtest.Client, must, "read:user"), []string{`reason="the account must change its password first"`}},
		{"ada@example.com", s.Issue(oauthtest.Client, ada(), "read:repository"), []string{`reason="the token lacks a scope that is needed"`, "subject=17"}},
		{"bob@example.com", s.Issue(oauthtest.Client, ada(), "read:user"), []string{`reason="the token's owner does not have the address that was posted"`, "uid=bob@example.com", "subject=17"}},
		{"not-an-address", s.Issue(oauthtest.Client, ada(), "read:user"), []string{"uid=Ada@Example.com", "subject=17"}},
		{"ada@example.com", "never-issued", []string{`reason="the provider does not know the token, or no longer"`, "uid=ada@example.com"}},
	} {
		before := len(h.log.String())
		h.postToken("gitea", c.mail, c.token).want(http.StatusUnauthorized, invalidCredentials)
		said := h.log.String()[before:]
		for _, want := range append(c.want, `msg="a provider refused a login"`, "provider=gitea", "address=192.0.2.1") {
			if !strings.Contains(said, want) {
				t.Errorf("%s: the log does not say %s: %s", c.mail, want, said)
			}
		}
		if strings.Contains(said, c.token) || strings.Contains(said, "not-an-address") {
			t.Errorf("%s: the log says what was sent: %s", c.mail, said)
		}
	}
}

// unsaid makes an oidc stand-in say whether an address is verified, or say nothing.
func unsaid(s *oauthtest.Server, verified any) {
	set := func(m map[string]any) {
		if delete(m, "email_verified"); verified != nil {
			m["email_verified"] = verified
		}
	}
	s.Claims = set
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/userinfo" {
			return false
		}
		m := map[string]any{"sub": "17", "email": "Ada@Example.com", "name": "Ada Backus"}
		set(m)
		w.Write([]byte(toJSON(m)))
		return true
	})
}

// A token that may not tell the address does not belong to somebody else.
func TestNoAddress(t *testing.T) {
	s := oauthtest.New(t, "oidc")
	h := newHouse(t, withProvider(s, "corp"))
	h.postToken("corp", "ada@example.com", s.Issue(oauthtest.Client, ada(), "openid", "profile")).want(http.StatusUnauthorized, invalidCredentials)
	if !strings.Contains(h.log.String(), "the provider gave no address") {
		t.Errorf("the log says %s", h.log)
	}
}

// An address that the provider does not call verified counts only with trust_email;
// and when the provider does not say, as Entra ID does not, the log says that.
func TestTrustEmail(t *testing.T) {
	storagetest.Slow(t)
	const silent, no = "does not say that the address is verified", "has not verified the address"
	for _, c := range []struct {
		verified any // of the claim; nil: not sent
		trust    bool
		why      string // in the log; empty: the login is let in
	}{
		{true, false, ""}, {"true", false, ""},
		{nil, false, silent}, {false, false, no}, {"false", false, no}, {1, false, no},
		{nil, true, ""}, {false, true, ""},
	} {
		s := oauthtest.New(t, "oidc")
		h := newHouse(t, public, withProvider(s, "corp", func(c2 *config.OAuth) { c2.TrustEmail = c.trust }))
		unsaid(s, c.verified)
		posted := h.postToken("corp", "ada@example.com", s.Issue(oauthtest.Client, ada(), "openid", "email"))
		v := h.visitor()
		browser := v.visit(s.Agree(v.begin("/login/corp"), ada()))
		if c.why == "" {
			posted.want(http.StatusOK)
			browser.want(http.StatusFound)
			h.wantUsers("Ada@Example.com corp active")
			continue
		}
		posted.want(http.StatusUnauthorized, invalidCredentials)
		browser.want(http.StatusForbidden, `{"error":"There is no e-mail address for this account: ask an administrator"}`)
		h.wantUsers()
		if n := strings.Count(h.log.String(), c.why); n != 2 {
			t.Errorf("%v: the log gives the reason %q %d times, want 2: %s", c.verified, c.why, n, h.log)
		}
		if h.postToken("corp", "bob@example.com", s.Issue(oauthtest.Client, ada(), "openid", "email")).want(http.StatusUnauthorized); !strings.Contains(h.log.String(), "does not have the address") {
			t.Error("another address is not told apart")
		}
	}
}

// trust_email works for each type of provider, and is reported.
func TestTrustEmailEverywhere(t *testing.T) {
	storagetest.Slow(t)
	for kind, scopes := range map[string][]string{"github": gitHubScopes, "gitlab": {"read_user"}, "google": {"openid", "email"}, "gitea": {"read:user"}} {
		person := ada()
		person.Emails[0].Verified = false
		for _, trust := range []bool{false, true} {
			s := oauthtest.New(t, kind)
			h := newHouse(t, withProvider(s, kind, func(c *config.OAuth) { c.TrustEmail = trust }))
			got := h.postToken(kind, "ada@example.com", s.Issue(oauthtest.Client, person, scopes...))
			if got.code != map[bool]int{false: http.StatusUnauthorized, true: http.StatusOK}[trust] {
				t.Errorf("%s, trust_email %t: got %d", kind, trust, got.code)
			}
			st, err := h.admin.Status(t.Context())
			if told := strings.Contains(st.Providers[0].Insecure, "trust_email"); err != nil || told != trust {
				t.Errorf("%s: got status %+v, %v", kind, st.Providers, err)
			}
			if log := h.log.String(); !trust && !slices.ContainsFunc(strings.Split(log, "\n"), func(line string) bool {
				return strings.Contains(line, "has not verified the address") && strings.Contains(line, "uid=ada@example.com")
			}) {
				t.Errorf("%s: the log says %s", kind, log)
			}
		}
	}
}
