package ldap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	batchSize = 100
	// batchPatience is how long a batch may take, in multiples of Config.Timeout.
	// Config.Timeout bounds each search of a batch, and a batch may need one search for
	// each person.
	batchPatience = 10
)

// Lookup asks for the state of people, by subject, in batches of 100. If it returns an
// error, the states are still valid: the error says why some people are Unknown.
//
// Doubt is about one person and one question. A person whose own entry gives a reason to
// stop tokens is Stopped, even if other questions can't be answered. People who are not in
// the group are Unknown while the group can't be read, and people who are not found are
// Unknown while a part of the tree is elsewhere. If a server leaves a question open, the
// next server is asked.
//
// A person is Missing only if a server answers in full and, on the same connection, shows
// base_dn, required_group if it is set, and below base_dn at least one person with the
// attributes that a login needs. So the last person of a directory is never missing: an
// empty directory looks the same as one that is just being restored. And nobody is missing
// while there is doubt about anybody: rebuilding a directory must not cost people their
// tokens.
//
// A subject that cannot be a value of id_attribute (it was stored under another
// setting) is logged, and has no state at all.
func (d *Directory) Lookup(ctx context.Context, subjects []string) (map[string]State, error) {
	states := make(map[string]State, len(subjects))
	var faults []error
	subjects = d.askable(subjects)
	for _, text := range subjects {
		states[text] = State{}
	}
	for batch := range slices.Chunk(subjects, batchSize) {
		in := &inquiry{d: d, states: states}
		err := d.try(ctx, batchPatience*d.cfg.Timeout, func(ctx context.Context, s *server) error {
			return d.service(ctx, s, func(c *conn) error { return in.ask(ctx, c, batch) })
		})
		if err != nil && !slices.ContainsFunc(faults, func(f error) bool { return f.Error() == err.Error() }) {
			faults = append(faults, err)
		}
		if err != nil && !in.heard {
			break // if a directory does not answer, the next batch learns nothing either
		}
	}
	if len(faults) == 0 {
		return states, nil
	}
	for subject, state := range states {
		if state.Verdict == Missing {
			states[subject] = State{}
		}
	}
	return states, fmt.Errorf("look up %d people: %w", len(subjects), errors.Join(faults...))
}

// askable drops duplicates, and subjects that id_attribute can't hold.
func (d *Directory) askable(subjects []string) []string {
	asked := slices.Compact(slices.Sorted(slices.Values(subjects)))
	return slices.DeleteFunc(asked, func(text string) bool {
		_, err := subjectFilter(d.cfg.IDAttribute, text)
		if err != nil {
			d.log.Warn("this subject can't be looked up", "subject", text, "id_attribute", d.cfg.IDAttribute, "error", err)
		}
		return err != nil
	})
}

// inquiry collects the verdicts on one batch. Each is kept as soon as it is proven, so that
// a later failure takes none of them back; only Lookup does that, with Missing.
type inquiry struct {
	d      *Directory
	states map[string]State
	heard  bool // a server has answered a search
}

// ask asks on one connection about the people of the batch who are Unknown. It returns an
// error if some still are.
func (in *inquiry) ask(ctx context.Context, c *conn, batch []string) error {
	d := in.d
	asked := slices.DeleteFunc(slices.Clone(batch), func(text string) bool { return in.states[text].Verdict != Unknown })
	if len(asked) == 0 {
		return nil
	}
	found, err := d.bySubject(ctx, c, asked, "", d.cfg.attributes())
	in.heard = in.heard || !broken(err)
	people := make(map[string]Entry, len(found.entries))
	for text, e := range found.entries {
		stop, stopped := e.suspended()
		if stopped {
			in.states[text] = State{Stopped, stop, e}
			continue
		}
		in.states[text] = State{Entry: e}
		people[text] = e
	}
	if broken(err) {
		return err
	}
	open := in.judge(ctx, c, people)
	if broken(open) {
		return open
	}
	var absent error
	if err == nil && len(found.entries) < len(asked) {
		absent = in.missing(ctx, c, asked, found)
	}
	return weightiest(err, open, absent)
}

