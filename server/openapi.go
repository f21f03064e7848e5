package server

import (
	_ "embed"
	"net/http"

	"gatehouse/server/route"
)

// openAPI describes every route of the port: a test compares it with routes.
//
//go:embed openapi.json
var openAPI []byte

// openapi serves GET /api/openapi.json. It is public, and changes with the
// program alone.
func (s *Server) openapi(w http.ResponseWriter, r *route.Request) error {
	s.cacheable(w, r, "public, max-age=3600")
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(openAPI)
	return nil
}

// cacheable lets caches keep the reply to a request that carries no credential.
func (s *Server) cacheable(w http.ResponseWriter, r *route.Request, policy string) {
	if len(r.Header["X-Auth-Token"]) == 0 && len(r.Header["Authorization"]) == 0 && len(r.CookiesNamed(s.cookieName())) == 0 {
		w.Header().Set("Cache-Control", policy)
	}
}
