package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"gatehouse/storage"
)

// The limits of a connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 90 * time.Second // a login may wait for others
	idleTimeout       = 60 * time.Second
	maxHeader         = 16 << 10
	stopTimeout       = 30 * time.Second
)

// Listener is a Server that has its port and its socket, but serves not yet.
type Listener struct {
	s     *Server
	tcp   net.Listener
	admin net.Listener
}

// Listen takes the TCP port and the socket of the administration, and warns of
// settings that are not for production.
func (s *Server) Listen() (*Listener, error) {
	tcp, err := net.Listen("tcp", s.cfg.Listen)
	if bad := (*net.OpError)(nil); errors.As(err, &bad) { // it says "listen" and the address, too
		err = bad.Err
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	admin, err := listenAdmin(s.store.Dir())
	if err != nil {
		tcp.Close()
		return nil, err
	}
	s.warnPlain()
	s.warnProviders()
	return &Listener{s, tcp, admin}, nil
}

// Close gives up the port and the socket, for a Listener that never serves.
func (l *Listener) Close() error { return errors.Join(l.tcp.Close(), l.admin.Close()) }

// URL is where a client on this host reaches the server.
func (l *Listener) URL() string {
	scheme := "http"
	if l.s.cfg.TLS.Cert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(l.tcp.Addr().String())
	if err != nil {
		return scheme + "://" + l.tcp.Addr().String()
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Serve answers requests until the context ends, then lets those under way
// finish, and returns. The store is the caller's to close.
func (l *Listener) Serve(ctx context.Context) error {
	s := l.s
	web := HTTP(s.Handler(), s.log)
	tcp := l.tcp
	if s.cfg.TLS.Cert != "" {
		s.pair = &certificate{certFile: s.cfg.TLS.Cert, keyFile: s.cfg.TLS.Key, now: s.now, log: s.log}
		if _, err := s.pair.get(nil); err != nil {
			return errors.Join(err, l.Close())
		}
		tcp = tls.NewListener(tcp, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.pair.get, NextProtos: []string{"http/1.1"}})
	}
	background, stop := context.WithCancel(ctx)
	admin := s.adminServer()
	// What waits for things to happen (a follower of the log) ends with us.
	admin.BaseContext = func(net.Listener) context.Context { return background }
	failed := make(chan error, 2)
	go func() { failed <- web.Serve(tcp) }()
	go func() { failed <- admin.Serve(l.admin) }()

	var sweeps sync.WaitGroup
	sweeps.Go(func() { s.sweepIdle(background) })
	sweeps.Go(func() { s.refusals.run(background) })
	sweeps.Go(func() { s.activity.run(background, s.metrics) })
	sweeps.Go(func() { s.sweepDirectory(background) })
	if s.directory != nil {
		defer s.directory.Close()
	}
	defer sweeps.Wait()
	defer stop()

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(err, shutdown(end, web), shutdown(end, admin))
}

// HTTP returns what the TCP port is served with: the limits of a connection,
// around a handler.
func HTTP(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quiet(log),
	}
}

// shutdown lets the requests under way finish, and ends those that don't.
func shutdown(ctx context.Context, s *http.Server) error {
	if err := s.Shutdown(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// warnPlain warns of passwords and tokens in the clear.
func (s *Server) warnPlain() {
	host, _, _ := net.SplitHostPort(s.cfg.Listen)
	a, err := netip.ParseAddr(host)
	if s.cfg.TLS.Cert == "" && host != "localhost" && (err != nil || !a.IsLoopback()) && len(s.cfg.TrustedProxies) == 0 {
		s.log.Warn("passwords and tokens cross the network in the clear: set [tls], or listen on 127.0.0.1 behind a proxy", "listen", s.cfg.Listen)
	}
}

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

// certificate loads the pair of files again when one of them has changed. A
// pair that can't be loaded leaves the older one in place.
type certificate struct {
	certFile, keyFile string
	now               func() time.Time
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	problem error // why the files that lie there are not taken
	looked  time.Time
	changed [2]time.Time
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && c.now().Sub(c.looked) < time.Second {
		return c.pair, nil
	}
	c.looked = c.now()
	var changed [2]time.Time
	for i, file := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			changed[i] = info.ModTime()
		}
	}
	if c.pair != nil && changed == c.changed {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		if c.pair != nil {
			c.log.Error("the certificate was changed and can't be loaded: the older one stays", "error", err)
			c.changed, c.problem = changed, err // said once, not at every connection
			return c.pair, nil
		}
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	c.pair, c.changed, c.problem = &pair, changed, nil
	return c.pair, nil
}

// health is when the certificate in use ends, and why newer files are not taken.
func (c *certificate) health() (notAfter time.Time, err error) {
	pair, err := c.get(nil)
	if err != nil {
		return notAfter, err
	}
	if pair.Leaf != nil { // as tls.LoadX509KeyPair leaves it
		notAfter = pair.Leaf.NotAfter
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return notAfter, c.problem
}

// sweepIdle revokes, once an hour, tokens unused for longer than the policy
// allows.
func (s *Server) sweepIdle(ctx context.Context) {
	after := s.cfg.Tokens.RevokeIdleAfter.Duration
	if after == 0 {
		return
	}
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.revokeIdle(after)
		case <-ctx.Done():
			return
		}
	}
}

// revokeIdle counts from the last use or, where that is later, from the first
// start after a restore: a backup does not know of the uses since it was made.
func (s *Server) revokeIdle(after time.Duration) {
	f := storage.TokenFilter{IdleSince: s.now().Add(-after).UnixMilli()}
	if s.store.RestoredAt() > f.IdleSince {
		return
	}
	ids, err := s.store.MatchTokens(f)
	if err != nil {
		s.log.Error("idle tokens are not revoked", "error", err)
		return
	}
	n, err := s.store.RevokeMatching(storage.Actor{Name: "revoke_idle_after"}, f, ids)
	s.metrics.revocations.Add(float64(n))
	if err != nil {
		s.log.Error("idle tokens are not revoked", "error", err)
	}
	if n > 0 {
		s.log.Info("idle tokens revoked", "tokens", n)
	}
}
