package server

import (
	"context"
	"net/http"
	"time"

	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// healthz serves GET /healthz: the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *route.Request) error {
	return reply.OK(w, map[string]string{"status": "alive"}, nil)
}

// readyWithin is how long /readyz waits for a store that is being opened.
const readyWithin = 2 * time.Second

// readyz serves GET /readyz: the store is open and takes changes.
func (s *Server) readyz(w http.ResponseWriter, r *route.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	if err := s.store.Opened(ctx); err != nil {
		return err
	}
	if err := s.store.Writable(); err != nil {
		return err
	}
	return reply.OK(w, map[string]string{"status": "ready"}, nil)
}
