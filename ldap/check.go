package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Step is one thing that Check tried.
type Step struct {
	Server  string // its URL
	Name    string // dial, tls, bind, search, match, attributes or group
	OK      bool
	Warning bool // it is OK, and Detail says what an administrator should know
	Detail  string
	Entry   Entry // set by the step attributes: the person whom the name means
}

// Check tries everything that a login of user needs, except the password, on every
// server. At a server's first failure it continues with the next. It neither uses nor
// changes the pool and the penalties.
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

// warn turns the last step into a warning.
func (c *check) warn(detail string) {
	last := &c.steps[len(c.steps)-1]
	last.Warning, last.Detail = true, detail
}

func (c *check) run(ctx context.Context, user string) {
	conn, ok := c.connect(ctx)
	if !ok {
		return
	}
	defer conn.close()
	if !validName(user) {
		c.note("search", fmt.Errorf("%q can't be a user name", user), "")
		return
	}
	e, ok := c.find(ctx, conn, user)
	if !ok {
		return
	}
	if !c.attributes(e) {
		return
	}
	c.group(ctx, conn, e)
}

// find runs the steps search and match.
func (c *check) find(ctx context.Context, conn *conn, user string) (Entry, bool) {
	d := c.d
	var e Entry
	var referrals []string
	_, err := d.read(ctx, conn, d.cfg.BaseDN, "1.1")
	if err == nil {
		e, referrals, err = d.find(ctx, conn, user)
	}
	if !c.note("search", err, nameFilter(d.cfg.Filter, user)+" under "+d.cfg.BaseDN) {
		return e, false
	}
	if len(referrals) > 0 {
		c.warn(referred(referrals).Error() + ", and people who are missing are not removed")
	}
	switch {
	case e.ambiguous:
		err = errors.New("more than one entry matches")
	case !e.Known():
		err = errors.New("no entry matches, or the service account can't see it")
	}
	return e, c.note("match", err, e.DN)
}

// attributes reports what stops the person. A reason that stops only logins is a warning.
func (c *check) attributes(e Entry) bool {
	var err error
	switch stop, stopped := e.suspended(); {
	case stopped:
		err = stop.refusal()
	case e.Subject == "":
		err = e.Stops[len(e.Stops)-1].refusal()
	case e.UID == "":
		err = errors.New(c.d.cfg.UIDAttribute + " is missing or unreadable")
	}
	detail := fmt.Sprintf("uid %s, subject %s, name %q", e.UID, e.Subject, e.Name)
	if !c.note("attributes", err, detail) {
		return false
	}
	c.steps[len(c.steps)-1].Entry = e
	if len(e.Stops) > 0 {
		told := ": logins are refused, but tokens keep working; "
		if e.refused() == nil {
			told = ": logins may be refused, as the server's policy says, but tokens keep working; "
		}
		c.warn(e.Stops[0].refusal().Error() + told + detail)
	}
	return true
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
	notice, err := d.bindService(ctx, conn)
	if !c.note("bind", err, who) {
		conn.close()
		return nil, false
	}
	if notice != "" {
		c.warn(who + ": " + notice)
	}
	return conn, true
}

func (c *check) group(ctx context.Context, conn *conn, e Entry) {
	if c.d.cfg.RequiredGroup == "" {
		return
	}
	_, err := c.d.groupSID(ctx, conn)
	member := false
	if err == nil {
		member, err = c.d.inGroup(ctx, conn, e)
	}
	if err == nil && !member {
		err = errors.New("not in " + c.d.cfg.RequiredGroup)
	}
	c.note("group", err, "in "+c.d.cfg.RequiredGroup)
}
