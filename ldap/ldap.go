// Package ldap asks an LDAP directory two questions: is this the name and password of one
// of your people, and are these people still there?
//
// It owns the connections to the directory servers: dialing and TLS (conn.go),
// the pool (pool.go), and which server is tried next (server.go). It reads what entries
// and answers to a bind say against a person, since every directory spells "disabled" its
// own way (standing.go, policy.go), and brings the ids that people are known by into one
// form (subject.go). It never writes to the directory, never stores anything, never
// follows a referral, and never falls back from TLS to plain text.
//
// A login has two steps, Find and Authenticate. Between them the caller can count
// failures by account instead of by the spelling that was typed, because directories
// match "alice", "ALICE" and " alice " alike. The password is tried on a connection of
// its own, which is then closed, so a pooled connection never becomes another person's.
//
// Lookup is for off-boarding (lookup.go). It returns a verdict on each person, and doubt
// about one person never becomes a verdict on another (verdict.go). Logins and Lookup read
// an entry in the same way, so that they give the same reason.
package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

const (
	// maxConns bounds the connections in use at once over all servers, so that
	// a flood of logins is not passed on to the directory.
	maxConns = 32
	// maxPacket bounds one message of a server. An entry with the few
	// attributes that are asked for is a thousandth of it.
	maxPacket = 256 << 10
)

var (
	// ErrInvalidCredentials is a wrong name or a wrong password: one error for
	// both, because the client must not learn which.
	ErrInvalidCredentials = errors.New("wrong name or password")
	// ErrRefused is what every *Refusal wraps.
	ErrRefused = errors.New("refused by the directory")
	// ErrUnavailable means that there is no verdict: the directory could not be
	// asked, did not accept the service account, or gave an unusable answer.
	ErrUnavailable = errors.New("directory not available")
)

// Refusal is the error for a person whom the directory knows but does not let in. It is
// meant for the log: the client must be told the same as for ErrInvalidCredentials. Some
// directories refuse before they look at the password. So a Refusal does not prove that
// the password was right, and it counts as a failed login.
type Refusal struct {
	Reason Reason
	Detail string // what the directory said; never a password
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "refused: " + string(r.Reason)
	}
	return fmt.Sprintf("refused: %s (%s)", r.Reason, r.Detail)
}

func (r *Refusal) Unwrap() error { return ErrRefused }

// Directory is one directory, on one or several servers that hold the same
// people. It is safe for concurrent use.
type Directory struct {
	cfg     Config
	log     *slog.Logger
	tls     *tls.Config
	now     func() time.Time
	servers []*server
	slots   chan struct{}
	people  string // cfg.Filter for any name; empty when it can't be derived

	mu     sync.Mutex // guards closed and the state of all servers
	closed bool
}

// New checks cfg and reads the files it names. It does not dial.
func New(cfg Config, log *slog.Logger) (*Directory, error) {
	cfg = cfg.WithDefaults()
	tlsConfig, err := cfg.tls()
	if err := errors.Join(cfg.Validate(), cfg.readPassword(), err); err != nil {
		return nil, err
	}
	boundPackets()
	d := &Directory{
		cfg:    cfg,
		log:    log,
		tls:    tlsConfig,
		now:    cfg.Now,
		slots:  make(chan struct{}, maxConns),
		people: anybody(cfg.Filter),
	}
	for _, raw := range cfg.URLs {
		s, err := newServer(raw)
		if err != nil {
			return nil, err
		}
		d.servers = append(d.servers, s)
	}
	return d, nil
}

// boundPackets sets the only limit that the BER library offers. It is a package variable,
// so it is set once: a second write would race with connections in use.
var boundPackets = sync.OnceFunc(func() { ber.MaxPacketLengthBytes = maxPacket })

// Close closes the idle connections. Those in use are closed when their use ends.
func (d *Directory) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, s := range d.servers {
		d.drain(s)
	}
	return nil
}

// anybody turns the filter for one name into a filter for every name, by putting
// a star in its place. It returns "" where a star would be taken literally: in an
// ordering or approximate match, or an extensible one (attr:rule:=value).
func anybody(filter string) string {
	for rest := filter; ; {
		before, after, found := strings.Cut(rest, usernameMark)
		if !found {
			break
		}
		clause := before[strings.LastIndexByte(before, '(')+1:]
		if strings.ContainsAny(clause, "<>~:") {
			return ""
		}
		rest = after
	}
	all := strings.ReplaceAll(filter, usernameMark, "*")
	if _, err := goldap.CompileFilter(all); err != nil {
		return ""
	}
	return all
}

// try runs f on one server after another until one succeeds. Each server gets an equal
// share of the remaining budget, so that the last one still has time if the others hang.
// An error of f means that the server failed or, if the error is a doubt, that the next
// server may know more. A verdict on a person is not an error here.
func (d *Directory) try(ctx context.Context, budget time.Duration, f func(context.Context, *server) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: all %d connections are in use: %w", ErrUnavailable, maxConns, ctx.Err())
	}

	var faults []error
	tried := make(map[*server]bool, len(d.servers))
	for ctx.Err() == nil {
		s, left := d.pick(tried)
		if s == nil {
			break
		}
		tried[s] = true
		err := d.attempt(ctx, s, left, f)
		if err == nil {
			return nil
		}
		faults = append(faults, fmt.Errorf("%s: %w", s.url, err))
		if errors.As(err, new(*unrepeatable)) {
			break
		}
	}
	if len(faults) == 0 {
		faults = append(faults, d.cause(ctx))
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(faults...))
}

// attempt runs f on s within its share of the time and records the outcome. left is the
// number of servers not yet tried, including s.
func (d *Directory) attempt(ctx context.Context, s *server, left int, f func(context.Context, *server) error) error {
	end, _ := ctx.Deadline() // try set one
	share, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
	defer cancel()
	start := time.Now()
	err := f(share, s)
	switch {
	case err == nil, InDoubt(err):
		d.succeeded(s, time.Since(start))
	case errors.Is(ctx.Err(), context.Canceled):
		// The caller went away: that says nothing about the server.
	default:
		d.failed(s, err)
	}
	return err
}

// cause explains why no server was tried.
func (d *Directory) cause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.servers {
		if s.refused {
			return fmt.Errorf("%s: %s", s.url, s.lastError)
		}
	}
	return errors.New("no server")
}

// unrepeatable marks a fault after which no other server may be asked: the
// password has been sent, and a second bind could count as a second failure.
type unrepeatable struct{ error }

func (u *unrepeatable) Unwrap() error { return u.error }
