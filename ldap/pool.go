package ldap

import (
	"context"
	"time"
)

// The pool holds connections that are bound as the service account. When several searches
// follow one another, each saves a dial, a TLS handshake and a bind.
const (
	maxIdle  = 4           // connections kept for each server
	idleTime = time.Minute // how long they are kept: less than firewalls take to forget one
)

// service runs f on a connection of s that is bound as the service account. A
// pooled connection may have died unnoticed, so f, which only ever reads, is
// then run once more on a new one.
func (d *Directory) service(ctx context.Context, s *server, f func(*conn) error) error {
	for {
		c := d.take(s)
		pooled := c != nil
		if c == nil {
			var err error
			if c, err = d.connect(ctx, s); err != nil {
				return err
			}
		}
		err := f(c)
		dead := broken(err)
		if dead {
			c.close()
		} else {
			d.keep(s, c)
		}
		if !dead || !pooled || ctx.Err() != nil {
			return err
		}
		d.drain(s)
	}
}

// take returns an idle connection, or nil. The latest one used comes first.
func (d *Directory) take(s *server) *conn {
	for {
		d.mu.Lock()
		n := len(s.idle)
		if n == 0 {
			d.mu.Unlock()
			return nil
		}
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		d.mu.Unlock()
		if !c.ldap.IsClosing() {
			return c
		}
		c.close()
	}
}

// keep puts a connection back into the pool, or closes it if there is no room.
func (d *Directory) keep(s *server, c *conn) {
	if c.broken || c.ldap.IsClosing() {
		c.close()
		return
	}
	// The read deadline makes an idle connection close itself: no timer, no
	// sweeper, and nothing to stop.
	c.wire.SetDeadline(time.Now().Add(idleTime))
	d.mu.Lock()
	full := d.closed || len(s.idle) >= maxIdle
	if !full {
		s.idle = append(s.idle, c)
	}
	d.mu.Unlock()
	if full {
		c.close()
	}
}

// drain closes a server's idle connections.
func (d *Directory) drain(s *server) {
	d.mu.Lock()
	idle := s.idle
	s.idle = nil
	d.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}
