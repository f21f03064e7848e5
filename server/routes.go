package server

import (
	"net/http"
	"net/netip"
	"path"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// route is a URL, the credential that it asks for, and what a token with
// scopes must have among them.
type route struct {
	pattern string
	who     credential
	scope   string
	serve   func(http.ResponseWriter, *request) error
}

// The scopes of routes, beside those that a token can name.
const (
	noScope  = ""  // only a token without scopes
	anyScope = "*" // every token
)

// routes shows every URL of the TCP port that programs call.
func (s *Server) routes() []route {
	return []route{
		{"POST /api/authenticate/userpass", nobody, noScope, s.authenticateUserpass},
		{"POST /api/authenticate/ldap", nobody, noScope, s.authenticateLDAP},
		{"POST /api/authenticate/{provider}", nobody, noScope, s.authenticateProvider},
		{"POST /api/login", nobody, noScope, s.login},
		{"POST /api/logout", byCookie, noScope, s.logout},
		{"GET /login/{provider}", nobody, noScope, s.beginProvider},
		{"GET /login/{provider}/callback", nobody, noScope, s.finishProvider},

		{"POST /api/password", byCookie, noScope, s.changePassword},
		{"GET /api/sessions", byCookie, noScope, s.sessions},
		{"DELETE /api/sessions", byCookie, noScope, s.endSessions},

		{"POST /api/token", byCookie, noScope, s.createToken},
		{"GET /api/createApiToken", byCookie, noScope, s.createTokenByGet},
		{"GET /api/getApiTokens", byEither, "tokens:read", s.documentedTokens},
		{"GET /api/revokeApiToken", nobody, noScope, s.revokeSent},

		{"GET /api/token", byToken, anyScope, s.thisToken},
		{"GET /api/tokens", byEither, "tokens:read", s.tokens},
		{"PATCH /api/token/{id}", byCookie, noScope, s.renameToken},
		{"DELETE /api/token/{id}", byEither, anyScope, s.revokeToken},

		{"POST /api/token/{id}/rotate", byEither, noScope, s.rotateToken},

		{"/api/verify", byGate, anyScope, s.verify},
		{"POST /api/introspect", byToken, anyScope, s.introspect},
		{"POST /api/revoke", nobody, noScope, s.revokePosted},

		{"GET /api/getUserRecentFiles", byEither, "files", s.recentFiles},
		{"POST /api/userRecentFiles", byEither, "files", s.openedFile},

		{"GET /healthz", nobody, noScope, s.healthz},
		{"GET /readyz", nobody, noScope, s.readyz},
		{metricsPattern, nobody, noScope, s.scrape},
		{"GET /api/openapi.json", nobody, noScope, s.openapi},
	}
}

// pageRoutes shows the URLs of the web page, whose errors are pages too.
func (s *Server) pageRoutes() []route {
	return []route{
		{"GET /{$}", nobody, noScope, s.home},
		{"POST /login", nobody, noScope, s.loginForm},
		{"POST /logout", byCookie, noScope, s.logoutForm},
		{"POST /tokens", byCookie, noScope, s.createForm},
		{"GET /tokens/{id}/rename", byCookie, noScope, s.renamePage},
		{"POST /tokens/{id}/rename", byCookie, noScope, s.renameForm},
		{"GET /tokens/{id}/revoke", byCookie, noScope, s.revokePage},
		{"POST /tokens/{id}/revoke", byCookie, noScope, s.revokeForm},

		{"GET /account", byCookie, noScope, s.accountPage},
		{"POST /account/password", byCookie, noScope, s.passwordForm},
		{"POST /account/sessions", byCookie, noScope, s.sessionsForm},

		{"GET /account/{form}", nobody, noScope, s.toAccount},
		{"GET /login", nobody, noScope, s.toHome},
		{"GET /logout", nobody, noScope, s.toHome},
		{"GET /tokens", nobody, noScope, s.toHome},
		{"GET " + web.AssetPath + "{file}", nobody, noScope, s.asset},

		{"GET /manual", nobody, noScope, toManual},
		{"GET /manual/{$}", nobody, noScope, s.manualContents},
		{"GET /manual/{topic}", nobody, noScope, s.manualChapter},
	}
}

// onlyGET reports whether a route changes something on GET, as documented, or
// spends a provider's code: HEAD, which net/http gives to all that serve GET, is
// refused there.
func onlyGET(p string) bool {
	switch p {
	case "/api/createApiToken", "/api/revokeApiToken":
		return true
	}
	callback, _ := path.Match("/login/*/callback", p)
	return callback
}

// request is a request with what the server found out about it.
type request struct {
	*http.Request
	from netip.Addr
	caller
	bearer storage.Bearer // what caller.token points to: one allocation for both
}

// actor names the user, for the log.
func (r *request) actor(uid string) storage.Actor {
	return storage.Actor{Name: uid, Address: ipaddr.Text(r.from)}
}

// Handler serves the TCP port. The gate, which is asked more than all others
// together, is known by its path before the mux is asked; in another spelling
// the mux finds it too, or does not.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	var gate http.Handler
	var gatePath string
	for _, rt := range s.routes() {
		if rt.pattern == metricsPattern && s.config().Metrics.Listen != "" {
			continue // they are at their own address
		}
		h := s.handler(rt, s.fail)
		mux.Handle(rt.pattern, h)
		if rt.who == byGate {
			gate, gatePath = h, rt.pattern
		}
	}
	for _, rt := range s.pageRoutes() {
		mux.Handle(rt.pattern, s.handler(rt, s.failPage))
	}
	others := s.onlyHTTPS(s.withErrors(mux, s.failOutside))
	return reply.Unstored(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			// It may have had a length, too, which net/http drops, and by which a proxy
			// may have passed on more than one request (RFC 9112, section 6.1).
			w.Header().Set("Connection", "close")
		}
		if r.URL.Path == gatePath && r.URL.RawPath == "" {
			gate.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	}))
}

