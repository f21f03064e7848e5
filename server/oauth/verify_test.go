package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest/must"
)

// kinds are all types, with the scopes that their tokens need.
var kinds = map[string][]string{
	GitHub: {"read:user", "user:email"},
	GitLab: {"read_user"},
	Google: {"openid", "email", "profile"},
	Gitea:  {"read:user"},
	OIDC:   {"openid", "email", "profile"},
}

// everyKind runs a test against a stand-in of each type.
func everyKind(t *testing.T, test func(*testing.T, *oauthtest.Server, []string)) {
	for kind, scopes := range kinds {
		t.Run(kind, func(t *testing.T) { test(t, oauthtest.New(t, kind), scopes) })
	}
}

// open opens a provider with the stand-in as its server.
func open(t *testing.T, s *oauthtest.Server, change ...func(*Config)) *Provider {
	t.Helper()
	_, kind, _ := strings.Cut(t.Name(), "/")
	kind, _, _ = strings.Cut(kind, "/")
	cfg := Config{
		Name: "corp", Type: kind, URL: s.URL, Insecure: true,
		ClientID: oauthtest.Client, ClientSecretFile: s.SecretFile(), Timeout: time.Minute,
	}
	for _, f := range change {
		f(&cfg)
	}
	p := must.Get(New(cfg))(t)
	return p
}

// wantRefused checks that an error is a refusal with this reason, and that it contains no
// secret.
func wantRefused(t *testing.T, err error, reason string, secrets ...string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want a refusal with %q", err, reason)
	}
	wantNone(t, err, secrets...)
}

func wantUnavailable(t *testing.T, err error, reason string, secrets ...string) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want one that is unavailable, with %q", err, reason)
	}
	wantNone(t, err, secrets...)
}

func wantNone(t *testing.T, err error, secrets ...string) {
	t.Helper()
	for _, s := range append(secrets, oauthtest.Secret, url.QueryEscape(oauthtest.Secret)) {
		if err != nil && s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("the error has a secret in it: %v", err)
		}
	}
}

func mail(address string, primary, verified bool) oauthtest.Email {
	return oauthtest.Email{Address: address, Primary: primary, Verified: verified}
}

func ada() *oauthtest.Account {
	return &oauthtest.Account{ID: 17, Login: "ada", Name: "Ada Backus", Emails: oauthtest.Verified("Ada@example.com")}
}

func TestVerify(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s)
		got := must.Get(p.Verify(t.Context(), s.Issue(oauthtest.Client, ada(), scopes...)))(t)
		want := Claims{Subject: "17", Emails: []string{"Ada@example.com"}, Name: "Ada Backus"}
		if got.Subject != want.Subject || got.Name != want.Name || !slices.Equal(got.Emails, want.Emails) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if st := p.Status(); !st.Reachable || st.LastSuccess.IsZero() || !st.LastFailure.IsZero() || st.Latency <= 0 {
			t.Errorf("got status %+v", st)
		}
	})
}

// TestVerifyForeign: a token that was issued to another service is worth nothing, unless
// the configuration accepts it.
func TestVerifyForeign(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		token := s.Issue(oauthtest.Foreign, ada(), scopes...)
		_, err := open(t, s).Verify(t.Context(), token)
		wantRefused(t, err, "client", token)
		s.Asked()
		got, err := open(t, s, func(c *Config) { c.AcceptAnyClient = true }).Verify(t.Context(), token)
		if err != nil || got.Subject != "17" {
			t.Errorf("with accept_any_client: got %+v, %v", got, err)
		}
	})
}

