package listen

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
	"gatehouse/storage/lasting"
)

// Connections bounds how many connections are open: in all, so that open files are
// left for the store, the directory and the administration; and from one network, so
// that no client takes the places of the others. A trusted proxy's connections only
// count in all.
//
// If there is no room for a new connection, one that waits for a request is closed: the
// one that has waited longest, and those of trusted proxies last. A connection in a TLS
// handshake, or halfway through the header of a request, also waits for a request. If
// all are being answered, the new one is closed.
type Connections struct {
	log    *slog.Logger
	limits func() config.Limits
	proxy  func(netip.Addr) bool // of the socket's address, which no client can forge
	most   int                   // that the limit of open files leaves room for

	full, overrun fullness // of all, and of networks

	mu       sync.Mutex
	all      *crowd
	networks map[netip.Prefix]*crowd
	turned   int // closed or refused because there was no room
}

// crowd is a set of connections that are counted together.
type crowd struct {
	network  netip.Prefix // invalid for all
	n, most  int
	line     place // heads the ring of those that wait for a request, in order
	proxies  place // heads the ring of trusted proxies' connections that wait; they are closed last
	fullness *fullness
	full     bool
}

// place is a connection's place in a crowd.
type place struct {
	crowd         *crowd
	line          *place // where it waits
	conn          *conn
	before, after *place // nil while it does not wait
}

// fullness is logged while it lasts in any of several crowds.
type fullness struct {
	lasting.State
	crowds int
}

const (
	reservedFiles = 64 // at least, for all else: an idle server has some 30 files open
	fewest        = 16 // connections that are worth a start
)

var errTooMany = errors.New("limits reached")

// NewConnections reads the limit of open files, which package os has raised as far as
// possible (programs started from here get the earlier limit). For each new connection it
// calls limits, and it calls proxy to learn whether the address is that of a trusted
// proxy.
func NewConnections(log *slog.Logger, limits func() config.Limits, proxy func(netip.Addr) bool) (*Connections, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("read the limit of open files: %w", err)
	}
	o := &Connections{log: log, limits: limits, proxy: proxy, most: roomFor(files.Cur), networks: map[netip.Prefix]*crowd{}}
	o.full.State = lasting.State{Log: log, Level: slog.LevelWarn,
		Begins: "connections are closed or refused: there are too many", Ends: "there is room for connections again"}
	o.overrun.State = lasting.State{Log: log, Level: slog.LevelWarn,
		Begins: "connections are closed or refused: there are too many from one network; if that is a proxy, name it in trusted_proxies",
		Ends:   "no network has too many connections now"}
	o.all = newCrowd(&o.full)
	return o, nil
}

// roomFor returns how many connections a limit of open files leaves room for. A large
// store has many files, so a quarter is left for everything else.
func roomFor(files uint64) int {
	n := int(min(files, 4<<20))
	return n - max(reservedFiles, n/4)
}

// Check returns an error if there is room for hardly any connections.
func (o *Connections) Check() error {
	if o.most < fewest {
		return errors.New("the limit of open files is too low: raise it to 256 or more (ulimit -n, or LimitNOFILE in the unit)")
	}
	return nil
}

// Warn logs a warning if there is less room than the configuration says.
func (o *Connections) Warn() {
	if n := o.limits().Connections; n > o.most {
		o.log.Warn("the limit of open files leaves room for fewer connections than limits.connections: raise it (LimitNOFILE in the unit)", "connections", n, "room", o.most)
	}
}

// enter counts a new connection from an address, and reports whether there is room.
func (o *Connections) enter(c *conn, from netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.limits()
	o.setMost(l)
	if o.proxy(from) {
		return o.join(c, o.all, &o.all.proxies)
	}
	for _, n := range ipaddr.Networks(from) {
		g := o.networks[n.Prefix]
		if g == nil {
			g = newCrowd(&o.overrun)
		}
		g.network = n.Prefix
		g.most = min(l.ConnectionsPerAddress*n.Share, max(1, o.all.most/2))
		if !o.join(c, g, &g.line) {
			o.leave(c)
			return false
		}
		o.networks[n.Prefix] = g // again, if the only other one was closed for this one
	}
	if !o.join(c, o.all, &o.all.line) {
		o.leave(c)
		return false
	}
	return true
}

func (o *Connections) setMost(l config.Limits) {
	o.all.most = o.most
	if l.Connections > 0 {
		o.all.most = min(l.Connections, o.most)
	}
}

// enterProxy admits a connection of a trusted proxy.
func (o *Connections) enterProxy(c *conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.setMost(o.limits())
	return o.join(c, o.all, &o.all.proxies)
}

// join adds a connection to a crowd, and to one of its lines. It reports whether there
// was room, or could be made.
func (o *Connections) join(c *conn, g *crowd, line *place) bool {
	for g.n >= g.most {
		o.turned++
		g.setFull(true)
		victim := cmp.Or(g.line.after.conn, g.proxies.after.conn)
		if victim == nil {
			return false
		}
		o.leave(victim)
		victim.halfCloser.Close() // its goroutine, or its loop, goes on without it
	}
	g.n++
	p := &place{crowd: g, line: line, conn: c}
	c.places = append(c.places, p)
	p.wait()
	return true
}

// leave takes a connection out of its crowds, if it is still in them.
func (o *Connections) leave(c *conn) {
	for _, p := range c.places {
		p.stopWaiting()
		g := p.crowd
		if g.n--; g.n == 0 || g.n < g.most-max(1, g.most/8) { // or each connection would begin and end the state
			g.setFull(false)
		}
		if g.n == 0 && g != o.all {
			delete(o.networks, g.network)
		}
	}
	c.places = nil
}

// closed is called when a connection is closed.
func (o *Connections) closed(c *conn) {
	o.mu.Lock()
	o.leave(c)
	o.mu.Unlock()
}

// changed is an http.Server's ConnState.
func (o *Connections) changed(nc net.Conn, state http.ConnState) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range c.places {
		switch state {
		case http.StateActive:
			p.stopWaiting()
		case http.StateIdle:
			p.wait()
		}
	}
}

// Figures returns how many connections are open, and how many have been closed or
// refused because there was no room.
func (o *Connections) Figures() (open, turned int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.n, o.turned
}

func newCrowd(f *fullness) *crowd {
	g := &crowd{fullness: f}
	for _, line := range []*place{&g.line, &g.proxies} {
		line.before, line.after = line, line
	}
	return g
}

// setFull notes whether the crowd is full, and logs it.
func (g *crowd) setFull(full bool) {
	f := g.fullness
	if g.full != full {
		f.crowds += map[bool]int{true: 1, false: -1}[full]
	}
	switch g.full = full; {
	case full && g.network.IsValid():
		f.Set(errTooMany, "most", g.most, "network", g.network)
	case full:
		f.Set(errTooMany, "most", g.most)
	case f.crowds == 0:
		f.Set(nil)
	}
}

// wait puts the connection at the end of the line.
func (p *place) wait() {
	p.stopWaiting()
	p.before, p.after = p.line.before, p.line
	p.before.after, p.after.before = p, p
}

func (p *place) stopWaiting() {
	if p.after != nil {
		p.before.after, p.after.before = p.after, p.before
		p.before, p.after = nil, nil
	}
}
