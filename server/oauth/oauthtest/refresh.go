package oauthtest

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
)

// asksOffline reports whether a browser brings what a type of provider wants to see
// before it gives a refresh token.
func (s *Server) asksOffline(q url.Values) bool {
	consent := q.Get("prompt") == "consent"
	switch s.Kind {
	case "oidc":
		return consent && slices.Contains(strings.Fields(q.Get("scope")), "offline_access")
	case "google":
		return consent && q.Get("access_type") == "offline"
	}
	return s.Kind != "github"
}

// last returns the refresh token of an answer: a new one, unless the one of the request
// stays good.
func (s *Server) last(r *http.Request, g *grant) string {
	if used := r.PostFormValue("refresh_token"); used != "" && s.Keeps {
		return used
	}
	token := "last_" + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lasts[token] = g
	return token
}

// again takes a refresh token, which is spent then (RFC 6749, section 6).
func (s *Server) again(r *http.Request) (*grant, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := r.PostFormValue("refresh_token")
	g := s.lasts[token]
	if g == nil || g.client != s.client(r) || g.account.Blocked && s.Kind != "gitlab" {
		return nil, "invalid_grant"
	}
	if !s.Keeps {
		delete(s.lasts, token)
	}
	return g, ""
}

// giteaAgain gives blocked people new tokens, too. It has its own words for a token that
// it can't read.
func (s *Server) giteaAgain(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	token := r.PostFormValue("refresh_token")
	g := s.lasts[token]
	if !s.Keeps {
		delete(s.lasts, token)
	}
	s.mu.Unlock()
	switch {
	case !strings.HasPrefix(token, "last_"):
		reply(w, http.StatusBadRequest, object{"error": "unauthorized_client", "error_description": "unable to parse refresh token"})
	case g == nil:
		reply(w, http.StatusBadRequest, object{"error": "invalid_grant", "error_description": "grant does not exist"})
	default:
		reply(w, http.StatusOK, object{"access_token": s.issue(g), "token_type": "bearer", "expires_in": 3600, "refresh_token": s.last(r, g)})
	}
}

// Leave ends all tokens of a person, as if the account were deleted.
func (s *Server) Leave(a *Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range []map[string]*grant{s.tokens, s.lasts} {
		for token, g := range all {
			if g.account == a {
				delete(all, token)
			}
		}
	}
}

// Refreshes returns the refresh tokens of a person.
func (s *Server) Refreshes(a *Account) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, g := range s.lasts {
		if g.account == a {
			list = append(list, token)
		}
	}
	return list
}

// IsRefresh reports whether a request has a refresh token.
func IsRefresh(r *http.Request) bool { return r.PostFormValue("grant_type") == "refresh_token" }

// Lose does what a request asks, and breaks the connection instead of answering.
func (s *Server) Lose(r *http.Request) {
	s.mux.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}