func TestVerifyRefuses(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s)
		live := s.Issue(oauthtest.Client, ada(), scopes...)
		s.Revoke(live)
		_, err := p.Verify(t.Context(), live)
		wantRefused(t, err, "", live)

		_, err = p.Verify(t.Context(), "tok_NEVER")
		wantRefused(t, err, "", "tok_NEVER")

		token := s.Issue(oauthtest.Client, ada(), "nothing")
		_, err = p.Verify(t.Context(), token)
		wantRefused(t, err, "scope", token)

		s.Asked()
		for _, malformed := range []string{"", " ", "a b", "a\r\nX-Injected: 1", "a\x00", "ä", strings.Repeat("a", 16<<10+1)} {
			_, err = p.Verify(t.Context(), malformed)
			wantRefused(t, err, "malformed")
		}
		if asked := s.Asked(); len(asked) != 0 {
			t.Errorf("malformed tokens were sent: %q", asked)
		}
		if st := p.Status(); !st.Reachable || !st.LastFailure.IsZero() {
			t.Errorf("refusals are no failures: got status %+v", st)
		}
	})
}

// TestVerifyEmails: only what the provider has checked counts.
func TestVerifyEmails(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s)
		several := t.Name() == "TestVerifyEmails/github" || t.Name() == "TestVerifyEmails/gitea"
		for _, c := range []struct {
			what   string
			emails []oauthtest.Email
			one    []string
			all    []string
		}{
			{"not verified", []oauthtest.Email{mail("boss@example.com", true, false)}, nil, nil},
			{"none", nil, nil, nil},
			{"the primary one is not verified", []oauthtest.Email{mail("boss@example.com", true, false), mail("me@example.com", false, true)}, nil, []string{"me@example.com"}},
			{"the primary one first", []oauthtest.Email{mail("b@example.com", false, true), mail("a@example.com", true, true), mail("c@example.com", false, false)}, []string{"a@example.com"}, []string{"a@example.com", "b@example.com"}},
			{"hostile", []oauthtest.Email{mail("a@example.com\r\nBcc: x", true, true), mail("no address", false, true), mail("a@exam\u202eple.com", false, true)}, nil, nil},
		} {
			want := c.one
			if several {
				want = c.all
			}
			got, err := p.Verify(t.Context(), s.Issue(oauthtest.Client, &oauthtest.Account{ID: 1, Emails: c.emails}, scopes...))
			if err != nil || !slices.Equal(got.Emails, want) {
				t.Errorf("%s: got %q, %v, want %q", c.what, got.Emails, err, want)
			}
		}
	})
}

// TestGitHubPages: all pages of the addresses are read, and none elsewhere.
func TestGitHubPages(t *testing.T) {
	t.Run(GitHub, func(t *testing.T) {
		s := oauthtest.New(t, GitHub)
		s.PageSize = 2
		p := open(t, s)
		person := &oauthtest.Account{ID: 1, Emails: []oauthtest.Email{
			mail("a@example.com", false, true), mail("b@example.com", false, true), mail("c@example.com", false, false), mail("d@example.com", false, true), mail("e@example.com", true, true),
		}}
		token := s.Issue(oauthtest.Client, person, kinds[GitHub]...)
		got, err := p.Verify(t.Context(), token)
		if want := []string{"e@example.com", "a@example.com", "b@example.com", "d@example.com"}; err != nil || !slices.Equal(got.Emails, want) {
			t.Errorf("got %q, %v, want %q", got.Emails, err, want)
		}

		elsewhere := oauthtest.New(t, GitHub)
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Link", "<"+elsewhere.URL+`/api/v3/user/emails?page=2>; rel="next"`)
			return false
		})
		s.PageSize = 100
		must.Get(p.Verify(t.Context(), token))(t)
		if asked := elsewhere.Asked(); len(asked) != 0 {
			t.Errorf("a page on another host was asked for: %q", asked)
		}
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool { // without end
			w.Header().Set("Link", "<"+s.URL+`/api/v3/user/emails?page=1>; rel="next"`)
			return false
		})
		s.Asked()
		must.Get(p.Verify(t.Context(), token))(t)
		if n := len(s.Asked()); n > 15 {
			t.Errorf("got %d requests for a listing without end", n)
		}
	})
}

