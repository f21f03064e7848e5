package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Step is one thing that Check has tried.
type Step struct {
	Server string // its URL
	Name   string // dial, tls, bind, search, match, attributes or group
	OK     bool
	Detail string
	Entry  Entry // of the step attributes: whom the name means
}

// Check walks through everything that a login of user needs, short of the
// password, on every server in turn; at a server's first failure it goes on to
// the next. It uses neither the pool nor the penalties, and leaves both alone.
func (d *Directory) Check(ctx context.Context, user string) []Step {
	var steps []Step
	for _, s := range d.servers {
		c := &check{d: d, server: s}
		func() {
			// Dial, TLS and bind, then a handful of searches with a time-out each.
			ctx, cancel := context.WithTimeout(ctx, batchPatience*d.cfg.Timeout)
			defer cancel()
			c.run(ctx, user)
		}()
		steps = append(steps, c.steps...)
	}
	return steps
}

type check struct {
	d      *Directory
	server *server
	steps  []Step
}

// note adds a step and reports whether to go on.
func (c *check) note(name string, err error, detail string) bool {
	if err != nil {
		detail = err.Error()
	}
	c.steps = append(c.steps, Step{Server: c.server.url, Name: name, OK: err == nil, Detail: detail})
	return err == nil
}

func (c *check) run(ctx context.Context, user string) {
	conn, ok := c.connect(ctx)
	if !ok {
		return
	}
	defer conn.close()
	d := c.d

	if !validName(user) {
		c.note("search", fmt.Errorf("%q can be nobody's name", user), "")
		return
	}
	var e Entry
	err := d.readable(ctx, conn, d.cfg.BaseDN)
	if err == nil {
		e, err = d.find(ctx, conn, user)
	}
	filter := nameFilter(d.cfg.Filter, user)
	if !c.note("search", err, filter+" under "+d.cfg.BaseDN) {
		return
	}
	switch {
	case e.Stopped == ReasonAmbiguous:
		err = errors.New("more than one entry matches")
	case !e.Known():
		err = errors.New("no entry matches that the service account may see")
	}
	if !c.note("match", err, e.DN) {
		return
	}
	if e.Stopped != "" {
		err = &Refusal{e.Stopped, e.Detail}
	}
	if !c.note("attributes", err, fmt.Sprintf("uid %s, subject %s, name %q", e.UID, e.Subject, e.Name)) {
		return
	}
	c.steps[len(c.steps)-1].Entry = e
	c.group(ctx, conn, e)
}

// connect is Directory.connect in three steps.
func (c *check) connect(ctx context.Context) (*conn, bool) {
	d := c.d
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	start := time.Now()
	w, err := d.dial(ctx, c.server)
	if !c.note("dial", err, fmt.Sprintf("%s in %s", c.server.addr, time.Since(start).Round(time.Microsecond))) {
		return nil, false
	}
	conn, err := d.secure(ctx, c.server, w)
	if err != nil {
		w.Conn.Close()
		c.note("tls", err, "")
		return nil, false
	}
	detail := "none: insecure = true, passwords go in plain text"
	if state, ok := conn.ldap.TLSConnectionState(); ok {
		leaf := state.PeerCertificates[0]
		detail = fmt.Sprintf("%s, %s, valid until %s", tls.VersionName(state.Version), leaf.Subject, leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	c.note("tls", nil, detail)
	who := d.cfg.BindDN
	if who == "" {
		who = "anonymous"
	}
	if err := d.bindService(ctx, conn); !c.note("bind", err, who) {
		conn.close()
		return nil, false
	}
	return conn, true
}

func (c *check) group(ctx context.Context, conn *conn, e Entry) {
	if c.d.cfg.RequiredGroup == "" {
		return
	}
	member, err := c.d.inGroup(ctx, conn, e)
	if err == nil && !member {
		err = errors.New("not in " + c.d.cfg.RequiredGroup)
	}
	c.note("group", err, "in "+c.d.cfg.RequiredGroup)
}
