package ldap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	maxName     = 256
	maxPassword = 256
)

// Find returns the person that name stands for. If it stands for nobody, or for two
// people, Find returns an Entry that is not Known, and no error. Pass that to Authenticate
// too: a faster answer would reveal which names exist. The only error is ErrUnavailable.
func (d *Directory) Find(ctx context.Context, name string) (Entry, error) {
	if !validName(name) {
		return Entry{}, nil
	}
	var found Entry
	err := d.try(ctx, d.cfg.Timeout, func(ctx context.Context, s *server) error {
		return d.service(ctx, s, func(c *conn) (err error) {
			found, _, err = d.find(ctx, c, name)
			return err
		})
	})
	if err != nil {
		return Entry{}, fmt.Errorf("find a person: %w", err)
	}
	return found, nil
}

// find asks for two entries to make sure that there is only one. It also returns the URLs
// to which the server refers for parts of the tree.
func (d *Directory) find(ctx context.Context, c *conn, name string) (e Entry, referrals []string, err error) {
	res, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN:           d.cfg.BaseDN,
		Scope:            goldap.ScopeWholeSubtree,
		SizeLimit:        2,
		EnforceSizeLimit: true,
		Filter:           nameFilter(d.cfg.Filter, name),
		Attributes:       d.cfg.attributes(),
		Controls:         d.cfg.controls(),
	})
	if sizeLimited(err) {
		return Entry{ambiguous: true}, nil, nil
	}
	if err != nil {
		return Entry{}, nil, fmt.Errorf("search %s: %w", d.cfg.BaseDN, sorted(err))
	}
	switch {
	case len(res.Entries) > 1:
		e.ambiguous = true
	case len(res.Entries) == 1 && res.Entries[0].DN == "":
		// A bind with an empty DN succeeds with any password.
		return Entry{}, nil, errors.New("the server sent an entry without a name")
	case len(res.Entries) == 1:
		e = d.cfg.entry(res.Entries[0], d.now())
	}
	return e, res.Referrals, nil
}

// controls keeps Active Directory from adding references to its other partitions to every
// answer. It is not sent to other servers: OpenLDAP and others would obey too, and then
// Lookup could not see that a part of the tree is elsewhere.
func (c *Config) controls() []goldap.Control {
	if !isGUID(c.IDAttribute) {
		return nil
	}
	return []goldap.Control{goldap.NewControlString(goldap.ControlTypeMicrosoftDomainScope, false, "")}
}

// nameFilter returns filter with name, escaped, in place of the placeholder.
func nameFilter(filter, name string) string {
	return strings.ReplaceAll(filter, usernameMark, goldap.EscapeFilter(name))
}

// validName reports whether an account could have this name. A name with invisible
// characters is rejected: servers drop them before they compare names, and logs do not
// show them.
func validName(name string) bool {
	return strings.TrimSpace(name) != "" && len(name) <= maxName && printable(name)
}

// Authenticate checks that password is e's and that e may log in. e is a recent result of
// Find. The error is ErrInvalidCredentials, a *Refusal or ErrUnavailable; the entry is
// always e's own.
//
// For an Entry that is not Known it binds a DN that does not exist, so that this
// also takes one search and one bind. The directory may still refuse that bind sooner,
// because it hashes no password.
func (d *Directory) Authenticate(ctx context.Context, e Entry, password string) (Entry, error) {
	// A bind with an empty password is anonymous and succeeds (RFC 4513, section 5.1.2).
	if password == "" || len(password) > maxPassword || strings.ContainsRune(password, 0) {
		return e, ErrInvalidCredentials
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	dn := e.DN
	if !e.Known() {
		dn = "cn=" + rand.Text() + "," + d.cfg.BaseDN
	}
	verdict, err := d.bind(ctx, dn, password)
	refused, isRefused := errors.AsType[*Refusal](verdict)
	switch {
	case err != nil:
		return e, fmt.Errorf("bind: %w", err)
	case e.ambiguous:
		return e, &Refusal{Reason: ReasonAmbiguous}
	case !e.Known():
		return e, ErrInvalidCredentials
	case isRefused:
		return e, e.explained(refused)
	case verdict != nil:
		return e, verdict
	}
	if r := e.refused(); r != nil {
		return e, r
	}
	return e, d.checkGroup(ctx, e)
}

// bind tries the password on a connection of its own. The verdict is nil, a
// *Refusal or ErrInvalidCredentials; err is ErrUnavailable.
func (d *Directory) bind(ctx context.Context, dn, password string) (verdict, err error) {
	err = d.try(ctx, d.cfg.Timeout, func(ctx context.Context, s *server) error {
		c, err := d.open(ctx, s)
		if err != nil {
			return err
		}
		defer c.close()
		var fault error
		if verdict, fault = judge(c.bind(ctx, dn, password)); fault != nil {
			return &unrepeatable{fault}
		}
		return nil
	})
	return verdict, err
}