const metricsPattern = "GET /metrics"

// metricsHandler serves the metrics alone.
func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		if rt.pattern == metricsPattern {
			mux.Handle(rt.pattern, s.handler(rt, s.fail))
		}
	}
	return reply.Unstored(s.withErrors(mux, s.fail))
}

// handler lets through to a route who may call it, and answers with fail what
// goes wrong.
func (s *Server) handler(rt route, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	if rt.who == byGate {
		return s.atGate(rt)
	}
	switch {
	case typedIn[rt.pattern]:
		fail = s.failUnlessToLogin
	case byBrowser[rt.pattern]:
		fail = s.failToBrowser
	}
	count := s.metrics.route(rt.pattern, rt.who)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w}
		if err := s.answer(sw, r, rt); err != nil {
			if sw.status != 0 {
				s.cutOff(r, err)
			}
			fail(sw, r, err)
		}
		if sw.status == 0 {
			sw.status = http.StatusOK
		}
		count.add(sw.status)
	})
}

// answer lets a request through to the route, if it may pass.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rt route) error {
	req := &request{Request: r, from: ipaddr.Client(r, s.config().TrustedProxies)}
	if err := s.admit(req, rt); err != nil {
		return err
	}
	return rt.serve(w, req)
}

func (s *Server) admit(r *request, rt route) (err error) {
	if rt.who == nobody {
		return nil
	}
	if r.caller, err = s.authenticate(r, rt.who); err != nil {
		return err
	}
	switch {
	case len(r.scopes()) == 0 || rt.scope == anyScope:
		return nil
	case rt.scope == noScope:
		return reply.Refuse(http.StatusForbidden, "A token with scopes may not do this")
	case !r.limits().Allows(rt.scope):
		return reply.Refuse(http.StatusForbidden, "The token lacks the scope %q", rt.scope)
	}
	return nil
}

// withErrors answers, in our form, with fail for what the mux has no route for,
// and for a handler that panics.
func (s *Server) withErrors(mux *http.ServeMux, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	none := s.metrics.route(noRoute, nobody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recovered(w, r)
		if r.Method != http.MethodGet && onlyGET(r.URL.Path) {
			w.Header().Set("Allow", http.MethodGet)
			s.fail(w, r, errMethod)
			none.add(http.StatusMethodNotAllowed)
			return
		}
		if !clean(r.URL.EscapedPath()) {
			fail(w, r, errNoPage) // the mux would redirect, and a POST lose its body
			none.add(http.StatusNotFound)
			return
		}
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		none.add(http.StatusNotFound) // or 405, which is of the same class
		var refusal refusalWriter
		h.ServeHTTP(&refusal, r)
		if refusal.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", refusal.Header().Get("Allow"))
			fail(w, r, errMethod)
			return
		}
		fail(w, r, errNoPage)
	})
}

// clean reports whether a path has no empty, "." or ".." element. It may end with a slash.
func clean(p string) bool {
	return p == "/" || strings.HasPrefix(p, "/") && p != "//" && path.Clean(p) == strings.TrimSuffix(p, "/")
}

// onlyHTTPS has browsers that came by https come by nothing else from then on,
// whatever they asked for first (RFC 6797, section 7.1).
func (s *Server) onlyHTTPS(next http.Handler) http.Handler {
	if !s.config().Secure() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		next.ServeHTTP(w, r)
	})
}

var (
	errMethod = reply.Refuse(http.StatusMethodNotAllowed, "Method not allowed: see Allow")
	errNoPage = reply.Refuse(http.StatusNotFound, api.NoRoute)
)

// refusalWriter keeps what the mux says when it has no route.
type refusalWriter struct {
	header http.Header
	status int
}

func (w *refusalWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (w *refusalWriter) WriteHeader(status int)      { w.status = status }
func (w *refusalWriter) Write(b []byte) (int, error) { return len(b), nil }
