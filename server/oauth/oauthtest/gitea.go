package oauthtest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// gitea answers as a Gitea 1.26 was seen to answer. A token without a client is a
// personal access token.
func (s *Server) gitea(mux *http.ServeMux) {
	mux.HandleFunc("POST /login/oauth/introspect", s.giteaIntrospect)
	mux.HandleFunc("GET /user/settings/change_password", func(w http.ResponseWriter, r *http.Request) {
		giteaPage(w, "Update your password")
	})
	mux.HandleFunc("POST /login/oauth/access_token", s.giteaToken)
	mux.HandleFunc("GET /api/v1/user", s.giteaUser(func(w http.ResponseWriter, g *grant) {
		reply(w, http.StatusOK, object{
			"id": g.account.ID, "login": g.account.Login, "full_name": g.account.Name, "email": "kept@noreply.localhost",
			"active": true, "prohibit_login": false, "restricted": false,
		})
	}))
	mux.HandleFunc("GET /api/v1/user/emails", s.giteaUser(func(w http.ResponseWriter, g *grant) {
		list := []object{}
		for _, e := range g.account.Emails {
			list = append(list, object{"email": e.Address, "verified": e.Verified, "primary": e.Primary, "user_id": 0, "username": ""})
		}
		reply(w, http.StatusOK, list)
	}))
}

func giteaPage(w http.ResponseWriter, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!DOCTYPE html>\n<html><title>"+title+" - Gitea</title></html>\n")
}

// giteaIntrospect first signs in by the token, because Gitea takes any form field of that
// name for somebody's credential. It tells any client about any token.
func (s *Server) giteaIntrospect(w http.ResponseWriter, r *http.Request) {
	g := s.grant(r.PostFormValue("token"))
	switch {
	case g == nil:
		http.Error(w, "Failed to authenticate user", http.StatusUnauthorized)
		return
	case g.account.Inactive:
		giteaPage(w, "Activate Your Account")
		return
	case g.account.Blocked:
		giteaPage(w, "Sign-In Prohibited")
		return
	case g.account.NewPassword:
		http.Redirect(w, r, "/user/settings/change_password", http.StatusSeeOther)
		return
	}
	if _, _, ok := r.BasicAuth(); !ok || s.client(r) == "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="Gitea OAuth2"`)
		http.Error(w, "no valid authorization", http.StatusUnauthorized)
		return
	}
	if g.client == "" {
		reply(w, http.StatusOK, object{"active": false})
		return
	}
	reply(w, http.StatusOK, object{
		"active": true, "scope": strings.Join(g.scopes, " "), "username": g.account.Login,
		"iss": s.URL, "sub": strconv.FormatInt(g.account.ID, 10), "aud": []string{g.client},
	})
}

// giteaUser is a part of the API that is about the token's owner.
func (s *Server) giteaUser(next func(http.ResponseWriter, *grant)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g := s.bearer(r)
		switch {
		case g == nil:
			reply(w, http.StatusUnauthorized, object{"message": "invalid username, password or token", "url": s.URL + "/api/swagger"})
		case g.account.Inactive:
			reply(w, http.StatusForbidden, object{"message": "This account is not activated."})
		case g.account.Blocked:
			reply(w, http.StatusForbidden, object{"message": "This account is prohibited from signing in, please contact your site administrator."})
		case g.account.NewPassword:
			reply(w, http.StatusForbidden, object{"message": "You must change your password. Change it at: " + s.URL + "//user/change_password"})
		case !g.may("read:user", "write:user", "all"):
			reply(w, http.StatusForbidden, object{
				"message": "token does not have at least one of required scope(s), required=[read:user], token scope=" + strings.Join(g.scopes, ","),
				"url":     s.URL + "/api/swagger",
			})
		default:
			next(w, g)
		}
	}
}

// giteaToken has one error for a wrong secret, for a code that it does not know
// and for a wrong verifier, which does not spend the code.
func (s *Server) giteaToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(why string) {
		reply(w, http.StatusBadRequest, object{"error": "unauthorized_client", "error_description": why})
	}
	if IsRefresh(r) && s.client(r) != "" {
		s.giteaAgain(w, r)
		return
	}
	s.mu.Lock()
	g := s.codes[r.PostFormValue("code")]
	s.mu.Unlock()
	switch {
	case secrets[r.PostFormValue("client_id")] == "":
		reply(w, http.StatusBadRequest, object{"error": "invalid_client", "error_description": "cannot load client with client id: '" + r.PostFormValue("client_id") + "'"})
	case s.client(r) == "":
		refuse("invalid client secret")
	case g == nil:
		refuse("client is not authorized")
	case g.callback != r.PostFormValue("redirect_uri"):
		refuse("unexpected redirect URI")
	case !g.verified(r):
		refuse("failed PKCE code challenge")
	case g.client != s.client(r):
		reply(w, http.StatusBadRequest, object{"error": "invalid_grant", "error_description": "invalid grant"})
	default:
		s.mu.Lock()
		delete(s.codes, r.PostFormValue("code"))
		s.mu.Unlock()
		reply(w, http.StatusOK, object{"access_token": s.issue(g), "token_type": "bearer", "expires_in": 3600, "refresh_token": s.last(r, g)})
	}
}
