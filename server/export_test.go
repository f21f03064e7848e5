package server

import (
	"net"
	"net/http"

	"gatehouse/server/access"
	"gatehouse/server/admin"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/listen"
	"gatehouse/server/login"
	"gatehouse/server/metrics"
	"gatehouse/server/route"
	"gatehouse/server/scim"
	"gatehouse/server/site"
	"gatehouse/server/tokens"
)

// The parts of a server.
func (s *Server) AccessLog() *access.Log           { return s.access }
func (s *Server) Admin() *admin.Admin              { return s.admin }
func (s *Server) Connections() *listen.Connections { return s.open }
func (s *Server) Directory() *directory.People     { return s.directory }
func (s *Server) Idle() *directory.Idle            { return s.idle }
func (s *Server) Logins() *login.Logins            { return s.logins }
func (s *Server) Metrics() *metrics.Metrics        { return s.metrics }
func (s *Server) Refusals() *guard.Refusals        { return s.refusals }
func (s *Server) SCIM() *scim.SCIM                 { return s.scim }
func (s *Server) Site() *site.Site                 { return s.site }
func (s *Server) Tokens() *tokens.Tokens           { return s.tokens }

// Config returns the settings in force.
func (s *Server) Config() *config.Config { return s.config() }

// Latest returns the server that is in force.
func (s *Server) Latest() *Server { return s.latest.Load() }

// Listener returns what Listen has returned, also of a server that was reloaded.
func (s *Server) Listener() *Listener { return s.latest.Load().ports }

// Gate returns where the listener of the gate's own address is kept.
func (l *Listener) Gate() *net.Listener { return &l.gate }

// Main returns where the handler of the port is kept.
func (s *Server) Main() *http.Handler { return &s.handlers.main }

func (s *Server) Routes() []route.Route { return s.routes() }

// Mux serves the given routes as the server serves its own.
func (s *Server) Mux(list ...route.Route) http.Handler { return s.mux(list, s.handler, s.fail) }

// Fails answers with an error.
func (s *Server) Fails(w http.ResponseWriter, r *http.Request, err error) { s.fail(w, r, err) }

// ByCookie finds the caller that the request's login cookie names.
func (s *Server) ByCookie(r *route.Request) (route.Caller, error) {
	return s.authenticate(r, route.ByCookie)
}

// Look looks once, as each second, which troubles last. StopLooking ends their log.
func (s *Server) Look()        { s.look() }
func (s *Server) StopLooking() { s.watch.stop() }

func (s *Server) ShareSocket() { s.shareSocket() }

const EveryScope = everyScope

var (
	OpenAPI   = openAPI
	HeaderUID = headerUID
	Ends      = ends
)
