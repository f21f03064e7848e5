package ldap

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// maxAnswer bounds what one operation may receive, over all its messages.
const maxAnswer = 4 << 20

var errTooMuch = errors.New("the server sent more than 4 MiB for one operation")

// wire is the raw connection. All deadlines are set here, below TLS and the LDAP library:
// go-ldap's own time-outs do not apply to the handshake of StartTLS or to writes.
type wire struct {
	net.Conn
	left atomic.Int64
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.left.Add(-int64(n)) < 0 {
		return 0, errTooMuch
	}
	return n, err
}

// conn is one LDAP connection, used by one goroutine at a time.
type conn struct {
	wire    *wire
	ldap    *goldap.Conn
	timeout time.Duration // of one operation
	broken  bool          // an operation was cut off: its answer may still come
}

// close closes the socket before the library's connection, which then can't
// block on it.
func (c *conn) close() {
	c.wire.Conn.Close()
	c.ldap.Close()
}

// within runs one operation under the earlier of ctx's end and the time-out.
func (c *conn) within(ctx context.Context, op func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(c.timeout)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	c.wire.left.Store(maxAnswer)
	c.wire.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { c.wire.SetDeadline(time.Unix(1, 0)) })
	err := op()
	if !stop() {
		// The function above has run or is running. It may interrupt the next
		// operation, so the connection must not be used again.
		c.broken = true
	}
	if err != nil && !answered(err) {
		c.broken = true
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
	return err
}

func (c *conn) search(ctx context.Context, req *goldap.SearchRequest) (res *goldap.SearchResult, err error) {
	req.TimeLimit = int((c.timeout + time.Second - 1) / time.Second)
	err = c.within(ctx, func() error {
		res, err = c.ldap.Search(req)
		return err
	})
	return res, err
}

// answered reports whether err is an LDAP result that the server sent, rather
// than a fault of the connection.
func answered(err error) bool { return code(err) != 0 }

// code returns the LDAP result code that the server sent with err, else 0.
func code(err error) uint16 {
	if e, ok := errors.AsType[*goldap.Error](err); ok && e.ResultCode < goldap.ErrorNetwork {
		return e.ResultCode
	}
	return 0
}

// accountError means that the server does not accept the service account.
type accountError struct {
	dn  string
	err error
}

func (e *accountError) Error() string {
	return fmt.Sprintf("the service account %q was not accepted, see bind_dn and bind_password_file: %v", e.dn, e.err)
}

func (e *accountError) Unwrap() error { return e.err }

// connect makes a connection that is ready to search.
func (d *Directory) connect(ctx context.Context, s *server) (*conn, error) {
	c, err := d.open(ctx, s)
	if err != nil {
		return nil, err
	}
	notice, err := d.bindService(ctx, c)
	if err != nil {
		c.close()
		return nil, err
	}
	d.noticed(s, notice)
	return c, nil
}

// bindService binds as the service account. It rejects an account that may only change
// its password, because every search would fail without a reason. It accepts a grace
// login, with a notice, as long as the directory grants any.
func (d *Directory) bindService(ctx context.Context, c *conn) (notice string, err error) {
	if d.cfg.BindDN == "" {
		return "", nil
	}
	result, err := c.bind(ctx, d.cfg.BindDN, string(d.cfg.BindPassword))
	if err == nil {
		notice = policyNotice(result.Controls)
	}
	verdict, fault := judge(result, err)
	switch {
	case code(fault) == goldap.LDAPResultInvalidDNSyntax:
		return "", &accountError{d.cfg.BindDN, fault}
	case fault != nil:
		return "", fmt.Errorf("bind as the service account: %w", fault)
	case errors.Is(verdict, ErrInvalidCredentials):
		return "", &accountError{d.cfg.BindDN, cmp.Or(err, verdict)}
	case verdict != nil && notice == "":
		return "", &accountError{d.cfg.BindDN, verdict}
	}
	return notice, nil
}

// noticed logs what a password policy says about the service account, but not for every
// connection.
func (d *Directory) noticed(s *server, notice string) {
	if notice == "" {
		return
	}
	d.mu.Lock()
	now := d.now()
	news := now.Sub(s.noticed) >= quiet
	if news {
		s.noticed = now
	}
	d.mu.Unlock()
	if news {
		d.log.Warn("the password of the service account has to be changed soon", "url", s.url, "bind_dn", d.cfg.BindDN, "detail", notice)
	}
}

// open dials s and secures the connection; nobody is bound yet.
func (d *Directory) open(ctx context.Context, s *server) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	w, err := d.dial(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	c, err := d.secure(ctx, s, w)
	if err != nil {
		w.Conn.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}

func (d *Directory) dial(ctx context.Context, s *server) (*wire, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: raw}, nil
}

// secure starts TLS, where it is configured, and the library's goroutines.
func (d *Directory) secure(ctx context.Context, s *server, w *wire) (*conn, error) {
	config := d.tls.Clone()
	config.ServerName = s.host
	c := &conn{wire: w, timeout: d.cfg.Timeout}
	w.left.Store(maxAnswer)
	if s.tls {
		t := tls.Client(w, config)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c.ldap = goldap.NewConn(t, true)
		c.ldap.Start()
		return c, nil
	}
	c.ldap = goldap.NewConn(w, false)
	c.ldap.Start()
	if !d.cfg.StartTLS {
		return c, nil // Validate made sure that insecure is set
	}
	err := c.within(ctx, func() error { return c.ldap.StartTLS(config) })
	if _, ok := c.ldap.TLSConnectionState(); err == nil && !ok {
		err = errors.New("StartTLS left the connection in plain text")
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}
