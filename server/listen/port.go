package listen

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"gatehouse/server/gate"
)

// port serves one address for the gate's questions and for everything else. Package gate
// answers the questions on a connection in the clear, for two thirds of the cost. At the first
// request that is anything else, or that it does not understand, net/http takes the
// connection over, and keeps it.
type port struct {
	gate   *gate.Server
	rest   *http.Server
	passed chan net.Conn
	ended  chan struct{} // closed when nobody takes connections that are passed on any more
	end    func()
	at     net.Listener
}

// Port returns a server for the ports that TCP took, whose handler also answers what the
// gate is asked.
func (o *Connections) Port(handler http.Handler) Web {
	p := &port{gate: o.Gate(handler), rest: o.HTTP(handler), passed: make(chan net.Conn), ended: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	p.gate.Pass = func(nc net.Conn, read []byte) {
		nc.(*conn).unread = read
		p.pass(nc)
	}
	return p
}

func (p *port) pass(c net.Conn) {
	select {
	case p.passed <- c:
	case <-p.ended:
		c.Close()
	}
}

// Serve accepts connections until Shutdown or Close.
func (p *port) Serve(l net.Listener) error {
	p.at = l
	go p.rest.Serve(passed{p})
	return p.gate.Serve(plainListener{l, p})
}

// Shutdown takes no more requests, and waits for those under way.
func (p *port) Shutdown(ctx context.Context) error {
	asked := make(chan error, 1)
	go func() { asked <- p.gate.Shutdown(ctx) }()
	return errors.Join(p.rest.Shutdown(ctx), <-asked)
}

// Close ends all connections.
func (p *port) Close() error { return errors.Join(p.gate.Close(), p.rest.Close()) }

// plainListener accepts the connections without TLS, and passes the others on to net/http.
type plainListener struct {
	net.Listener
	port *port
}

func (l plainListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if _, ok := c.(*conn); ok || err != nil {
			return c, err
		}
		l.port.pass(c)
	}
}

// passed is the listener by which net/http gets the connections that are passed on.
type passed struct{ *port }

func (l passed) Accept() (net.Conn, error) {
	select {
	case c := <-l.passed:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l passed) Close() error {
	l.end()
	return nil
}

func (l passed) Addr() net.Addr { return l.at.Addr() }
