// Package server owns Gatehouse's HTTP: the documented API and what goes
// beyond it on the TCP port, the web page, and the administration on the unix
// socket.
//
// A request takes one way through the package: a route, authenticate (the only
// way from a request to a user), a handler, the store, a view of what the store
// returned, the reply. A handler returns its error, and one table maps that to a
// status. What the files are about:
//
//	routes, admin                     every URL of the port; package admin has the socket's
//	authenticate, address, verify     who asks, from where; the gate for reverse proxies
//	login, directory, oauth_*         logging in by password, LDAP and OAuth
//	admit                             whom these vouch for becomes a user
//	password, throttle, refusals      hashing, guessing bounded, failures logged
//	recentfiles                       files that a user opened
//	account                           own password and sessions
//	page, page_list, next             the same on the web page
//	offboard, idle, held              what is revoked without being asked for
//	config*, span                     the configuration file
//	fail, view                        what is shown of an error, and of what the store returns
//	serve, conn, crowd, socket, certificate  listening
//	watch                             troubles that last, logged
//	metrics, activity, health         figures for Prometheus and the terminal UI
//
// The package decides who may ask and what is shown; what is true, package
// storage decides. No handler keeps state of its own: beside the store, the
// server remembers only the logins that are under way, the bulk revocations that
// can be stopped, what is held, and its figures.
package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"gatehouse/server/admin"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/ipaddr"
	"gatehouse/server/listen"
	"gatehouse/server/oauth"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// Server answers requests on a store.
type Server struct {
	store    *storage.Store
	settings atomic.Pointer[config.Config] // in force; see Reload
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	version  string
	throttle *guard.Throttle
	changes  *guard.Budget // of users, on their tokens and files
	logins   *guard.Budget // of users, by browser
	refusals *guard.Refusals
	tokens   *tokens.Tokens
	hasher   *guard.Hasher
	origins  *http.CrossOriginProtection
	metrics  *metrics
	admin    *admin.Admin
	pages    *web.Pages
	activity *activity
	view     view.View
	turns    *guard.Turns        // of the users, to read a part of a listing
	pair     *listen.Certificate // nil: the port speaks plain HTTP
	open     *listen.Connections
	watch    *watch

	directory *directory.People // nil: LDAP is not configured
	idle      *directory.Idle

	oauth   map[string]*oauth.Provider // by name
	pending *pending                   // logins by browser that are at a provider
}

// loginsPerHour is how many browser sessions a user may begin in an hour: each is
// an event, too.
const loginsPerHour = 1000

// Options say how a Server works. The zero value will do.
type Options struct {
	Version string
	Now     func() time.Time
	Log     *slog.Logger

	Hasher          *guard.Hasher // default guard.HashParams, at most four at once
	ProviderTimeout time.Duration // of a login at an OAuth provider in all; default 5 s
}

// New returns a server for the store, with a configuration that Check has
// accepted. It reads the files that the configuration names, and connects to
// nothing.
func New(store *storage.Store, cfg config.Config, opts Options) (*Server, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Hasher == nil {
		opts.Hasher = guard.NewHasher(guard.HashParams, min(4, runtime.GOMAXPROCS(0)), 1024)
	}
	s := &Server{
		store: store, log: opts.Log, now: opts.Now, started: opts.Now(), version: opts.Version,
		refusals: guard.NewRefusals(store, opts.Log),
		changes:  guard.NewBudget(cfg.Limits.ChangesPerUser, "Too many changes within an hour: try again later", opts.Now),
		logins:   guard.NewBudget(loginsPerHour, "Too many logins within an hour: try again later", opts.Now),
		hasher:   opts.Hasher,
		origins:  http.NewCrossOriginProtection(),
		activity: new(activity),
		view:     view.New(store, opts.Now),
		turns:    guard.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)),
	}
	s.settings.Store(&cfg)
	s.throttle = guard.NewThrottle(store, func() config.Logins { return s.config().Logins }, opts.Now)
	var err error
	if s.open, err = listen.NewConnections(opts.Log, func() config.Limits { return s.config().Limits }, s.isProxy); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(store, s.activity, s.open)
	if s.pages, err = web.New(cfg.Secure()); err != nil {
		return nil, err
	}
	if s.pending, err = newPending(opts.Now); err != nil {
		return nil, err
	}
	if cfg.LDAP != nil {
		if s.directory, err = directory.Open(*cfg.LDAP, directory.Needs{
			Store: store, Throttle: s.throttle, Refusals: s.refusals, Log: opts.Log,
			Admit: s.admitIdentity, Decided: s.decided,
		}); err != nil {
			return nil, err
		}
	}
	s.idle = directory.NewIdle(store, opts.Log, func() config.Lifetime { return s.config().Tokens.RevokeIdleAfter },
		s.revoked)
	if s.oauth, err = cfg.Providers(opts.ProviderTimeout, opts.Now); err != nil {
		return nil, err
	}
	s.watch = newWatch(opts.Log, s.oauth)
	s.tokens = tokens.New(tokens.Needs{
		Store: store, Config: s.config, Now: opts.Now, Changes: s.changes, Turns: s.turns, Origins: s.origins, Revoked: s.revoked,
	})
	s.metrics.held(s)
	s.admin = s.newAdmin()
	if cfg.PublicURL != "" {
		if err := s.origins.AddTrustedOrigin(cfg.Origin()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// revoked counts tokens that were revoked.
func (s *Server) revoked(tokens int) { s.metrics.revocations.Add(float64(tokens)) }

// config returns the settings in force.
func (s *Server) config() *config.Config { return s.settings.Load() }

// isProxy reports whether an address is that of a trusted proxy.
func (s *Server) isProxy(a netip.Addr) bool { return ipaddr.In(s.config().TrustedProxies, a) }
