// Package server is Gatehouse's HTTP. It puts together the packages that have routes of
// their own, decides who a caller is, and says what a client is told of an error. It never
// decides what is true: package storage does. It holds no state of its own about users or
// tokens.
//
// A request on the TCP port passes:
//
//	listen.Port        package gate reads the questions of proxies, net/http all other
//	                   requests, and all on TLS; both call Handler
//	Handler            routes.go: every URL, from packages login, logout, tokens, scim, site
//	                   and this one
//	admit              routes.go: whether the credential may call the route
//	  authenticate     authenticate.go: the only way from a credential to a user
//	Route.Serve        a handler, which asks the store and returns its error
//	refusal            fail.go: status, message and headers for an error; the table is in package reply
//
// Where X-Auth-Token becomes a user:
//
//	authenticate.go    authenticate, with route.TokenOf (route/sent.go), which takes
//	                   X-Auth-Token, Bearer and, at the gate, the password of Basic
//	storage            Store.Authenticate, by package verify: the part of the token that only
//	                   the key can make, then the table of live tokens in memory, then the
//	                   record of a token that is limited or rotated
//
// A question to the gate, /api/verify, passes atGate and decide (verify.go), and then answer
// and admit (routes.go) like any other request; errors go to failVerify. If the gate has an
// address of its own, door (serve.go) serves it by listen's Connections.Gate, and calls
// gateHandler (routes.go).
//
// When a directory user is suspended:
//
//	sweepPeople        serve.go: calls Sweeps.Run, and again after each reload
//	directory          Sweeps.Run sweeps at once and every [ldap] recheck (5 minutes by default;
//	                   off: never). It asks about the users who hold live tokens, who logged in
//	                   within the last 7 days (storage.SessionLife), or who have a password here
//	ldap               Directory.Lookup returns the verdicts; standing.go reads what the entry
//	                   says, and Reason.Suspends tells which reasons stop tokens
//	directory          compare (change.go) turns a verdict into a change; brake holds the
//	                   changes if there are too many; apply makes them. What is due for a
//	                   missing person waits for the second sweep
//	storage            Store.Suspend, for a user who is stopped there: the user's tokens no
//	                   longer verify. Store.Leave, for one who is missing: removes a user
//	                   whom only the directory knows, and suspends others
//
// The people of an OAuth provider are swept in the same way, with recheck on (package
// recheck), after logout tokens (logout), and for what SCIM says (scim).
//
// Besides the routes, Serve runs the work in the background (startBackground in serve.go):
// the sweeps of users and of idle tokens, the notices, the refused logins that are counted
// for a minute, the activity that the metrics count, and the log of problems that last
// (watch.go).
package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"gatehouse/server/access"
	"gatehouse/server/admin"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/ipaddr"
	"gatehouse/server/listen"
	"gatehouse/server/login"
	"gatehouse/server/logout"
	"gatehouse/server/metrics"
	"gatehouse/server/notify"
	"gatehouse/server/oauth"
	"gatehouse/server/recheck"
	"gatehouse/server/scim"
	"gatehouse/server/site"
	"gatehouse/server/tokens"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// Server answers requests on a store, with the settings of one configuration. A reload
