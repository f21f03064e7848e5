package server

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"gatehouse/server/access"
	"gatehouse/server/api"
	"gatehouse/server/gate"
	"gatehouse/server/metrics"
	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// routes lists every URL of the TCP port that programs call.
func (s *Server) routes() []route.Route {
	list := []route.Route{
		{Pattern: gate.Path, Who: route.ByGate, Scope: route.AnyScope, Fail: route.AsGateAnswer, Class: route.Gate, Serve: s.verify},

		{Pattern: "GET /api/getUserRecentFiles", Who: route.ByEither, Scope: "files", Class: route.Files, Serve: s.recentFiles},
		{Pattern: "POST /api/userRecentFiles", Who: route.ByEither, Scope: "files", Class: route.Files, Serve: s.openedFile},

		{Pattern: "GET /healthz", Class: route.Health, Serve: s.healthz},
		{Pattern: "GET /readyz", Class: route.Health, Serve: s.readyz},
		{Pattern: "GET /api/openapi.json", Class: route.Health, Serve: s.openapi},
	}
	list = slices.Concat(list, s.logins.Routes(), s.logouts.Routes(), s.scim.Routes(), s.tokens.Routes())
	if s.cfg.Metrics.Listen == "" {
		list = append(list, s.metricsRoute())
	}
	return list
}

// metricsRoute is on the port, or at the metrics' own address.
func (s *Server) metricsRoute() route.Route {
	return route.Route{Pattern: "GET /metrics", Class: route.Health, Serve: s.scrape}
}

func (s *Server) scrape(w http.ResponseWriter, r *route.Request) error {
	s.metrics.ServeHTTP(w, r.Request)
	return nil
}

// Handler serves the TCP port, with the settings in force.
func (s *Server) Handler() http.Handler {
	return s.inForce(func(s *Server) http.Handler { return s.handlers.main })
}

// inForce passes each request to a handler of the server that is in force then.
func (s *Server) inForce(of func(*Server) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { of(s.latest.Load()).ServeHTTP(w, r) })
}

// mainHandler serves the TCP port. The gate gets more requests than all other routes
// together, so its path is compared before the mux is asked. In another spelling of
// the path the mux finds the gate too, or answers 404.
func (s *Server) mainHandler() http.Handler {
	list := slices.Concat(s.routes(), s.site.Routes())
	all := s.gateFirst(list, s.onlyHTTPS(s.mux(list, s.handler, s.failOutside)))
	return s.access.Handler(reply.Unstored(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			// The request may have had a length as well, which net/http drops. A proxy
			// may have read more than one request because of it (RFC 9112, section 6.1).
			w.Header().Set("Connection", "close")
		}
		all.ServeHTTP(w, r)
	})))
}

// gateFirst answers the gate's questions by itself: to find their handler in a mux takes
// longer than to verify a token.
func (s *Server) gateFirst(list []route.Route, others http.Handler) http.Handler {
	verify := s.handler(list[slices.IndexFunc(list, func(rt route.Route) bool { return rt.Class == route.Gate })])
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == gate.Path && r.URL.RawPath == "" {
			verify.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// metricsHandler serves the metrics alone.
func (s *Server) metricsHandler() http.Handler {
	return s.access.Handler(reply.Unstored(s.mux([]route.Route{s.metricsRoute()}, s.handler, s.fail)))
}

// gateHandler serves the gate's own address: the gate and /healthz.
func (s *Server) gateHandler() http.Handler {
	list := slices.DeleteFunc(s.routes(), func(rt route.Route) bool { return rt.Class != route.Gate && rt.Pattern != "GET /healthz" })
	return s.access.Handler(reply.Unstored(s.gateFirst(list, s.mux(list, s.handler, s.fail))))
}

// handler makes the handler of a route. It lets through callers who may call the route,
// and answers errors in the route's way.
func (s *Server) handler(rt route.Route) http.Handler {
	if rt.Fail == route.AsGateAnswer {
		return s.atGate(rt)
	}
	fail, count := s.failure(rt.Fail), s.metrics.Route(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		counted := &access.Counter{ResponseWriter: w}
		if err := s.answer(counted, r, rt); err != nil {
			if counted.Status != 0 {
				s.cutOff(r, err)
			}
			fail(counted, r, err)
		}
		count.Add(cmp.Or(counted.Status, http.StatusOK))
		count.Took(time.Since(start))
	})
}

// answer calls the handler of a route, if the request may pass.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rt route.Route) error {
	req := &route.Request{Request: r, From: s.client(r)}
	err := s.admit(req, rt)
	if s.access.On() {
		s.record(req, rt)
	}
	if err != nil {
		return err
	}
	switch rt.Class {
	case route.Admin, route.SCIM, route.Files:
		// URL.Query would leave out what is malformed, and a filter with it.
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			return reply.Refuse(http.StatusBadRequest, "The query is malformed: write ; as %%3B and %% as %%25")
		}
	}
	return rt.Serve(w, req)
}

// record notes the route and the caller for the access log.
func (s *Server) record(r *route.Request, rt route.Route) {
	record := access.Of(r.Request)
	if record == nil { // the administration's
		return
	}
	record.Route, record.UID = rt.Name(), r.User.UID
	if r.Token != nil {
		record.Token = r.Token.Name
	}
}

func (s *Server) admit(r *route.Request, rt route.Route) (err error) {
	if rt.Who == route.Nobody {
		return nil
	}
	if r.Caller, err = s.authenticate(r, rt.Who); err != nil {
		return err
	}
	if rt.Except != "" && r.Role == rt.Except {
		rt.Role = api.Admin
	}
	if !r.Role.Covers(rt.Role) {
		return reply.Refuse(http.StatusForbidden, "%s", api.Who{Actor: r.Peer, Role: r.Role}.Refusal(rt.Role))
	}
	switch {
	case len(r.Scopes()) == 0 || rt.Scope == route.AnyScope:
		return nil
	case rt.Scope == route.NoScope:
		return reply.Refuse(http.StatusForbidden, "A token with scopes may not do this")
	case !r.Limits().Allows(rt.Scope):
		return reply.Refuse(http.StatusForbidden, "The token lacks the scope %q", rt.Scope)
	}
	return nil
}

// mux serves routes. It counts the requests that no route serves, answers them with
// fail, and answers for a handler that panics.
func (s *Server) mux(routes []route.Route, handler func(route.Route) http.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	none := s.metrics.Route(route.Route{Pattern: metrics.NoRoute})
	inner := route.Handler(routes, handler, func(w http.ResponseWriter, r *http.Request, err error) {
		none.Add(http.StatusNotFound) // or 405, which is of the same class
		fail(w, r, err)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		inner.ServeHTTP(w, r)
	})
}

// onlyHTTPS tells browsers that came by https to use nothing else from then on, whichever
// address they asked for first (RFC 6797, section 7.1).
func (s *Server) onlyHTTPS(next http.Handler) http.Handler {
	if !s.cfg.Secure() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		next.ServeHTTP(w, r)
	})
}
