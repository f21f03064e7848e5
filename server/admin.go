package server

import (
	"context"
	"net/http"
	"time"

	"gatehouse/server/admin"
	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
)

// AdminHandler serves the administration in the process of a command, when no server
// holds the store. The audit log names the actor.
func (s *Server) AdminHandler(actor string) http.Handler { return admin.As(actor, s.adminHandler()) }

// adminHandler serves the administration, and /readyz for `gatehouse health`. It must
// never be reachable by TCP.
func (s *Server) adminHandler() http.Handler {
	list := append(s.admin.Routes(), route.Route{Pattern: "GET /readyz", Who: route.ByPeer, Role: api.Auditor, Serve: s.readyz})
	return reply.Unstored(s.mux(list, func(rt route.Route) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := s.answer(w, r, rt); err != nil {
				s.fail(w, r, err)
			}
		})
	}, s.fail))
}

// figures returns what the status shows in addition to the store.
func (s *Server) figures() api.Status {
	st := api.Status{Version: s.version, Started: s.started.UnixMilli(), Activity: s.metrics.Activity(time.Now())}
	if s.pair == nil || !s.pair.On() {
		return st
	}
	notAfter, err := s.pair.Health()
	st.Certificate.NotAfter = view.Millis(notAfter)
	if err != nil {
		st.Certificate.Problem = err.Error()
	}
	return st
}

// FirstRun is [admin.Admin.FirstRun].
func (s *Server) FirstRun(ctx context.Context) (file, password string, made bool, err error) {
	return s.admin.FirstRun(ctx)
}
