package ldap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	batchSize = 100
	// batchPatience is how long a batch may take, in multiples of
	// Config.Timeout: that bounds each of its searches, of which there may be
	// one for each person.
	batchPatience = 10
)

// Lookup asks what has become of people, by their subjects, in batches of 100.
// Every subject gets a State, except for one that cannot be a value of
// id_attribute (it was stored under another setting): that is logged and left
// out, and must be taken for "unknown".
//
// A person is Missing only by the word of a server that, on the same connection,
// shows base_dn and at least one person beneath it who could log in, and that
// answers without an error, a referral or a truncated list. So the last person
// of a directory is never missing: an emptied directory looks the same as one
// that is just being restored. Anything else is an error for the whole call:
// nothing is known then, and nobody is missing.
func (d *Directory) Lookup(ctx context.Context, subjects []string) (map[string]State, error) {
	states := make(map[string]State, len(subjects))
	for batch := range slices.Chunk(d.askable(subjects), batchSize) {
		var found map[string]State
		err := d.try(ctx, batchPatience*d.cfg.Timeout, func(ctx context.Context, s *server) error {
			return d.service(ctx, s, func(c *conn) (err error) {
				found, err = d.lookup(ctx, c, batch)
				return err
			})
		})
		if err != nil {
			return nil, fmt.Errorf("look up %d people: %w", len(subjects), err)
		}
		maps.Copy(states, found)
	}
	return states, nil
}

// askable drops duplicates, and subjects that id_attribute can't hold.
func (d *Directory) askable(subjects []string) []string {
	asked := slices.Compact(slices.Sorted(slices.Values(subjects)))
	return slices.DeleteFunc(asked, func(text string) bool {
		_, err := subjectFilter(d.cfg.IDAttribute, text)
		if err != nil {
			d.log.Warn("subject can not be looked up", "subject", text, "id_attribute", d.cfg.IDAttribute, "error", err)
		}
		return err != nil
	})
}

// lookup answers for one batch on one connection.
func (d *Directory) lookup(ctx context.Context, c *conn, batch []string) (map[string]State, error) {
	if err := d.readable(ctx, c, d.cfg.BaseDN); err != nil {
		return nil, err
	}
	found, err := d.bySubject(ctx, c, batch, "", d.cfg.attributes())
	if err != nil {
		return nil, err
	}
	states := make(map[string]State, len(batch))
	missing := false
	for _, text := range batch {
		e, ok := found.entries[text]
		if e.Stopped == ReasonIncomplete {
			// Without a mail nobody can log in, but nobody has left either.
			e.Stopped, e.Detail = "", ""
		}
		states[text] = State{Entry: e, Missing: !ok}
		missing = missing || !ok
	}
	if missing {
		if err := found.complete(); err != nil {
			return nil, err
		}
		if err := d.populated(ctx, c); err != nil {
			return nil, err
		}
	}
	if err := d.stopUnmatched(ctx, c, states); err != nil {
		return nil, err
	}
	if err := d.stopOutsiders(ctx, c, states); err != nil {
		return nil, err
	}
	return states, nil
}

// populated makes sure that people can be seen at all: that the directory is
// not a freshly initialised one, and that the service account has not lost its
// right to read the attributes that a login needs.
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
		return fmt.Errorf("search anybody under %s: %w", d.cfg.BaseDN, err)
	}
	if len(res.Entries) == 0 {
		return fmt.Errorf("nobody under %s has %s and %s: an empty directory proves nothing", d.cfg.BaseDN, d.cfg.IDAttribute, d.cfg.UIDAttribute)
	}
	return nil
}

func sizeLimited(err error) bool {
	return errors.Is(err, goldap.ErrSizeLimitExceeded) || goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded)
}

// stopUnmatched stops the people whom the configured filter no longer matches:
// many installations keep in it who may use the service.
func (d *Directory) stopUnmatched(ctx context.Context, c *conn, states map[string]State) error {
	if d.people == "" {
		return nil
	}
	out, err := d.unmatched(ctx, c, active(states), d.people)
	if err != nil {
		return err
	}
	for _, text := range out {
		stop(states, text, ReasonFilter, d.people)
	}
	return nil
}

