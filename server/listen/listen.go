// Package listen opens the ports and the unix sockets, and decides how many connections may
// be open, and for how long.
//
// A connection of the main port takes this way:
//
//	TCP            accepts it
//	Connections    counts it, in all and by network; closes one that waits if there is no room
//	conn           moves its deadlines and looks for the next request with less work
//	socket         reads and writes it by the calls of package nowait
//	Certificate    speaks TLS on it, with the files as they are now; HTTP/1.1 only
//	Port           has package gate answer what proxies ask, until something else comes
//	HTTP           serves all other requests, within the time-outs
//	Shutdown       ends it
//
// A connection of the metrics' own address goes from socket straight to HTTP. One of the
// gate's own address, a TCP port or a unix socket, goes from Connections straight to the loops
// of a gate.Server. Both are in the clear.
//
// The unix socket for the administration ([Socket]) has no such bounds: only root, the
// owner of the data directory and the members of [admin] groups ([Share]) can reach it.
// [Peer] tells who is at the other end.
//
// Port has package gate tell questions from other requests. Apart from that, the package
// never looks at what a request asks for, and it never decides who may ask.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"gatehouse/server/gate"
	"gatehouse/server/ipaddr"
)

// The limits of a connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	WriteTimeout      = 90 * time.Second // a login may wait for others
	idleTimeout       = 75 * time.Second // longer than nginx keeps a connection that it may use again
	maxHeader         = 64 << 10         // proxies pass on what they take: nginx 32 KiB. A gate must not answer 431
)

// onlyHTTP1 keeps HTTP/2 off a TLS connection. The limits above, and the deadlines of
// conn.go, are those of a connection that carries one request at a time. An HTTP/2
// connection carries 250, so a bound on connections would bound little. And net/http
// ends the request of a client that stops reading, but not its HTTP/2 connection:
// tried with a write time-out of 2 s, it was still open after 25 s. There is little to
// gain: answers are small, and proxies ask the gate by HTTP/1.1.
var onlyHTTP1 = []string{"http/1.1"}

// TCP takes a TCP port. Its connections are counted among the open ones.
func (o *Connections) TCP(address string) (net.Listener, error) { return o.tcp(address, false) }

func (o *Connections) tcp(address string, loops bool) (net.Listener, error) {
	tcp, err := net.Listen("tcp", address)
	if bad, ok := errors.AsType[*net.OpError](err); ok { // it says "listen" and the address, too
		err = bad.Err
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return &listener{tcp.(*net.TCPListener), o, loops}, nil
}

// TLS returns a listener that speaks TLS on the connections of another as long as there
// is a certificate. Without a certificate it passes them on as they are.
func (c *Certificate) TLS(l net.Listener) net.Listener {
	return &tlsListener{l, c, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: onlyHTTP1}}
}

type tlsListener struct {
	net.Listener
	pair *Certificate
	cfg  *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || !l.pair.On() {
		return conn, err
	}
	return tls.Server(conn, l.cfg), nil
}

// URL returns the URL at which a client on this host reaches an address.
func URL(scheme string, addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String()
	}
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// HTTP returns an http.Server with the limits of a connection.
func HTTP(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           drained(handler),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          quiet(log),
	}
}

// longestRest is how much is read of a body that no handler wants.
const longestRest = 64 << 20

// drained reads the rest of a body before the answer goes out. Many clients read no answer
// before they have sent everything. If the connection is closed before that, they see that it
// was reset and never why (RFC 9112, section 9.6). net/http reads 256 KiB, and nothing if the
// client wants the connection closed. The time that a request has bounds this, too.
func drained(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.ContentLength > longestRest {
			next.ServeHTTP(w, r)
			return
		}
		body := &asked{ReadCloser: r.Body, asked: r.Header.Get("Expect") == ""}
		with := *r
		with.Body = body
		next.ServeHTTP(w, &with)
		if body.asked {
			io.CopyN(io.Discard, r.Body, longestRest)
		}
	})
}

// asked is a body that notes whether the client was asked to send it. A client that expects
// "100 Continue" is asked by the first read.
type asked struct {
	io.ReadCloser
	asked bool
}

func (b *asked) Read(p []byte) (int, error) {
	b.asked = true
	return b.ReadCloser.Read(p)
}

// HTTP returns an http.Server for the ports that TCP took. It tells the connections when
// they wait for a request.
func (o *Connections) HTTP(handler http.Handler) *http.Server {
	h := HTTP(handler, o.log)
	h.ConnContext, h.ConnState = ipaddr.WithRemote, o.changed
	return h
}

// Web serves the requests of a listener: an http.Server, or the gate's own.
type Web interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// Gate returns a gate server: for GateListener's listeners, and inside Port.
func (o *Connections) Gate(handler http.Handler) *gate.Server {
	return &gate.Server{
		Handler: handler, Limits: gate.Limits{Header: readHeaderTimeout, Idle: idleTimeout, Write: WriteTimeout},
		ConnContext: ipaddr.WithRemote, ConnState: o.changed, ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelError),
	}
}

// Shutdown lets the requests under way finish, and ends those that don't within the
// context. That is not an error: a client that never ends its request has received no
// answer that must be kept.
func Shutdown(ctx context.Context, web Web, log *slog.Logger) error {
	err := web.Shutdown(ctx)
	if err != nil && ctx.Err() != nil {
		log.Warn("requests that had not ended were cut off")
		return web.Close()
	}
	return err
}

// quiet returns a logger for what net/http reports of single connections, such as failed
// TLS handshakes: at the level Debug.
func quiet(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