// makes another Server, which shares all that is not made from the settings, and takes
// the place of this one at once and in whole: see Reload.
type Server struct {
	latest   *atomic.Pointer[Server] // the one in force; shared by all
	cfg      config.Config           // what this one was made from
	replaced chan struct{}           // closed when it is no longer in force

	// Shared with the servers before and after.
	store    *storage.Store
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	version  string
	timeout  time.Duration // of a login at an OAuth provider
	hasher   *guard.Hasher
	throttle *guard.Throttle
	changes  *guard.Budget // of users, on their tokens and files
	refusals *guard.Refusals
	turns    *guard.Turns // of users, for listings
	metrics  *metrics.Metrics
	access   *access.Log
	idle     *directory.Idle
	told     *notify.Count
	watch    *watch
	open     *listen.Connections
	pair     *listen.Certificate // nil before Listen
	ports    *Listener           // nil before Listen

	// Made from the settings.
	origins   *http.CrossOriginProtection
	pages     *web.Pages
	oauth     map[string]*oauth.Provider // by name
	recheck   *recheck.All
	notices   *notify.Notifier
	logouts   *logout.Logouts
	scim      *scim.SCIM
	directory *directory.People // nil: LDAP is not configured
	tokens    *tokens.Tokens
	logins    *login.Logins
	site      *site.Site
	admin     *admin.Admin
	handlers  struct{ main, metrics, gate, admin http.Handler }
}

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
		latest: new(atomic.Pointer[Server]), cfg: cfg, replaced: make(chan struct{}),
		store: store, log: opts.Log, now: opts.Now, started: opts.Now(), version: opts.Version, timeout: opts.ProviderTimeout,
		hasher:   opts.Hasher,
		changes:  guard.NewBudget(cfg.Limits.ChangesPerUser, "Too many changes within an hour: try again later", opts.Now),
		refusals: guard.NewRefusals(store, opts.Log),
		turns:    guard.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)),
		watch:    newWatch(opts.Log),
		told:     notify.NewCount(),
	}
	s.latest.Store(s)
	s.throttle = guard.NewThrottle(store.Expiring(), func() config.Logins { return s.config().Logins }, opts.Now)
	s.access = &access.Log{Log: opts.Log, On: func() bool { return s.config().Log.Access == "on" }, Client: s.client}
	s.idle = directory.NewIdle(store, opts.Log, func() config.Lifetime { return s.config().Tokens.RevokeIdleAfter }, s.revoked)
	var err error
	if s.open, err = listen.NewConnections(opts.Log, func() config.Limits { return s.config().Limits }, s.isProxy); err != nil {
		return nil, err
	}
	s.metrics = metrics.New(metrics.Sources{
		Store: store, Version: opts.Version, Connections: s.open, Idle: s.idle, Certificate: s.certificate,
		People:    func() *directory.People { return s.latest.Load().directory },
		Providers: func() map[string]*oauth.Provider { return s.latest.Load().oauth },
		Recheck:   func() *recheck.All { return s.latest.Load().recheck },
		Notices:   func() map[string]notify.Figures { return s.latest.Load().notices.Figures() },
		Told:      s.told,
		Holding:   func() (int, bool) { return holding(s.latest.Load().sweeps()) },
	})
	if err := s.build(nil); err != nil {
		return nil, err
	}
	s.watch.follow(s.oauth)
	return s, nil
}

// build makes what is made from the settings. The server takes the place of before; nil:
// there is none.
func (s *Server) build(before *Server) (err error) {
	s.origins = http.NewCrossOriginProtection()
	if s.cfg.PublicURL != "" {
		if err := s.origins.AddTrustedOrigin(s.cfg.Origin()); err != nil {
			return err
		}
	}
	if s.pages, err = web.New(s.cfg.Secure()); err != nil {
		return err
	}
	if s.oauth, err = s.cfg.Providers(s.timeout, s.now); err != nil {
		return err
	}
	if before != nil {
		s.keepProviders(before)
	}
	if err := s.buildParts(); err != nil {
		return err
	}
	if before != nil {
		s.logins.Inherit(before.logins)
		s.recheck.Inherit(before.recheck)
		s.logouts.Inherit(before.logouts)
		s.scim.Inherit(before.scim)
		s.admin.Inherit(before.admin)
	}
	s.handlers.main, s.handlers.metrics = s.mainHandler(), s.metricsHandler()
	s.handlers.gate, s.handlers.admin = s.gateHandler(), s.adminHandler()
	return nil
}

// keepProviders keeps the providers whose settings are as before, with what is known of
// them.
func (s *Server) keepProviders(before *Server) {
	for name, p := range s.oauth {
		if old := before.oauth[name]; old != nil && s.cfg.OAuth[name] == before.cfg.OAuth[name] && old.SameSecret(p) {
			s.oauth[name] = old
		}
	}
}