func TestGitHubAPI(t *testing.T) {
	for url, want := range map[string]string{
		"https://github.com":            "https://api.github.com",
		"https://github.com/":           "https://api.github.com",
		"https://octocorp.ghe.com":      "https://api.octocorp.ghe.com",
		"https://github.example.com":    "https://github.example.com/api/v3",
		"https://github.com.example":    "https://github.com.example/api/v3",
		"https://example.com/github/":   "https://example.com/github/api/v3",
		"https://github.example.com:81": "https://github.example.com:81/api/v3",
	} {
		if got := newGitHub(newClient(Config{URL: url}.WithDefaults(), "")).api; got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}

// TestVerifyTwoPeople: the person a token was issued for, and the person it speaks for,
// must be the same.
func TestVerifyTwoPeople(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s)
		token := s.Issue(oauthtest.Client, ada(), scopes...)
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/api/v3/user", "/api/v4/user", "/api/v1/user":
				w.Write([]byte(`{"id":1,"login":"root","state":"active"}`))
			case "/v1/userinfo", "/userinfo":
				w.Write([]byte(`{"sub":"1","email":"root@example.com","email_verified":true}`))
			default:
				return false
			}
			return true
		})
		_, err := p.Verify(t.Context(), token)
		wantRefused(t, err, "speaks for another", token)
	})
}

// TestVerifyBlocked: a person who may not log in there may not log in here.
func TestVerifyBlocked(t *testing.T) {
	for kind, reason := range map[string]string{GitHub: "the account is suspended", GitLab: "the account is blocked", Gitea: "the account may not log in"} {
		t.Run(kind, func(t *testing.T) {
			s := oauthtest.New(t, kind)
			person := ada()
			person.Blocked = true
			_, err := open(t, s).Verify(t.Context(), s.Issue(oauthtest.Client, person, kinds[kind]...))
			wantRefused(t, err, reason)
		})
	}
}

// TestVerifyHostile: subjects that can't stand for a person.
func TestVerifyHostile(t *testing.T) {
	t.Run(OIDC, func(t *testing.T) {
		s := oauthtest.New(t, OIDC)
		p := open(t, s, func(c *Config) { c.AcceptAnyClient = true })
		token := s.Issue(oauthtest.Client, ada(), kinds[OIDC]...)
		for _, subject := range []string{`""`, `null`, `"a\nb"`, `"\u0000"`, `"a\u202eb"`, `"` + strings.Repeat("a", 256) + `"`} {
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/userinfo" {
					return false
				}
				w.Write([]byte(`{"sub":` + subject + `,"email":"a@example.com","email_verified":"true","name":"\u001b[31mroot\u0000"}`))
				return true
			})
			_, err := p.Verify(t.Context(), token)
			wantRefused(t, err, "no usable subject")
		}
	})
}

// TestUnavailable: a provider that is broken, or answers nonsense, gives no verdict, and
// nothing passes on what it repeats.
func TestUnavailable(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		elsewhere := oauthtest.New(t, s.Kind)
		token := s.Issue(oauthtest.Client, ada(), scopes...)
		for _, c := range []struct {
			what, want string
			answer     func(http.ResponseWriter, *http.Request) bool
		}{
			{"500", "status 500", func(w http.ResponseWriter, r *http.Request) bool {
				http.Error(w, "boom "+r.URL.String()+r.Header.Get("Authorization"), http.StatusInternalServerError)
				return true
			}},
			{"no JSON", "JSON", func(w http.ResponseWriter, r *http.Request) bool {
				w.Write([]byte("<html>" + token))
				return true
			}},
			{"JSON of another shape", "JSON", func(w http.ResponseWriter, r *http.Request) bool {
				w.Write([]byte(`["` + token + `"]`))
				return r.URL.Path != "/api/v3/user/emails"
			}},
			{"2 MiB", "larger than 1 MiB", func(w http.ResponseWriter, r *http.Request) bool {
				w.Write([]byte(`{"x":"` + strings.Repeat("x", 2<<20) + `"}`))
				return true
			}},
			{"elsewhere", "redirects to", func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, elsewhere.URL+r.URL.String(), http.StatusTemporaryRedirect)
				return true
			}},
			{"in circles", "in circles", func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
				return true
			}},
			{"gone away", "can't be asked", func(w http.ResponseWriter, r *http.Request) bool {
				panic(http.ErrAbortHandler)
			}},
		} {
			p := open(t, s)
			s.Intercept(c.answer)
			_, err := p.Verify(t.Context(), token)
			wantUnavailable(t, err, c.want, token)
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("%s: got an error of %d bytes", c.what, len(err.Error()))
			}
			if st := p.Status(); st.Reachable || st.LastFailure.IsZero() || !strings.Contains(st.LastError, c.want) || strings.Contains(st.LastError, token) {
				t.Errorf("%s: got status %+v", c.what, st)
			}
		}
		if asked := elsewhere.Asked(); len(asked) != 0 {
			t.Errorf("a redirect to another host was followed: %q", asked)
		}
	})
}

