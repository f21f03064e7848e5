package server

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/server/admin"
	"gatehouse/server/listen"
)

// stopTimeout is how long requests and sweeps have to end, of the 30 seconds of a stop:
// the store takes its time, too.
const stopTimeout = 10 * time.Second

// Listener is a Server that has taken its ports and its socket, but does not serve yet.
type Listener struct {
	s       *Server
	tcp     net.Listener
	metrics net.Listener // nil: they have no address of their own
	gate    net.Listener // nil: likewise
	admin   net.Listener
}

// Listen takes the TCP ports and the socket of the administration, and warns of
// settings that are not for production.
func (s *Server) Listen() (*Listener, error) {
	if err := s.open.Check(); err != nil {
		return nil, err
	}
	cfg := s.config()
	if cfg.TLS.Cert != "" {
		var err error
		if s.pair, err = listen.NewCertificate(cfg.TLS, s.now, s.log); err != nil {
			return nil, err
		}
	}
	l := &Listener{s: s}
	var err error
	if l.tcp, err = s.open.TCP(cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.Metrics.Listen != "" {
		if l.metrics, err = s.open.TCP(cfg.Metrics.Listen); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	if cfg.Gate.Listen != "" {
		if l.gate, err = s.open.GateListener(cfg.Gate); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	if l.admin, err = listen.Socket(s.store.Dir()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.shareSocket()
	s.open.Warn()
	s.warnPlain()
	s.logins.Warn()
	return l, nil
}

// shareSocket lets the members of [admin] groups reach the socket.
func (s *Server) shareSocket() {
	gids := slices.Collect(maps.Keys(s.config().Admin.Roles()))
	if len(gids) == 0 {
		return
	}
	if err := listen.Share(s.store.Dir(), gids); err != nil {
		s.log.Warn("the members of [admin] groups can't connect", "error", err)
	}
}

// Close gives up the ports and the socket, for a Listener that never serves.
func (l *Listener) Close() (err error) {
	for _, one := range []net.Listener{l.tcp, l.metrics, l.gate, l.admin} {
		if one != nil {
			err = errors.Join(err, one.Close())
		}
	}
	return err
}

// MetricsURL is where the metrics are, if they have an address of their own.
func (l *Listener) MetricsURL() string {
	if l.metrics == nil {
		return ""
	}
	return listen.URL("http", l.metrics.Addr()) + "/metrics"
}

// GateURL is where reverse proxies ask, if that has an address of its own: a URL, or
// unix: and the path of the socket.
func (l *Listener) GateURL() string {
	switch {
	case l.gate == nil:
		return ""
	case l.gate.Addr().Network() == "unix":
		return "unix:" + l.gate.Addr().String()
	}
	return listen.URL("http", l.gate.Addr())
}

// URL is where a client on this host reaches the server.
func (l *Listener) URL() string {
	scheme := "http"
	if l.s.pair != nil {
		scheme = "https"
	}
	return listen.URL(scheme, l.tcp.Addr())
}

// Serve answers requests until the context ends, then lets those under way
// finish, and returns. The store is the caller's to close.
func (l *Listener) Serve(ctx context.Context) error {
	s := l.s
	background, stop := context.WithCancel(ctx)
	defer stop()
	admin := listen.SocketHTTP(admin.OnSocket(s.adminHandler(), s.config), s.log)
	// A follower of the log waits for things to happen: it ends with the server.
	admin.BaseContext = func(net.Listener) context.Context { return background }
	tcp := l.tcp
	if s.pair != nil {
		tcp = s.pair.TLS(tcp)
	}
	doors := []door{{s.open.HTTP(s.Handler()), tcp}, {admin, l.admin}}
	if l.metrics != nil {
		doors = append(doors, door{s.open.HTTP(s.metricsHandler()), l.metrics})
	}
	if l.gate != nil {
		doors = append(doors, door{s.open.Gate(s.gateHandler()), l.gate})
	}
	failed := make(chan error, len(doors))
	for _, d := range doors {
		go func() { failed <- d.web.Serve(d.listener) }()
	}
	swept := s.sweep(background)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	// The sweeps end while requests do, and have as long.
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for _, d := range doors {
		err = errors.Join(err, listen.Shutdown(end, d.web, s.log))
	}
	if !ends(end, swept) {
		s.log.Warn("a sweep that had not ended was broken off")
	}
	if s.directory != nil {
		s.directory.Close()
	}
	return err
}

// door is an address with what is served there.
type door struct {
	web      listen.Web
	listener net.Listener
}

// sweep starts what the server does without being asked. The channel is closed when all
// of it has ended.
func (s *Server) sweep(ctx context.Context) <-chan struct{} {
	var sweeps sync.WaitGroup
	sweeps.Go(func() { s.idle.Run(ctx) })
	sweeps.Go(func() { s.refusals.Run(ctx) })
	sweeps.Go(func() { s.watchStates(ctx) })
	sweeps.Go(func() { s.activity.run(ctx, s.metrics) })
	if s.directory != nil {
		sweeps.Go(func() { s.directory.Run(ctx) })
	}
	swept := make(chan struct{})
	go func() { sweeps.Wait(); close(swept) }()
	return swept
}

// ends waits for the sweeps until the context ends, which it may have done already: requests can
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
