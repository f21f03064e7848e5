package oauthtest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// gitLab is GitLab: docs.gitlab.com, "OAuth 2.0 identity provider API" and
// "Users API".
func (s *Server) gitLab(mux *http.ServeMux) {
	unauthorized := func(w http.ResponseWriter) {
		reply(w, http.StatusUnauthorized, object{"error": "invalid_token", "error_description": "The access token is invalid"})
	}
	mux.HandleFunc("GET /oauth/token/info", func(w http.ResponseWriter, r *http.Request) {
		g := s.bearer(r)
		if g == nil {
			unauthorized(w)
			return
		}
		reply(w, http.StatusOK, object{
			"resource_owner_id": g.account.ID, "scope": g.scopes, "expires_in": 7200, "expires_in_seconds": 7200,
			"application": object{"uid": g.client}, "created_at": time.Now().Unix(),
		})
	})
	mux.HandleFunc("GET /api/v4/user", func(w http.ResponseWriter, r *http.Request) {
		g := s.bearer(r)
		switch {
		case g == nil:
			reply(w, http.StatusUnauthorized, object{"message": "401 Unauthorized"})
		case g.account.Blocked:
			reply(w, http.StatusForbidden, object{"message": "403 Forbidden - Your account has been blocked."})
		case !g.may("read_user", "api", "read_api"):
			reply(w, http.StatusForbidden, object{"error": "insufficient_scope", "error_description": "The request requires higher privileges than provided by the access token.", "scope": "api read_user"})
		default:
			var confirmed any
			if g.account.primary().Verified {
				confirmed = "2012-05-23T09:05:22Z"
			}
			reply(w, http.StatusOK, object{
				"id": g.account.ID, "username": g.account.Login, "name": g.account.Name, "state": "active",
				"email": g.account.primary().Address, "confirmed_at": confirmed, "public_email": "public@example.com",
			})
		}
	})
	mux.HandleFunc("POST /oauth/token", s.token)
}

// google is Google: developers.google.com/identity, "OpenID Connect", and the
// tokeninfo endpoint. Its people are numbered by strings.
func (s *Server) google(mux *http.ServeMux) {
	mux.HandleFunc("GET /tokeninfo", func(w http.ResponseWriter, r *http.Request) {
		g := s.grant(r.URL.Query().Get("access_token"))
		if g == nil {
			reply(w, http.StatusBadRequest, object{"error": "invalid_token", "error_description": "Invalid Value"})
			return
		}
		info := object{
			"azp": g.client, "aud": g.client, "sub": strconv.FormatInt(g.account.ID, 10), "scope": strings.Join(g.scopes, " "),
			"exp": strconv.FormatInt(g.expires.Unix(), 10), "expires_in": "3600", "access_type": "online",
		}
		if g.may("email") {
			info["email"], info["email_verified"] = g.account.primary().Address, strconv.FormatBool(g.account.primary().Verified)
		}
		reply(w, http.StatusOK, info)
	})
	mux.HandleFunc("GET /v1/userinfo", func(w http.ResponseWriter, r *http.Request) { s.userInfo(w, r) })
	mux.HandleFunc("POST /token", s.token)
}

// userInfo answers as OpenID Connect Core 1.0, section 5.3, says.
func (s *Server) userInfo(w http.ResponseWriter, r *http.Request) {
	g := s.bearer(r)
	switch {
	case g == nil:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		reply(w, http.StatusUnauthorized, object{"error": "invalid_request", "error_description": "Invalid Credentials"})
		return
	case !g.may("openid"):
		reply(w, http.StatusForbidden, object{"error": "insufficient_scope"})
		return
	}
	info := object{"sub": strconv.FormatInt(g.account.ID, 10)}
	if g.may("profile") {
		info["name"], info["preferred_username"] = g.account.Name, g.account.Login
	}
	if e := g.account.primary(); g.may("email") && e.Address != "" {
		info["email"], info["email_verified"] = e.Address, e.Verified
	}
	reply(w, http.StatusOK, info)
}
