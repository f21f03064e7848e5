package oauth

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const callback = "https://tokens.example.com/login/corp/callback"

// loginAt lets a person log in by browser, and returns the two ends of the login.
func loginAt(t *testing.T, p *Provider, s *oauthtest.Server, person *oauthtest.Account) (Login, url.Values) {
	t.Helper()
	login, address := must.Get2(p.Begin(t.Context(), callback))(t)
	back, err := url.Parse(s.Agree(address, person))
	if err != nil || !strings.HasPrefix(back.String(), callback+"?") {
		t.Fatalf("got sent back to %s, %v", back, err)
	}
	return login, back.Query()
}

func TestLogin(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s)
		if st := p.Status(); st.Reachable {
			t.Errorf("nothing was asked yet: got status %+v", st)
		}
		login, query := loginAt(t, p, s, ada())
		for _, secret := range []string{login.Verifier, oauthtest.Secret} {
			if strings.Contains(query.Encode(), secret) {
				t.Error("a secret went through the browser")
			}
		}
		c, err := p.Finish(t.Context(), login, query)
		if err != nil || c.Subject != "17" || len(c.Emails) != 1 || c.Emails[0] != "Ada@example.com" {
			t.Errorf("got %+v, %v", c, err)
		}
		_, err = p.Finish(t.Context(), login, query)
		wantRefused(t, err, "rejected the code", query.Get("code"))
	})
}

// TestLoginRefuses: parts of another login are worth nothing in this one.
func TestLoginRefuses(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s)
		login, query := loginAt(t, p, s, ada())
		other, otherQuery := loginAt(t, p, s, ada())
		_, err := p.Finish(t.Context(), other, query)
		wantRefused(t, err, "state", query.Get("code"))
		_, err = p.Finish(t.Context(), Login{}, url.Values{})
		wantRefused(t, err, "state")

		// Another login's code with this one's state, as by a browser that was lied to.
		otherQuery.Set("state", login.State)
		_, err = p.Finish(t.Context(), login, otherQuery)
		wantRefused(t, err, "rejected the code", otherQuery.Get("code"), login.Verifier)
	})
}

// TestLoginOurFault: wrong credentials, or a provider in trouble, give no verdict.
func TestLoginOurFault(t *testing.T) {
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		p := open(t, s, func(c *Config) { c.ClientSecretFile = secretFile(t, "another-secret", 0o600) })
		login, query := loginAt(t, p, s, ada())
		_, err := p.Finish(t.Context(), login, query)
		wantUnavailable(t, err, "client_secret_file", query.Get("code"), "another-secret")

		p = open(t, s)
		login, query = loginAt(t, p, s, ada())
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				http.Error(w, r.PostFormValue("code")+r.PostFormValue("code_verifier"), http.StatusInternalServerError)
			}
			return r.Method == http.MethodPost
		})
		_, err = p.Finish(t.Context(), login, query)
		wantUnavailable(t, err, "status 500", query.Get("code"), login.Verifier)
	})
}

// TestIssuer: an answer that names another issuer is refused before the code is spent
// (RFC 9207).
func TestIssuer(t *testing.T) {
	for _, kind := range []string{OIDC, Google} {
		t.Run(kind, func(t *testing.T) {
			s := oauthtest.New(t, kind)
			p := open(t, s)
			for _, issuers := range [][]string{{"https://evil.example"}, {""}, {s.URL, s.URL}, {s.URL + "/"}} {
				login, query := loginAt(t, p, s, ada())
				query["iss"] = issuers
				s.Asked()
				_, err := p.Finish(t.Context(), login, query)
				wantRefused(t, err, "issuer", query.Get("code"))
				for _, asked := range s.Asked() {
					if strings.HasPrefix(asked, "POST") {
						t.Errorf("%q: the code was sent: %s", issuers, asked)
					}
				}
			}
			login, query := loginAt(t, p, s, ada())
			query.Set("iss", s.URL)
			must.Get(p.Finish(t.Context(), login, query))(t)
		})
	}
	t.Run(OIDC+"/promised", func(t *testing.T) {
		s := oauthtest.New(t, OIDC)
		s.Metadata = func(m map[string]any) { m["authorization_response_iss_parameter_supported"] = true }
		p := open(t, s)
		login, query := loginAt(t, p, s, ada())
		_, err := p.Finish(t.Context(), login, query)
		wantRefused(t, err, "names no issuer")
	})
}