// stopOutsiders stops the people who are not in required_group. It asks in the
// same ways as inGroup does, each time about those not found so far.
func (d *Directory) stopOutsiders(ctx context.Context, c *conn, states map[string]State) error {
	if d.cfg.RequiredGroup == "" {
		return nil
	}
	out := active(states)
	for _, filter := range d.memberFilters() {
		rest, err := d.unmatched(ctx, c, out, filter)
		if noSuchRule(err) {
			continue
		}
		if err != nil {
			return err
		}
		out = rest
	}
	for _, text := range out {
		member, err := d.namedByGroup(ctx, c, states[text].Entry)
		if err != nil {
			return err
		}
		if !member {
			stop(states, text, ReasonGroup, d.cfg.RequiredGroup)
		}
	}
	return nil
}

func active(states map[string]State) []string {
	var subjects []string
	for text, state := range states {
		if !state.Missing && state.Stopped == "" {
			subjects = append(subjects, text)
		}
	}
	return subjects
}

func stop(states map[string]State, subject string, reason Reason, detail string) {
	state := states[subject]
	state.Stopped, state.Detail = reason, detail
	states[subject] = state
}

// unmatched returns the subjects whose entries filter does not match.
func (d *Directory) unmatched(ctx context.Context, c *conn, subjects []string, filter string) ([]string, error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	found, err := d.bySubject(ctx, c, subjects, filter, []string{d.cfg.IDAttribute})
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(subjects, func(text string) bool {
		_, ok := found.entries[text]
		return ok
	})
	if len(out) > 0 {
		return out, found.complete()
	}
	return nil, nil
}

// answer is what a search by subject has brought.
type answer struct {
	entries   map[string]Entry
	referrals []string
}

// complete is an error when part of the tree is on a server that was not
// asked: what was not found may be there.
func (a answer) complete() error {
	if len(a.referrals) > 0 {
		return fmt.Errorf("the server refers to %q for a part of the tree, which is not followed", a.referrals[0])
	}
	return nil
}

// bySubject finds the entries of batch, those that also match extra. A server
// that limits the size of its answers below the batch is asked for halves.
func (d *Directory) bySubject(ctx context.Context, c *conn, batch []string, extra string, attributes []string) (answer, error) {
	filter, err := d.batchFilter(batch, extra)
	if err != nil {
		return answer{}, err
	}
	res, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN:           d.cfg.BaseDN,
		Scope:            goldap.ScopeWholeSubtree,
		SizeLimit:        len(batch) + 1,
		EnforceSizeLimit: true,
		Filter:           filter,
		Attributes:       attributes,
		Controls:         d.cfg.controls(),
	})
	if goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded) && len(batch) > 1 && len(res.Entries) <= len(batch) {
		return d.halves(ctx, c, batch, extra, attributes)
	}
	if err != nil {
		return answer{}, fmt.Errorf("search %s for %d people: %w", d.cfg.BaseDN, len(batch), err)
	}
	a := answer{make(map[string]Entry, len(batch)), res.Referrals}
	for _, from := range res.Entries {
		e := d.cfg.entry(from, d.now())
		text, ok := asked(batch, e.Subject)
		if _, double := a.entries[text]; !ok || double {
			return answer{}, fmt.Errorf("search %s for %d people: unexpected entry %q with %s %q", d.cfg.BaseDN, len(batch), e.DN, d.cfg.IDAttribute, e.Subject)
		}
		a.entries[text] = e
	}
	return a, nil
}

func (d *Directory) halves(ctx context.Context, c *conn, batch []string, extra string, attributes []string) (answer, error) {
	half := len(batch) / 2
	a, err := d.bySubject(ctx, c, batch[:half], extra, attributes)
	if err != nil {
		return answer{}, err
	}
	b, err := d.bySubject(ctx, c, batch[half:], extra, attributes)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(a.entries, b.entries)
	a.referrals = append(a.referrals, b.referrals...)
	return a, nil
}

func (d *Directory) batchFilter(batch []string, extra string) (string, error) {
	var b strings.Builder
	b.WriteString("(|")
	for _, text := range batch {
		one, err := subjectFilter(d.cfg.IDAttribute, text)
		if err != nil {
			return "", fmt.Errorf("subject %q: %w", text, err)
		}
		b.WriteString(one)
	}
	b.WriteString(")")
	if extra == "" {
		return b.String(), nil
	}
	return "(&" + b.String() + extra + ")", nil
}

// asked finds the subject that an entry was asked for by. Where the directory
// compares without regard to case, a value may come back spelt anew.
func asked(batch []string, subject string) (string, bool) {
	if slices.Contains(batch, subject) {
		return subject, true
	}
	i := slices.IndexFunc(batch, func(text string) bool { return strings.EqualFold(text, subject) })
	if i < 0 {
		return "", false
	}
	return batch[i], true
}