// TestOurFault: if the provider does not accept our own credentials, no token is to
// blame.
func TestOurFault(t *testing.T) {
	for _, kind := range []string{GitHub, Gitea, OIDC} {
		t.Run(kind, func(t *testing.T) {
			s := oauthtest.New(t, kind)
			p := open(t, s, func(c *Config) { c.ClientSecretFile = secretFile(t, "another-secret", 0o600) })
			_, err := p.Verify(t.Context(), s.Issue(oauthtest.Client, ada(), kinds[kind]...))
			wantUnavailable(t, err, "client_secret_file", "another-secret")
		})
	}
}

// TestRateLimit: too many requests is no verdict either.
func TestRateLimit(t *testing.T) {
	for _, kind := range []string{GitHub, GitLab, Gitea} {
		t.Run(kind, func(t *testing.T) {
			s := oauthtest.New(t, kind)
			token := s.Issue(oauthtest.Client, ada(), kinds[kind]...)
			p := open(t, s)
			for _, status := range []int{http.StatusTooManyRequests, http.StatusForbidden} {
				s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "/user") {
						return false
					}
					w.Header().Set("X-RateLimit-Remaining", "0")
					w.WriteHeader(status)
					return true
				})
				_, err := p.Verify(t.Context(), token)
				wantUnavailable(t, err, "no more requests", token)
			}
		})
	}
}

// TestHang: a provider that hangs costs only its own people time, and only as many of
// them as there is room for. When it is back, they can log in again.
func TestHang(t *testing.T) {
	t.Run(GitLab, func(t *testing.T) {
		s := oauthtest.New(t, GitLab)
		release := make(chan struct{})
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			select {
			case <-release:
				return false
			case <-r.Context().Done():
				return true
			}
		})
		p := open(t, s, func(c *Config) { c.Timeout = 2 * time.Second })
		token := s.Issue(oauthtest.Client, ada(), kinds[GitLab]...)
		together := make(chan struct{}) // a login that comes when others have given up finds room
		var all sync.WaitGroup
		first := sync.OnceValue(func() int { return len(s.Asked()) }) // when the first of them gave up
		for range 3 * maxAtOnce {
			all.Go(func() {
				<-together
				_, err := p.Verify(t.Context(), token)
				first()
				wantUnavailable(t, err, "", token)
			})
		}
		close(together)
		all.Wait()
		if n := first(); n > 2*maxAtOnce {
			t.Errorf("got %d requests at a provider that hangs, want about %d", n, maxAtOnce)
		}
		close(release)
		p.client.cfg.Timeout = time.Minute
		if _, err := p.Verify(t.Context(), token); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestClientLeaves: a client that leaves says nothing about the provider.
func TestClientLeaves(t *testing.T) {
	t.Run(GitHub, func(t *testing.T) {
		s := oauthtest.New(t, GitHub)
		ctx, leave := context.WithCancel(t.Context())
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			leave()
			<-r.Context().Done()
			return true
		})
		p := open(t, s)
		if _, err := p.Verify(ctx, "token"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if st := p.Status(); !st.LastFailure.IsZero() {
			t.Errorf("got status %+v", st)
		}
	})
}

