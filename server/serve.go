package server

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/server/admin"
	"gatehouse/server/config"
	"gatehouse/server/listen"
	"gatehouse/server/recheck"
)

// stopTimeout is how long requests and sweeps have to end, of the 30 seconds of a stop:
// the store takes its time, too.
const stopTimeout = 10 * time.Second

// Listener has the ports and the socket of a Server. Serve serves them.
type Listener struct {
	s          *Server
	tcp, admin net.Listener

	mu      sync.Mutex
	metrics net.Listener // nil: they have no address of their own
	gate    net.Listener // nil: it has no address of its own
	doors   []*door      // what is served; none before Serve
	failed  chan error
}

// door is an address with what is served there.
type door struct {
	web      listen.Web
	listener net.Listener
	closed   bool // because the settings have changed
}

// Listen takes the TCP ports and the socket of the administration, and warns of
// settings that are not for production.
func (s *Server) Listen() (*Listener, error) {
	if err := s.open.Check(); err != nil {
		return nil, err
	}
	cfg := s.config()
	var err error
	if s.pair, err = listen.NewCertificate(cfg.TLS, s.now, s.log); err != nil {
		return nil, err
	}
	l := &Listener{s: s, failed: make(chan error, 1)}
	if l.tcp, err = s.open.TCP(cfg.Listen); err != nil {
		return nil, err
	}
	if l.metrics, err = l.take(metricsDoor, cfg); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if l.gate, err = l.take(gateDoor, cfg); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if l.admin, err = listen.Socket(s.store.Dir()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.ports = l
	s.shareSocket()
	s.open.Warn()
	s.warnPlain()
	s.logins.Warn()
	return l, nil
}

// The doors that come and go with the settings.
const (
	metricsDoor = iota
	gateDoor
)

// take returns a listener at the address of a door; nil: the settings name none.
func (l *Listener) take(which int, cfg *config.Config) (net.Listener, error) {
	switch {
	case which == metricsDoor && cfg.Metrics.Listen != "":
		return l.s.open.TCP(cfg.Metrics.Listen)
	case which == gateDoor && cfg.Gate.Listen != "":
		return l.s.open.GateListener(cfg.Gate)
	}
	return nil, nil
}

// move takes the addresses that are different in the new settings. They come into force
// when the caller calls settle; undo gives them up again.
func (l *Listener) move(before, now *config.Config) (settle, undo func(), err error) {
	taken := map[int]net.Listener{}
	regroup := before.Gate.Listen == now.Gate.Listen && before.Gate.SocketGroup != now.Gate.SocketGroup
	undo = func() {
		if regroup {
			listen.Regroup(before.Gate)
		}
		for _, one := range taken {
			if one != nil {
				one.Close()
			}
		}
	}
	for which, same := range map[int]bool{metricsDoor: before.Metrics == now.Metrics, gateDoor: before.Gate.Listen == now.Gate.Listen} {
		if same {
			continue
		}
		if taken[which], err = l.take(which, now); err != nil {
			undo()
			return nil, nil, err
		}
	}
	if regroup {
		if err := listen.Regroup(now.Gate); err != nil {
			undo()
			return nil, nil, err
		}
	}
	settle = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for which, one := range taken {
			at := map[int]*net.Listener{metricsDoor: &l.metrics, gateDoor: &l.gate}[which]
			l.shut(*at)
			*at = one
			if one != nil && len(l.doors) > 0 {
				l.serve(l.door(which, one))
			}
		}
	}
	return settle, undo, nil
}

// door returns the metrics' door or the gate's, with its listener.
func (l *Listener) door(which int, at net.Listener) *door {
	if which == metricsDoor {
		return &door{web: l.s.open.HTTP(l.s.inForce(func(s *Server) http.Handler { return s.handlers.metrics })), listener: at}
	}
	return &door{web: l.s.open.Gate(l.s.inForce(func(s *Server) http.Handler { return s.handlers.gate })), listener: at}
}

// serve begins to serve a door. The caller holds the lock.
func (l *Listener) serve(d *door) {
	l.doors = append(l.doors, d)
	go func() {
		err := d.web.Serve(d.listener)
		l.mu.Lock()
		defer l.mu.Unlock()
		if !d.closed {
			select {
			case l.failed <- err:
			default:
			}
		}
	}()
}

// shut gives up an address at once, so that it can be taken again, and lets the requests of
// its door under way finish. The caller holds the lock.
func (l *Listener) shut(at net.Listener) {
	if at == nil {
		return
	}
	l.doors = slices.DeleteFunc(l.doors, func(d *door) bool {
		if d.listener != at {
			return false
		}
		d.closed = true
		go func() {
			end, cancel := context.WithTimeout(context.Background(), stopTimeout)
			defer cancel()
			listen.Shutdown(end, d.web, l.s.log)
		}()
		return true
	})
	at.Close()
}

