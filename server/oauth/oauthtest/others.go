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

// userInfo is as OpenID Connect Core 1.0 has it, section 5.3.
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

// gitea is Gitea 1.26: docs.gitea.com, "OAuth2 provider", and its swagger. Its
// introspection tells any client of any token.
func (s *Server) gitea(mux *http.ServeMux) {
	mux.HandleFunc("POST /login/oauth/introspect", func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok || s.client(r) == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="Gitea OAuth2"`)
			http.Error(w, "no valid authorization", http.StatusUnauthorized)
			return
		}
		g := s.grant(r.PostFormValue("token"))
		if g == nil {
			reply(w, http.StatusOK, object{"active": false})
			return
		}
		reply(w, http.StatusOK, object{
			"active": true, "scope": strings.Join(g.scopes, " "), "username": g.account.Login,
			"iss": s.URL, "sub": strconv.FormatInt(g.account.ID, 10), "aud": []string{g.client},
		})
	})
	user := func(next func(http.ResponseWriter, *grant)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			g := s.bearer(r)
			switch {
			case g == nil:
				reply(w, http.StatusUnauthorized, object{"message": "user does not exist [uid: 0, name: ]", "url": s.URL + "/api/swagger"})
			case g.account.Blocked:
				reply(w, http.StatusForbidden, object{"message": "Please contact your site administrator.", "url": s.URL + "/api/swagger"})
			case !g.may("read:user", "write:user", "all"):
				reply(w, http.StatusForbidden, object{"message": "token does not have at least one of required scope(s): [read:user]", "url": s.URL + "/api/swagger"})
			default:
				next(w, g)
			}
		}
	}
	mux.HandleFunc("GET /api/v1/user", user(func(w http.ResponseWriter, g *grant) {
		reply(w, http.StatusOK, object{
			"id": g.account.ID, "login": g.account.Login, "full_name": g.account.Name, "email": "kept@noreply.localhost",
			"active": true, "prohibit_login": false, "restricted": false,
		})
	}))
	mux.HandleFunc("GET /api/v1/user/emails", user(func(w http.ResponseWriter, g *grant) {
		list := []object{}
		for _, e := range g.account.Emails {
			list = append(list, object{"email": e.Address, "verified": e.Verified, "primary": e.Primary, "user_id": g.account.ID, "username": g.account.Login})
		}
		reply(w, http.StatusOK, list)
	}))
	mux.HandleFunc("POST /login/oauth/access_token", s.token)
}
