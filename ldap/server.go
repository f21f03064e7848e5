package ldap

import (
	"errors"
	"time"
)

const (
	penalty = 30 * time.Second // how long a server that failed is tried last
	quiet   = time.Minute      // between two log lines about one outage
)

// server is one of the directory's servers. Directory.mu guards what changes.
type server struct {
	url, host, addr string
	tls             bool // ldaps://

	idle        []*conn
	until       time.Time // end of the penalty; zero: in good health
	refused     bool      // the fault was the service account's password
	latency     time.Duration
	lastSuccess time.Time
	lastFailure time.Time
	lastError   string
	logged      time.Time
	noticed     time.Time // when the service account's password was last logged
}

// ServerStatus is the health of one server as of its last use. To read it sends nothing
// to the server. Before the first use everything except the URL is zero.
type ServerStatus struct {
	URL         string
	Reachable   bool          // the last use went well
	Latency     time.Duration // of the last use that went well
	LastSuccess time.Time
	LastFailure time.Time
	LastError   string // of the last failure, kept after a recovery
}

// Servers reports on every server, in the order in which they are tried.
func (d *Directory) Servers() []ServerStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	status := make([]ServerStatus, len(d.servers))
	for i, s := range d.servers {
		status[i] = ServerStatus{
			URL:         s.url,
			Reachable:   s.until.IsZero() && !s.lastSuccess.IsZero(),
			Latency:     s.latency,
			LastSuccess: s.lastSuccess,
			LastFailure: s.lastFailure,
			LastError:   s.lastError,
		}
	}
	return status
}

// pick returns the server to try next, and how many servers are left, including that one.
// It picks healthy servers first, in order, then those in their penalty. When a penalty
// ends, one caller finds out for all whether the server is back; the others still avoid
// it.
func (d *Directory) pick(tried map[*server]bool) (next *server, left int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	var penalised *server
	for _, s := range d.servers {
		serving := s.until.IsZero() || !now.Before(s.until)
		// During the penalty a rejected service account is not tried again: every
		// attempt counts towards its lock-out.
		if tried[s] || (s.refused && !serving) {
			continue
		}
		left++
		switch {
		case serving && next == nil:
			next = s
		case !serving && penalised == nil:
			penalised = s
		}
	}
	if next == nil {
		return penalised, left
	}
	if !next.until.IsZero() {
		next.until = now.Add(penalty)
	}
	return next, left
}

// succeeded ends the penalty of a server that did what it was asked.
func (d *Directory) succeeded(s *server, latency time.Duration) {
	d.mu.Lock()
	recovered := !s.until.IsZero()
	s.until, s.refused = time.Time{}, false
	s.latency, s.lastSuccess = latency, d.now()
	d.mu.Unlock()
	if recovered {
		d.log.Info("directory server is back", "url", s.url)
	}
}

// failed starts a server's penalty and drops its idle connections: what broke one of them
// has probably broken them all.
func (d *Directory) failed(s *server, err error) {
	d.mu.Lock()
	now := d.now()
	news := s.until.IsZero() || now.Sub(s.logged) >= quiet
	if news {
		s.logged = now
	}
	s.until, s.lastFailure, s.lastError = now.Add(penalty), now, err.Error()
	s.refused = errors.As(err, new(*accountError))
	d.mu.Unlock()
	d.drain(s)
	// Not logged at each login: a flood of logins must not fill the log.
	if news {
		d.log.Warn("directory server failed", "url", s.url, "error", err, "skipped", penalty)
	}
}
