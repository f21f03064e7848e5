package oauth

import (
	"net/http"
	"testing"

	"gatehouse/server/oauth/oauthtest"
)

// TestGiteaVerdicts: Gitea's introspection signs in with the token that it is asked
// about. Its answers for a dead token, or for an owner who may not log in, must not be
// taken for trouble with the provider.
func TestGiteaVerdicts(t *testing.T) {
	t.Run(Gitea, func(t *testing.T) {
		s := oauthtest.New(t, Gitea)
		p := open(t, s)
		inactive, blocked, newPassword := ada(), ada(), ada()
		inactive.Inactive, blocked.Blocked, newPassword.NewPassword = true, true, true
		for _, c := range []struct{ what, token, want string }{
			{"dead", "header.claims.signature", "does not know the token"},
			{"of an owner who is not activated", s.Issue(oauthtest.Client, inactive, "read:user"), "the account is not activated"},
			{"of a blocked owner", s.Issue(oauthtest.Client, blocked, "read:user"), "the account may not log in"},
			{"of an owner who has to choose a password", s.Issue(oauthtest.Client, newPassword, "read:user"), "the account must change its password first"},
			{"personal", s.Issue("", ada(), "read:user"), "says nothing about it"},
			{"without the scope", s.Issue(oauthtest.Client, ada(), "read:repository"), "the token lacks a scope"},
		} {
			t.Log(c.what)
			_, err := p.Verify(t.Context(), c.token)
			wantRefused(t, err, c.want, c.token)
		}
		if st := p.Status(); !st.LastFailure.IsZero() {
			t.Errorf("got status %+v", st)
		}
	})
}

// TestGiteaTrouble: if the introspection fails, there is no verdict, even if the API
// vouches for the token or fails too.
func TestGiteaTrouble(t *testing.T) {
	t.Run(Gitea, func(t *testing.T) {
		s := oauthtest.New(t, Gitea)
		token := s.Issue(oauthtest.Client, ada(), "read:user")
		for _, c := range []struct {
			what, want string
			answer     func(http.ResponseWriter, *http.Request) bool
		}{
			{"introspection is a page", "/login/oauth/introspect", func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					http.Redirect(w, r, "/user/settings/change_password", http.StatusSeeOther)
				}
				return r.Method == http.MethodPost
			}},
			{"introspection fails", "status 500", func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusInternalServerError)
				}
				return r.Method == http.MethodPost
			}},
			{"all fails", "introspect with status 502", func(w http.ResponseWriter, r *http.Request) bool {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}},
		} {
			t.Log(c.what)
			p := open(t, s)
			s.Intercept(c.answer)
			_, err := p.Verify(t.Context(), token)
			wantUnavailable(t, err, c.want, token)
			if st := p.Status(); st.Reachable {
				t.Errorf("got status %+v", st)
			}
		}
	})
}

// TestGiteaCode: a refused code is the login's fault. It is ours if Gitea says the same
// about our secret. After a wrong verifier, the code still works for the login that it
// belongs to.
func TestGiteaCode(t *testing.T) {
	t.Run(Gitea, func(t *testing.T) {
		s := oauthtest.New(t, Gitea)
		p := open(t, s)
		login, query := loginAt(t, p, s, ada())
		stranger, _ := loginAt(t, p, s, ada())
		stranger.State = login.State
		_, err := p.Finish(t.Context(), stranger, query)
		wantRefused(t, err, "failed PKCE", query.Get("code"))
		if c, err := p.Finish(t.Context(), login, query); err != nil || c.Subject != "17" {
			t.Errorf("got %+v, %v", c, err)
		}
		_, err = p.Finish(t.Context(), login, query)
		wantRefused(t, err, "not authorized", query.Get("code"))
		if st := p.Status(); !st.LastFailure.IsZero() {
			t.Errorf("refusals are no failures: got status %+v", st)
		}

		login, query = loginAt(t, p, s, ada())
		login.Callback += "/moved"
		_, err = p.Finish(t.Context(), login, query)
		wantUnavailable(t, err, "unauthorized_client", query.Get("code"))
	})
}
