package ldap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	goldap "github.com/go-ldap/ldap/v3"
)

// inChain is Active Directory's matching rule for a group within a group.
const inChain = "1.2.840.113556.1.4.1941"

// checkGroup rejects people who are not in required_group. While that is unknown, nobody
// is let in.
func (d *Directory) checkGroup(ctx context.Context, e Entry) error {
	if d.cfg.RequiredGroup == "" {
		return nil
	}
	var member bool
	err := d.try(ctx, d.cfg.Timeout, func(ctx context.Context, s *server) error {
		return d.service(ctx, s, func(c *conn) (err error) {
			member, err = d.inGroup(ctx, c, e)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("check the group: %w", err)
	}
	if !member {
		return &Refusal{ReasonGroup, d.cfg.RequiredGroup}
	}
	return nil
}

// inGroup asks whether one person is in required_group.
func (d *Directory) inGroup(ctx context.Context, c *conn, e Entry) (bool, error) {
	members, outsiders, err := d.membership(ctx, c, map[string]Entry{e.Subject: e})
	switch {
	case len(members) > 0:
		return true, nil
	case len(outsiders) > 0:
		return false, nil
	}
	return false, err
}

// membership returns which of these people, by subject, are in required_group and which
// are not. Those in neither list are unknown, and the error says why.
//
// It asks the people's own entries first and the group last, and lets the server compare:
// a memberOf with thousands of values comes in pieces or not at all.
func (d *Directory) membership(ctx context.Context, c *conn, people map[string]Entry) (members, outsiders []string, err error) {
	rest := maps.Clone(people)
	if len(rest) == 0 {
		return nil, nil, nil
	}
	for _, filter := range d.memberFilters() {
		matched, err := d.bySubject(ctx, c, slices.Sorted(maps.Keys(rest)), filter, []string{d.cfg.IDAttribute})
		for subject := range matched.entries {
			members = append(members, subject)
			delete(rest, subject)
		}
		if err != nil && !noSuchRule(err) {
			return members, nil, fmt.Errorf("search members of %s: %w", d.cfg.RequiredGroup, err)
		}
		if len(rest) == 0 {
			return members, nil, nil
		}
	}
	sid, err := d.groupSID(ctx, c)
	if err != nil {
		return members, nil, err
	}
	var open error
	for _, subject := range slices.Sorted(maps.Keys(rest)) {
		member, err := d.namedByGroup(ctx, c, rest[subject], sid)
		switch {
		case InDoubt(err):
			open = err
		case err != nil:
			return members, outsiders, err
		case member:
			members = append(members, subject)
		default:
			outsiders = append(outsiders, subject)
		}
	}
	return members, outsiders, open
}

// memberFilters match an entry that knows its groups: directly (the memberOf
// overlay, FreeIPA, Active Directory), then through other groups.
func (d *Directory) memberFilters() []string {
	group := goldap.EscapeFilter(d.cfg.RequiredGroup)
	return []string{"(memberOf=" + group + ")", "(memberOf:" + inChain + ":=" + group + ")"}
}

// noSuchRule reports whether a server says that it does not know a matching rule. Other
// servers match nothing instead.
func noSuchRule(err error) bool {
	return goldap.IsErrorAnyOf(err, goldap.LDAPResultInappropriateMatching, goldap.LDAPResultUnavailableCriticalExtension)
}

// groupSID reads the group's own entry and returns its SID, which only Active Directory
// has. A group that can't be read is an error, not an empty group: an empty one would
// lock everybody out.
func (d *Directory) groupSID(ctx context.Context, c *conn) (string, error) {
	entry, err := d.read(ctx, c, d.cfg.RequiredGroup, "objectSid")
	if err != nil {
		return "", fmt.Errorf("required_group %s can't be read; was it moved, renamed or removed? %w", d.cfg.RequiredGroup, err)
	}
	return first(entry, "objectSid"), nil
}

// namedByGroup reports whether a person is in the group although the person's entry does
// not name it. It may be the primary group, which no memberOf contains; the person may be
// in it through other groups; or the group may list the person as a member.
func (d *Directory) namedByGroup(ctx context.Context, c *conn, e Entry, sid string) (bool, error) {
	if sid != "" && e.primary != "" {
		if e.primary == sid {
			return true, nil
		}
		// tokenGroups lists all security groups, also those reached through others. The
		// server sends it only for a single entry.
		entry, err := d.read(ctx, c, e.DN, "tokenGroups")
		if err != nil {
			return false, fmt.Errorf("read tokenGroups of %s: %w", e.DN, err)
		}
		if slices.Contains(entry.GetEqualFoldAttributeValues("tokenGroups"), sid) {
			return true, nil
		}
	}
	dn := goldap.EscapeFilter(e.DN)
	filter := "(member=" + dn + ")(uniqueMember=" + dn + ")"
	if e.login != "" {
		filter += "(memberUid=" + goldap.EscapeFilter(e.login) + ")"
	}
	entries, err := d.base(ctx, c, d.cfg.RequiredGroup, "(|"+filter+")", "1.1")
	if err != nil {
		return false, fmt.Errorf("read required_group %s: %w", d.cfg.RequiredGroup, err)
	}
	return len(entries) > 0, nil
}

// primaryGroup returns the SID of a person's primary group: the person's own, with
// primaryGroupID in place of the last number (MS-DTYP, 2.4.2.2). The number alone
// would mean another group in another domain of the forest.
func primaryGroup(e *goldap.Entry) string {
	sid, id := first(e, "objectSid"), number(e, "primaryGroupID")
	const header = 8 // revision, number of parts, authority
	if len(sid) < header+4 || len(sid)%4 != 0 || id <= 0 || id > 1<<32-1 {
		return ""
	}
	return sid[:len(sid)-4] + string(binary.LittleEndian.AppendUint32(nil, uint32(id)))
}

// read returns one entry, or an error if the service account can't see it.
func (d *Directory) read(ctx context.Context, c *conn, dn, attribute string) (*goldap.Entry, error) {
	entries, err := d.base(ctx, c, dn, "(objectClass=*)", attribute)
	if err == nil && len(entries) == 0 {
		err = &doubt{errors.New("the service account does not see this entry")}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dn, err)
	}
	return entries[0], nil
}

// base searches only the entry dn for filter. The attribute 1.1 means none (RFC 4511,
// 4.5.1.8).
func (d *Directory) base(ctx context.Context, c *conn, dn, filter, attribute string) ([]*goldap.Entry, error) {
	res, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN:           dn,
		Scope:            goldap.ScopeBaseObject,
		SizeLimit:        1,
		EnforceSizeLimit: true,
		Filter:           filter,
		Attributes:       []string{attribute},
	})
	switch {
	case err != nil:
		return nil, sorted(err)
	case len(res.Entries) == 0 && len(res.Referrals) > 0:
		return nil, &doubt{fmt.Errorf("the server refers to %q, and referrals are not followed", res.Referrals[0])}
	}
	return res.Entries, nil
}
