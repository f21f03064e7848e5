// Package server owns Gatehouse's HTTP: the documented API and what goes
// beyond it on the TCP port, the web page, and the administration on the unix
// socket.
//
// routes.go shows every URL of the port on one screen, with the credential
// that each asks for; admin.go does so for the socket. A handler returns an
// error, and one table (errors.go) maps it to a status. authenticate
// (authenticate.go) is the only way from a request to a user.
//
// The package decides who may ask and what is shown; what is true, storage
// decides. No handler keeps state: there is the store, what throttles logins,
// and the logins by browser that are at a provider.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/server/oauth"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// Server answers requests on a store.
type Server struct {
	store    *storage.Store
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	version  string
	throttle *throttle
	refusals *refusals
	hasher   *hasher
	origins  *http.CrossOriginProtection
	metrics  *metrics
	jobs     jobs
	pages    *web.Pages
	activity *activity
	pair     *certificate // nil: the port speaks plain HTTP

	directory directory // nil: LDAP is not configured
	offboard  *offboard // nil likewise

	oauth   map[string]*oauth.Provider // by name
	pending *pending
}

// Options say how a Server works. The zero value will do.
type Options struct {
	Version string
	Now     func() time.Time
	Log     *slog.Logger

	ProviderTimeout time.Duration // of a login at an OAuth provider in all; default 5 s
}

// New returns a server for the store. The configuration has been checked.
func New(store *storage.Store, cfg Config, opts Options) (*Server, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		store: store, cfg: cfg, log: opts.Log, now: opts.Now, started: opts.Now(), version: opts.Version,
		refusals: &refusals{store: store},
		throttle: &throttle{store: store, cfg: cfg.Logins, now: opts.Now},
		hasher:   newHasher(hashParams),
		origins:  http.NewCrossOriginProtection(),
		pending:  &pending{now: opts.Now},
		activity: new(activity),
	}
	s.metrics = newMetrics(store, s.activity)
	var err error
	if s.pages, err = web.New(cfg.secure()); err != nil {
		return nil, err
	}
	if s.directory, err = openDirectory(cfg.LDAP, opts.Log); err != nil {
		return nil, err
	}
	if s.directory != nil {
		s.offboard = newOffboard(store, s.directory, opts.Log)
	}
	if s.oauth, err = openProviders(cfg, opts.ProviderTimeout, opts.Now); err != nil {
		return nil, err
	}
	if cfg.PublicURL != "" {
		if err := s.origins.AddTrustedOrigin(origin(cfg.PublicURL)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// healthz serves GET /healthz: the process answers.
func (s *Server) healthz(w http.ResponseWriter, _ *request) error {
	reply(w, http.StatusOK, map[string]string{"status": "alive"})
	return nil
}

// readyWithin is how long /readyz waits for a store that is being opened.
const readyWithin = 2 * time.Second

// readyz serves GET /readyz: the store is open and takes changes.
func (s *Server) readyz(w http.ResponseWriter, r *request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	if err := s.store.Opened(ctx); err != nil {
		return err
	}
	if err := s.store.Writable(); err != nil {
		return err
	}
	reply(w, http.StatusOK, map[string]string{"status": "ready"})
	return nil
}

func (s *Server) firstLoginFile() string { return filepath.Join(s.store.Dir(), "first-login") }

// origin is the part of a URL that browsers send as Origin (RFC 6454, section 4).
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host := strings.ToLower(u.Host)
	if p := u.Port(); p == "443" && u.Scheme == "https" || p == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+p)
	}
	return u.Scheme + "://" + host
}
