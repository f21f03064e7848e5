package oauthtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// gitHub is a GitHub Enterprise Server: docs.github.com/rest, "OAuth
// applications", "Users", "Emails".
func (s *Server) gitHub(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v3/applications/{client}/token", s.gitHubCheck)
	mux.HandleFunc("GET /api/v3/user", func(w http.ResponseWriter, r *http.Request) {
		g := s.gitHubUser(w, r)
		if g == nil {
			return
		}
		// The public address is what the person chose to show. Nobody checks it here.
		reply(w, http.StatusOK, object{"id": g.account.ID, "login": g.account.Login, "name": nullable(g.account.Name), "email": "public@example.com", "type": "User"})
	})
	mux.HandleFunc("GET /api/v3/user/emails", s.gitHubEmails)
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		// GitHub reports errors with status 200.
		if s.client(r) == "" {
			reply(w, http.StatusOK, object{"error": "incorrect_client_credentials", "error_description": "The client_id and/or client_secret passed are incorrect."})
			return
		}
		g, failure := s.redeem(r)
		if failure != "" {
			reply(w, http.StatusOK, object{"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."})
			return
		}
		reply(w, http.StatusOK, object{"access_token": s.issue(g), "token_type": "bearer", "scope": strings.Join(g.scopes, ",")})
	})
}

func gitHubError(w http.ResponseWriter, status int, message string) {
	reply(w, status, object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

func (s *Server) gitHubCheck(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id != r.PathValue("client") || secret == "" || secrets[id] == "" || !strings.Contains(r.Header.Get("Authorization"), "Basic ") || s.client(r) != id {
		gitHubError(w, http.StatusUnauthorized, "Bad credentials")
		return
	}
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || body.AccessToken == "" {
		gitHubError(w, http.StatusUnprocessableEntity, "Validation Failed")
		return
	}
	g := s.grant(body.AccessToken)
	if g == nil || g.client != id {
		gitHubError(w, http.StatusNotFound, "Not Found")
		return
	}
	reply(w, http.StatusOK, object{
		"id": 1, "url": s.URL + "/api/v3/authorizations/1", "token": body.AccessToken, "token_last_eight": body.AccessToken[len(body.AccessToken)-8:],
		"app": object{"client_id": g.client, "name": "Gatehouse", "url": "http://localhost"}, "scopes": g.scopes, "expires_at": nil,
		"user": object{"id": g.account.ID, "login": g.account.Login, "type": "User"},
	})
}

func (s *Server) gitHubUser(w http.ResponseWriter, r *http.Request) *grant {
	g := s.bearer(r)
	switch {
	case g == nil:
		gitHubError(w, http.StatusUnauthorized, "Bad credentials")
	case g.account.Blocked:
		gitHubError(w, http.StatusForbidden, "Sorry. Your account was suspended.")
	default:
		return g
	}
	return nil
}

// gitHubEmails lists a page; a token without the scope gets 404.
func (s *Server) gitHubEmails(w http.ResponseWriter, r *http.Request) {
	g := s.gitHubUser(w, r)
	if g == nil {
		return
	}
	if !g.may("user:email", "user") {
		gitHubError(w, http.StatusNotFound, "Not Found")
		return
	}
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		number = 1
	}
	list := []object{}
	for i, e := range g.account.Emails {
		if i/s.PageSize == number-1 {
			list = append(list, object{"email": e.Address, "primary": e.Primary, "verified": e.Verified, "visibility": nil})
		}
	}
	if number*s.PageSize < len(g.account.Emails) {
		page := func(n int) string { return fmt.Sprintf("%s%s?per_page=%d&page=%d", s.URL, r.URL.Path, s.PageSize, n) }
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="last", <%s>; rel="next"`, page(len(g.account.Emails)/s.PageSize+1), page(number+1)))
	}
	reply(w, http.StatusOK, list)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}