// TestIDToken: each claim that binds an ID token to us and to this login.
func TestIDToken(t *testing.T) {
	t.Run(OIDC, func(t *testing.T) {
		s := oauthtest.New(t, OIDC)
		for _, c := range []struct {
			what   string
			change func(map[string]any)
			want   string
		}{
			{"another nonce", func(m map[string]any) { m["nonce"] = "replayed" }, "nonce"},
			{"no nonce", func(m map[string]any) { delete(m, "nonce") }, "nonce"},
			{"another issuer", func(m map[string]any) { m["iss"] = "https://evil.example" }, "different provider"},
			{"another audience", func(m map[string]any) { m["aud"] = oauthtest.Foreign }, "audience"},
			{"another presenter", func(m map[string]any) {
				m["aud"], m["azp"] = []string{oauthtest.Client, oauthtest.Foreign}, oauthtest.Foreign
			}, "azp"},
			{"two audiences, no presenter", func(m map[string]any) { m["aud"] = []string{oauthtest.Client, oauthtest.Foreign} }, "azp"},
			{"over", func(m map[string]any) { m["exp"] = time.Now().Add(-time.Second).Unix() }, "expired"},
			{"another access token", func(m map[string]any) { m["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA" }, "at_hash"},
			{"no usable subject", func(m map[string]any) { delete(m, "sub") }, "no usable subject"},
			{"a subject on two lines", func(m map[string]any) { m["sub"] = "1\n2" }, "no usable subject"},
		} {
			s.Claims = c.change
			p := open(t, s)
			login, query := loginAt(t, p, s, ada())
			_, err := p.Finish(t.Context(), login, query)
			if err == nil {
				t.Errorf("%s: was taken", c.what)
				continue
			}
			wantRefused(t, err, c.want, query.Get("code"), login.Nonce)
		}

		// If the ID token has no address, userinfo is asked, about the same person.
		s.Claims = func(m map[string]any) { delete(m, "email"); delete(m, "email_verified") }
		p := open(t, s)
		login, query := loginAt(t, p, s, ada())
		if c, err := p.Finish(t.Context(), login, query); err != nil || len(c.Emails) != 1 {
			t.Errorf("without an address: got %+v, %v", c, err)
		}
		s.Claims = func(m map[string]any) { delete(m, "email"); m["sub"] = "18" }
		login, query = loginAt(t, p, s, ada())
		_, err := p.Finish(t.Context(), login, query)
		wantRefused(t, err, "different people")

		s.Claims = func(m map[string]any) { m["email_verified"] = "false" }
		login, query = loginAt(t, p, s, ada())
		if c, err := p.Finish(t.Context(), login, query); err != nil || len(c.Emails) != 0 {
			t.Errorf("not verified: got %+v, %v", c, err)
		}

		s.Claims = nil
		s.Rogue()
		login, query = loginAt(t, p, s, ada())
		_, err = p.Finish(t.Context(), login, query)
		wantRefused(t, err, "does not verify", query.Get("code"))
	})
}

// TestKeysGone: an ID token that can't be checked gives no verdict.
func TestKeysGone(t *testing.T) {
	t.Run(OIDC, func(t *testing.T) {
		s := oauthtest.New(t, OIDC)
		p := open(t, s)
		login, query := loginAt(t, p, s, ada())
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/keys" {
				http.Error(w, "x", http.StatusInternalServerError)
			}
			return r.URL.Path == "/keys"
		})
		_, err := p.Finish(t.Context(), login, query)
		wantUnavailable(t, err, "jwks_uri")
	})
}

// TestCodeWhoseFault: each answer of each type's token endpoint is about the code that a
// browser brought, or it is the provider's fault or ours.
func TestCodeWhoseFault(t *testing.T) {
	storagetest.Slow(t)
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		retry := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"error":"access_denied"}`)
		}
		for _, a := range append(answers, []struct {
			name   string
			refuse bool
			serve  http.HandlerFunc
		}{
			{"400 invalid_grant", true, says(400, `{"error":"invalid_grant","error_description":"expired"}`)},
			{"401 invalid_grant", true, says(401, `{"error":"invalid_grant"}`)},                 // GitLab
			{"200 bad_verification_code", true, says(200, `{"error":"bad_verification_code"}`)}, // GitHub
			{"400 invalid_client", false, says(400, `{"error":"invalid_client"}`)},
			{"401 invalid_client", false, says(401, `{"error":"invalid_client"}`)},
			{"400 unsupported_grant_type", false, says(400, `{"error":"unsupported_grant_type"}`)},
			{"400 invalid_scope", false, says(400, `{"error":"invalid_scope"}`)},
			{"404 with an error", false, says(404, `{"error":"404 Not Found"}`)},
			{"405 with an error", false, says(405, `{"error":"no"}`)},
			{"429 with an error", false, says(429, `{"error":"slow_down"}`)},
			{"403 with an error and Retry-After", false, retry},
			{"503 with an error", false, says(503, `{"error":"temporarily_unavailable"}`)},
			{"no token", false, says(200, `{}`)},
			{"a list", false, says(200, `[]`)},
			{"null", false, says(200, `null`)},
		}...) {
			refuse := a.refuse
			if a.name == "403" || a.name == "401" {
				refuse = false // the client's own credentials went along
			}
			p := open(t, s, func(c *Config) {
				if a.name == "a time-out" {
					c.Timeout = 300 * time.Millisecond
				}
			})
			login, query := loginAt(t, p, s, ada())
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				a.serve(w, r)
				return true
			})
			t.Logf("the token endpoint answers with %s", a.name)
			_, err := p.Finish(t.Context(), login, query)
			if refuse {
				wantRefused(t, err, "", query.Get("code"), login.Verifier)
			} else {
				wantUnavailable(t, err, "", query.Get("code"), login.Verifier)
			}
			s.Intercept(nil)
		}
	})
}
