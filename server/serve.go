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
	"sync"
	"time"

	"gatehouse/server/ipaddr"
)

// The limits of a connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 90 * time.Second // a login may wait for others
	idleTimeout       = 75 * time.Second // longer than nginx keeps a connection that it may use again
	maxHeader         = 64 << 10         // proxies pass on what they take: nginx 32 KiB. 431 is no answer of a gate
	stopTimeout       = 10 * time.Second // of 30, since the store takes its time, too
)

// onlyHTTP1 keeps HTTP/2 off a TLS connection. The limits above, and the deadlines of
// conn.go, are those of a connection that carries one request at a time. An HTTP/2
// connection carries 250, so a bound on connections would bound little. And net/http
// ends the request of a client that stops reading, but not its HTTP/2 connection:
// tried with a write time-out of 2 s, it was still open after 25 s. There is little to
// gain: answers are small, and proxies ask the gate by HTTP/1.1.
var onlyHTTP1 = []string{"http/1.1"}

// Listener is a Server that has its port and its socket, but serves not yet.
type Listener struct {
	s       *Server
	tcp     listener
	metrics *listener // nil: they have no address of their own
	admin   net.Listener
}

// Listen takes the TCP port and the socket of the administration, and warns of
// settings that are not for production.
func (s *Server) Listen() (*Listener, error) {
	if err := s.open.check(); err != nil {
		return nil, err
	}
	if files := s.config().TLS; files.Cert != "" {
		s.pair = &certificate{now: s.now, log: s.log}
		if err := s.pair.use(files); err != nil {
			return nil, err
		}
	}
	l := &Listener{s: s}
	tcp, err := s.listenTCP(s.config().Listen)
	if err != nil {
		return nil, err
	}
	l.tcp = *tcp
	if address := s.config().Metrics.Listen; address != "" {
		if l.metrics, err = s.listenTCP(address); err != nil {
			return nil, errors.Join(err, tcp.Close())
		}
	}
	if l.admin, err = listenAdmin(s.store.Dir()); err != nil {
		return nil, errors.Join(err, l.closePorts())
	}
	s.open.warn(s.log)
	s.warnPlain()
	s.warnProviders()
	return l, nil
}

func (s *Server) listenTCP(address string) (*listener, error) {
	tcp, err := net.Listen("tcp", address)
	if bad := (*net.OpError)(nil); errors.As(err, &bad) { // it says "listen" and the address, too
		err = bad.Err
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return &listener{tcp.(*net.TCPListener), s.open}, nil
}

// Close gives up the ports and the socket, for a Listener that never serves.
func (l *Listener) Close() error { return errors.Join(l.closePorts(), l.admin.Close()) }

func (l *Listener) closePorts() error {
	err := l.tcp.Close()
	if l.metrics != nil {
		err = errors.Join(err, l.metrics.Close())
	}
	return err
}

// MetricsURL is where the metrics are, if they have an address of their own.
func (l *Listener) MetricsURL() string {
	if l.metrics == nil {
		return ""
	}
	return urlOf("http", l.metrics.Addr()) + "/metrics"
}

// URL is where a client on this host reaches the server.
func (l *Listener) URL() string {
	scheme := "http"
	if l.s.config().TLS.Cert != "" {
		scheme = "https"
	}
	return urlOf(scheme, l.tcp.Addr())
}

func urlOf(scheme string, addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String()
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
	web, figures := s.http(s.Handler()), s.http(s.metricsHandler())
	tcp := net.Listener(l.tcp)
	if s.pair != nil {
		tcp = tls.NewListener(tcp, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.pair.get, NextProtos: onlyHTTP1})
	}
	background, stop := context.WithCancel(ctx)
	admin := s.adminServer()
	// What waits for things to happen (a follower of the log) ends with us.
	admin.BaseContext = func(net.Listener) context.Context { return background }
	failed := make(chan error, 3)
	go func() { failed <- web.Serve(tcp) }()
	go func() { failed <- admin.Serve(l.admin) }()
	if l.metrics != nil {
		go func() { failed <- figures.Serve(l.metrics) }()
	}

	var sweeps sync.WaitGroup
	sweeps.Go(func() { s.sweepIdle(background) })
	sweeps.Go(func() { s.refusals.run(background) })
	sweeps.Go(func() { s.watchStates(background) })
	sweeps.Go(func() { s.activity.run(background, s.metrics) })
	sweeps.Go(func() { s.sweepDirectory(background) })
	if s.directory != nil {
		defer s.directory.Close()
	}
	defer stop()
	if s.offboard != nil {
		defer s.offboard.doubt.Stop()
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	// The sweeps end while requests do, and have as long.
	swept := make(chan struct{})
	go func() { sweeps.Wait(); close(swept) }()
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err = errors.Join(err, s.shutdown(end, web), s.shutdown(end, figures), s.shutdown(end, admin))
	if !ends(end, swept) {
		s.log.Warn("a sweep that had not ended was broken off")
	}
	return err
}

func (s *Server) http(handler http.Handler) *http.Server {
	h := HTTP(handler, s.log)
	h.ConnContext, h.ConnState = ipaddr.WithRemote, s.open.changed
	return h
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

// shutdown lets the requests under way finish, and ends those that don't. That is no
// error: a client that never ends its request has got no answer that must be kept.
func (s *Server) shutdown(ctx context.Context, web *http.Server) error {
	err := web.Shutdown(ctx)
	if err != nil && ctx.Err() != nil {
		s.log.Warn("requests that had not ended were broken off")
		return web.Close()
	}
	return err
}

// ends waits for the sweeps until the context ends, which it may have done: requests can
// take all of the time. A sweep may wait for a store or a directory that does not answer.
func ends(ctx context.Context, swept <-chan struct{}) bool {
	select {
	case <-swept:
		return true
	case <-ctx.Done():
	}
	select {
	case <-swept:
		return true
	default:
		return false
	}
}

// warnPlain warns of passwords and tokens in the clear.
func (s *Server) warnPlain() {
	host, _, _ := net.SplitHostPort(s.config().Listen)
	a, err := netip.ParseAddr(host)
	if s.config().TLS.Cert == "" && host != "localhost" && (err != nil || !a.IsLoopback()) && len(s.config().TrustedProxies) == 0 {
		s.log.Warn("passwords and tokens cross the network in the clear: set [tls], or listen on 127.0.0.1 behind a proxy", "listen", s.config().Listen)
	}
}