// TestIntrospection: what counts as issued to us.
func TestIntrospection(t *testing.T) {
	now := time.Now()
	cfg := Config{ClientID: "us", Now: func() time.Time { return now }}
	live, dead := true, false
	for _, c := range []struct {
		what string
		in   introspection
		want bool
	}{
		{"our client", introspection{Active: &live, Client: "us"}, true},
		{"our client, for an API", introspection{Active: &live, Client: "us", Audience: audience{"api"}}, true},
		{"our client as azp", introspection{Active: &live, Presenter: "us", Audience: audience{"api"}}, true},
		{"us as the only audience", introspection{Active: &live, Audience: audience{"us"}}, true},
		{"until later", introspection{Active: &live, Client: "us", Expires: float64(now.Unix() + 1)}, true},
		{"an access token", introspection{Active: &live, Client: "us", Use: "access_token"}, true},

		{"not active", introspection{Active: &dead, Client: "us"}, false},
		{"nothing said", introspection{Client: "us"}, false},
		{"another client, meant for us", introspection{Active: &live, Client: "them", Audience: audience{"us"}}, false},
		{"another presenter, meant for us", introspection{Active: &live, Presenter: "them", Audience: audience{"us"}}, false},
		{"client and presenter differ", introspection{Active: &live, Client: "them", Presenter: "us"}, false},
		{"meant for us and others", introspection{Active: &live, Audience: audience{"us", "them"}}, false},
		{"no client", introspection{Active: &live}, false},
		{"over", introspection{Active: &live, Client: "us", Expires: float64(now.Unix())}, false},
		{"a refresh token", introspection{Active: &live, Client: "us", Use: "refresh_token"}, false},
	} {
		if _, err := c.in.subject(cfg); (err == nil) != c.want || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}

// TestNoIntrospection: a provider without it can't vouch for a posted token.
func TestNoIntrospection(t *testing.T) {
	t.Run(OIDC, func(t *testing.T) {
		s := oauthtest.New(t, OIDC)
		s.Metadata = func(m map[string]any) { delete(m, "introspection_endpoint") }
		token := s.Issue(oauthtest.Client, ada(), kinds[OIDC]...)
		if _, err := open(t, s).Verify(t.Context(), token); !errors.Is(err, ErrNoCheck) {
			t.Errorf("got %v, want %v", err, ErrNoCheck)
		}
		if _, err := open(t, s, func(c *Config) { c.AcceptAnyClient = true }).Verify(t.Context(), token); err != nil {
			t.Errorf("with accept_any_client: %v", err)
		}
	})
}

// TestMetadata: another issuer's, or endpoints in the clear, are not used.
func TestMetadata(t *testing.T) {
	t.Run(OIDC, func(t *testing.T) {
		s := oauthtest.New(t, OIDC)
		token := s.Issue(oauthtest.Client, ada(), kinds[OIDC]...)
		for name, bad := range map[string]any{
			"issuer":                 "https://evil.example",
			"token_endpoint":         "file:///etc/passwd",
			"jwks_uri":               "",
			"authorization_endpoint": "javascript:alert(1)",
			"introspection_endpoint": "https://user:password@evil.example/",
			"userinfo_endpoint":      "//evil.example",
		} {
			s.Metadata = func(m map[string]any) { m[name] = bad }
			_, err := open(t, s).Verify(t.Context(), token)
			wantUnavailable(t, err, name[:6], token)
		}
		// An issuer of https may not name endpoints of http.
		m := metadata{Issuer: "https://a", Authorization: "https://a/a", Token: "http://a/t", Keys: "https://a/k"}
		if err := m.check(Config{URL: "https://a", Insecure: true}); err == nil || !strings.Contains(err.Error(), "token_endpoint") {
			t.Errorf("got %v", err)
		}
		m.Token = "https://other.example/t"
		if err := m.check(Config{URL: "https://a"}); err != nil {
			t.Errorf("an endpoint on another host, by https: %v", err)
		}
	})
}
