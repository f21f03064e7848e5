package ldap

import (
	"context"
	"fmt"

	goldap "github.com/go-ldap/ldap/v3"
)

// inChain is Active Directory's matching rule for a group within a group.
const inChain = "1.2.840.113556.1.4.1941"

// checkGroup refuses somebody who is not in required_group.
func (d *Directory) checkGroup(ctx context.Context, e Entry) (Entry, error) {
	if d.cfg.RequiredGroup == "" {
		return e, nil
	}
	var member bool
	err := d.try(ctx, d.cfg.Timeout, func(ctx context.Context, s *server) error {
		return d.service(ctx, s, func(c *conn) (err error) {
			member, err = d.inGroup(ctx, c, e)
			return err
		})
	})
	if err != nil {
		return e, fmt.Errorf("check the group: %w", err)
	}
	if !member {
		e.Stopped, e.Detail = ReasonGroup, d.cfg.RequiredGroup
		return e, &Refusal{e.Stopped, e.Detail}
	}
	return e, nil
}

// inGroup asks the entry first and the group last, and lets the server compare:
// a memberOf of thousands of values would come in pieces, or not at all.
func (d *Directory) inGroup(ctx context.Context, c *conn, e Entry) (bool, error) {
	for _, filter := range d.memberFilters() {
		n, err := d.count(ctx, c, e.DN, filter)
		if err != nil && !noSuchRule(err) {
			return false, fmt.Errorf("read memberOf of %s: %w", e.DN, err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return d.namedByGroup(ctx, c, e)
}

// memberFilters match an entry that knows its groups: directly (the memberOf
// overlay, FreeIPA, Active Directory), then through other groups.
func (d *Directory) memberFilters() []string {
	group := goldap.EscapeFilter(d.cfg.RequiredGroup)
	return []string{"(memberOf=" + group + ")", "(memberOf:" + inChain + ":=" + group + ")"}
}

// noSuchRule reports whether a server does not know a matching rule. Others then
// match nothing instead.
func noSuchRule(err error) bool {
	return goldap.IsErrorAnyOf(err, goldap.LDAPResultInappropriateMatching, goldap.LDAPResultUnavailableCriticalExtension)
}

// namedByGroup asks the group's own entry, for directories without memberOf. A
// group that cannot be read is an error, not an empty group: an empty one would
// put everybody out.
func (d *Directory) namedByGroup(ctx context.Context, c *conn, e Entry) (bool, error) {
	dn := goldap.EscapeFilter(e.DN)
	filter := "(member=" + dn + ")(uniqueMember=" + dn + ")"
	if e.login != "" {
		filter += "(memberUid=" + goldap.EscapeFilter(e.login) + ")"
	}
	n, err := d.count(ctx, c, d.cfg.RequiredGroup, "(|"+filter+")")
	if err == nil && n == 0 {
		return false, d.readable(ctx, c, d.cfg.RequiredGroup)
	}
	if err != nil {
		return false, fmt.Errorf("read required_group %s: %w", d.cfg.RequiredGroup, err)
	}
	return true, nil
}

// readable makes sure that the service account sees the entry dn.
func (d *Directory) readable(ctx context.Context, c *conn, dn string) error {
	n, err := d.count(ctx, c, dn, "(objectClass=*)")
	if err != nil {
		return fmt.Errorf("read %s: %w", dn, err)
	}
	if n != 1 {
		return fmt.Errorf("read %s: the service account does not see this entry", dn)
	}
	return nil
}

// count searches the one entry dn for filter.
func (d *Directory) count(ctx context.Context, c *conn, dn, filter string) (int, error) {
	res, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN:           dn,
		Scope:            goldap.ScopeBaseObject,
		SizeLimit:        1,
		EnforceSizeLimit: true,
		Filter:           filter,
		Attributes:       []string{"1.1"}, // none (RFC 4511, 4.5.1.8)
	})
	if err != nil {
		return 0, err
	}
	return len(res.Entries), nil
}