// shareSocket lets the members of [admin] groups reach the socket, and nobody else.
func (s *Server) shareSocket() {
	gids := slices.Collect(maps.Keys(s.config().Admin.Roles()))
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
	if l.s.pair.On() {
		scheme = "https"
	}
	return listen.URL(scheme, l.tcp.Addr())
}

// Serve answers requests until the context ends or a port fails. Then it lets the requests
// under way finish, and returns. The caller closes the store.
func (l *Listener) Serve(ctx context.Context) error {
	s := l.s
	background, stop := context.WithCancel(ctx)
	defer stop()
	administered := s.inForce(func(s *Server) http.Handler { return s.handlers.admin })
	socket := listen.SocketHTTP(admin.OnSocket(administered, s.config), s.log)
	// A follower of the audit log waits for things to happen: it ends with the server.
	socket.BaseContext = func(net.Listener) context.Context { return background }
	l.mu.Lock()
	l.serve(&door{web: s.open.Port(s.Handler()), listener: s.pair.TLS(l.tcp)})
	l.serve(&door{web: socket, listener: l.admin})
	for which, at := range map[int]net.Listener{metricsDoor: l.metrics, gateDoor: l.gate} {
		if at != nil {
			l.serve(l.door(which, at))
		}
	}
	l.mu.Unlock()
	backgroundDone := s.startBackground(background)
	var err error
	select {
	case <-ctx.Done():
	case err = <-l.failed:
	}
	stop()
	// The sweeps end while requests do, and have as long.
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	l.mu.Lock()
	doors := slices.Clone(l.doors)
	l.mu.Unlock()
	for _, d := range doors {
		err = errors.Join(err, listen.Shutdown(end, d.web, s.log))
	}
	if !ends(end, backgroundDone) {
		s.log.Warn("a sweep that had not ended was stopped")
	}
	s.idle.Stop()
	if d := s.latest.Load().directory; d != nil {
		d.Close()
	}
	return err
}

// startBackground starts the work that no request asks for. The channel is closed when all
// of it has ended.
func (s *Server) startBackground(ctx context.Context) <-chan struct{} {
	var work sync.WaitGroup
	work.Go(func() { s.whileInForce(ctx, func(ctx context.Context, _, now *Server) { now.idle.Run(ctx) }) })
	work.Go(func() { s.refusals.Run(ctx) })
	work.Go(func() { s.watchStates(ctx) })
	work.Go(func() { s.metrics.Run(ctx) })
	work.Go(func() { s.whileInForce(ctx, sweepPeople) })
	work.Go(func() { s.whileInForce(ctx, recheckPeople) })
	work.Go(func() { s.whileInForce(ctx, func(ctx context.Context, _, now *Server) { now.scim.Run(ctx) }) })
	work.Go(func() { s.whileInForce(ctx, func(ctx context.Context, _, now *Server) { now.notices.Run(ctx) }) })
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	return done
}

// whileInForce calls run with the server in force and the one before, and again after each
// reload, until the context ends. The context of a run ends when another server is in
// force.
func (s *Server) whileInForce(ctx context.Context, run func(ctx context.Context, before, now *Server)) {
	var before *Server
	for ctx.Err() == nil {
		now := s.latest.Load()
		inForce, cancel := context.WithCancel(ctx)
		go func() {
			defer cancel()
			select {
			case <-now.replaced:
			case <-inForce.Done():
			}
		}()
		run(inForce, before, now)
		<-inForce.Done()
		before = now
	}
}

// sweepPeople sweeps the users of the directory. The server before starts no more sweeps.
func sweepPeople(ctx context.Context, before, now *Server) {
	if now.directory == nil {
		return
	}
	if before != nil {
		now.directory.Inherit(before.directory)
	}
	now.directory.Run(ctx)
}

// recheckPeople sweeps the users of the providers.
func recheckPeople(ctx context.Context, before, now *Server) {
	var old *recheck.All
	if before != nil {
		old = before.recheck
	}
	now.recheck.Run(ctx, old)
	now.recheck.Stop()
}

// ends waits until the work in the background has ended, or the context ends. The context
// may have ended already: requests can take all of the time. A sweep may wait for a store or
// a directory that does not answer.
func ends(ctx context.Context, backgroundDone <-chan struct{}) bool {
	select {
	case <-backgroundDone:
		return true
	case <-ctx.Done():
	}
	select {
	case <-backgroundDone:
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