// buildParts makes the parts that depend on the settings, each with the other parts that it
// works with.
func (s *Server) buildParts() (err error) {
	s.tokens = tokens.New(tokens.Needs{
		Store: s.store, Config: s.config, Now: s.now, Changes: s.changes, Turns: s.turns, Origins: s.origins, Revoked: s.revoked,
	})
	s.logouts = logout.New(logout.Needs{
		Providers: s.oauth, Settings: s.cfg.OAuth, Store: s.store, Throttle: s.throttle, Log: s.log,
	})
	s.scim = scim.New(scim.Needs{Store: s.store, Config: s.config, Changes: s.changes, Turns: s.turns, Log: s.log}, s.cfg.OAuth)
	s.recheck = recheck.New(s.cfg.OAuth, s.oauth, s.store, s.log)
	s.logins, err = login.New(login.Needs{
		Store: s.store, Config: s.config, Now: s.now, Log: s.log,
		Hasher: s.hasher, Throttle: s.throttle, Refusals: s.refusals, Changes: s.changes,
		Providers: s.oauth, Recheck: s.recheck, Tokens: s.tokens, Origins: s.origins, Pages: s.pages,
		Counted: s.metrics.Login, Asked: s.watch.provider, Refusal: s.refusal,
		FirstLoginDone: func(uid string) { s.admin.FirstLoginDone(uid) },
	})
	if err != nil {
		return err
	}
	s.directory = nil
	if s.cfg.LDAP != nil {
		s.directory, err = directory.Open(*s.cfg.LDAP, directory.Needs{
			Store: s.store, Throttle: s.throttle, Refusals: s.refusals, Log: s.log, Admit: s.logins.Admit, Decided: s.decided,
		})
		if err != nil {
			return err
		}
		s.logins.People = s.directory
	}
	s.site = site.New(site.Needs{
		Store: s.store, Config: s.config, Now: s.now, Pages: s.pages, Logins: s.logins, Tokens: s.tokens, Turns: s.turns,
		Authenticate: s.authenticate, Refusal: s.refusal,
	})
	s.notices, err = notify.New(s.cfg.Notify, s.cfg.PublicURL, notify.Needs{Store: s.store, Log: s.log, Held: s.holds, Count: s.told})
	if err != nil {
		return err
	}
	s.admin = admin.New(s.store, admin.Host{
		Log: s.log, Now: s.now, Config: s.config, Hasher: s.hasher, Throttle: s.throttle,
		People: s.directory, Idle: s.idle, Providers: s.oauth, Recheck: s.recheck, Sweeps: s.sweeps, Notices: s.notices, Figures: s.figures, Revoked: s.revoked,
	})
	return nil
}

// sweeps lists the sweeps of users, the directory's first.
func (s *Server) sweeps() (list []*directory.Sweeps) {
	if s.directory != nil {
		list = append(list, s.directory.Sweeps)
	}
	return slices.Concat(list, s.recheck.Sweeps(), s.logouts.Sweeps(), s.scim.Sweeps())
}

// holds lists what may be held, for the notices.
func (s *Server) holds() []notify.Hold {
	list := []notify.Hold{{
		Sweep: "idle", Source: "revoke_idle_after", Known: s.idle.Swept(), Count: s.idle.Holding(), Why: "idle tokens would be revoked",
	}}
	for _, one := range s.sweeps() {
		h := notify.Hold{Sweep: "users " + one.Source, Source: one.Source, Known: !one.LastSweep().IsZero(), Count: one.Holding(), Why: "users would be suspended or removed"}
		if one.UntilLogin {
			h.Sweep, h.Known = "logouts "+one.Source, true // a start forgets them
		}
		list = append(list, h)
	}
	return list
}

// holding returns how many changes sweeps hold, and whether they can hold any.
func holding(sweeps []*directory.Sweeps) (n int, can bool) {
	for _, one := range sweeps {
		n += one.Holding()
		can = can || one.Every > 0 || one.UntilLogin
	}
	return n, can || n > 0
}

// revoked counts tokens that were revoked.
func (s *Server) revoked(tokens int) { s.metrics.Revoked(tokens) }

// certificate returns when the server's own certificate ends, and whether it has one.
func (s *Server) certificate() (notAfter time.Time, on bool) {
	pair := s.latest.Load().pair
	if pair == nil || !pair.On() {
		return notAfter, false
	}
	notAfter, _ = pair.Health()
	return notAfter, !notAfter.IsZero()
}

// config returns the settings in force.
func (s *Server) config() *config.Config { return &s.latest.Load().cfg }

// client returns the address that a request comes from.
func (s *Server) client(r *http.Request) netip.Addr {
	return ipaddr.Client(r, s.config().TrustedProxies)
}

// isProxy reports whether an address is that of a trusted proxy.
func (s *Server) isProxy(a netip.Addr) bool { return ipaddr.In(s.config().TrustedProxies, a) }