// judge decides, for people whose own entries are good, whether filter and required_group
// let them in.
func (in *inquiry) judge(ctx context.Context, c *conn, people map[string]Entry) error {
	d := in.d
	matched, unmatched, open := d.filtered(ctx, c, people)
	for _, text := range unmatched {
		in.states[text] = State{Stopped, Stop{Reason: ReasonFilter, Detail: d.people}, people[text]}
	}
	if broken(open) {
		return open
	}
	members, outsiders := slices.Collect(maps.Keys(matched)), []string(nil)
	var unread error
	if d.cfg.RequiredGroup != "" {
		members, outsiders, unread = d.membership(ctx, c, matched)
	}
	for _, text := range outsiders {
		in.states[text] = State{Stopped, Stop{Reason: ReasonGroup, Detail: d.cfg.RequiredGroup}, people[text]}
	}
	for _, text := range members {
		in.states[text] = State{Verdict: Active, Entry: people[text]}
	}
	return weightiest(open, unread)
}

// filtered divides people who were just found by whether the configured filter still
// matches them: many installations use the filter to say who may use the service. If the
// filter can't be asked for any name (see anybody), it returns all as matched. A reference
// to another server is not a doubt here, because the entries are on this server.
func (d *Directory) filtered(ctx context.Context, c *conn, people map[string]Entry) (matched map[string]Entry, unmatched []string, err error) {
	if d.people == "" || len(people) == 0 {
		return people, nil, nil
	}
	found, err := d.bySubject(ctx, c, slices.Sorted(maps.Keys(people)), d.people, []string{d.cfg.IDAttribute})
	matched = make(map[string]Entry, len(people))
	for text, e := range people {
		if _, ok := found.entries[text]; ok {
			matched[text] = e
		} else if err == nil {
			unmatched = append(unmatched, text)
		}
	}
	return matched, unmatched, err
}

// missing makes sure that people can be seen at all before it marks those who were not
// found as Missing.
func (in *inquiry) missing(ctx context.Context, c *conn, asked []string, found answer) error {
	if len(found.referrals) > 0 {
		return referred(found.referrals)
	}
	if _, err := in.d.read(ctx, c, in.d.cfg.BaseDN, "1.1"); err != nil {
		return err
	}
	if in.d.cfg.RequiredGroup != "" { // perhaps nobody was checked against the group yet
		if _, err := in.d.groupSID(ctx, c); err != nil {
			return err
		}
	}
	if err := in.d.populated(ctx, c); err != nil {
		return err
	}
	for _, text := range asked {
		if _, ok := found.entries[text]; !ok {
			in.states[text] = State{Verdict: Missing}
		}
	}
	return nil
}

// referred returns the doubt that remains if part of the tree is on a server that was not
// asked: people who were not found may be there.
func referred(urls []string) error {
	return &doubt{fmt.Errorf("the server refers to %q for part of the tree, and referrals are not followed: a person who is not found may be there", urls[0])}
}

// populated makes sure that the directory is not newly initialised, and that the service
// account may still read the attributes that a login needs.
func (d *Directory) populated(ctx context.Context, c *conn) error {
	res, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN:           d.cfg.BaseDN,
		Scope:            goldap.ScopeWholeSubtree,
		SizeLimit:        1,
		EnforceSizeLimit: true,
		Filter:           "(&(" + d.cfg.IDAttribute + "=*)(" + d.cfg.UIDAttribute + "=*))",
		Attributes:       []string{d.cfg.IDAttribute},
		Controls:         d.cfg.controls(),
	})
	if err != nil && !sizeLimited(err) {
		return fmt.Errorf("search for anybody under %s: %w", d.cfg.BaseDN, sorted(err))
	}
	if len(res.Entries) == 0 {
		return &doubt{fmt.Errorf("nobody under %s has %s and %s: an empty directory proves nothing", d.cfg.BaseDN, d.cfg.IDAttribute, d.cfg.UIDAttribute)}
	}
	return nil
}

func sizeLimited(err error) bool {
	return errors.Is(err, goldap.ErrSizeLimitExceeded) || goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded)
}
