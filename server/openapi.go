package server

import (
	_ "embed"
	"net/http"

	"gatehouse/server/login"
	"gatehouse/server/route"
)

// openAPI describes every route of the port: a test compares it with routes.
//
//go:embed openapi.json
var openAPI []byte

// openapi serves GET /api/openapi.json. It is public, and changes only with the program.
func (s *Server) openapi(w http.ResponseWriter, r *route.Request) error {
	if r.WithoutCredential(login.CookieName(s.config())) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(openAPI)
	return nil
}
