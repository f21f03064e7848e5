package ldap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// answer is the result of a search by subject.
type answer struct {
	entries   map[string]Entry
	twice     map[string]bool // people with more than one entry; none of them counts
	referrals []string        // where other people may be
}

// bySubject finds the entries of batch that also match extra. With an error, the entries
// found are correct but may be incomplete. If a server limits its answers to less than
// the batch, bySubject asks for halves.
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
	a := answer{entries: make(map[string]Entry, len(batch)), twice: map[string]bool{}}
	odd := d.collect(res, batch, &a)
	if goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded) && len(batch) > 1 && len(res.Entries) <= len(batch) {
		err := d.halves(ctx, c, batch, extra, attributes, &a)
		return a, err
	}
	if err != nil {
		return a, fmt.Errorf("search %s for %d people: %w", d.cfg.BaseDN, len(batch), sorted(err))
	}
	return a, odd
}

// collect fills an answer with what the server sent. It returns a doubt if the server
// sent an entry that was not requested, or two entries of one person. Such entries do not
// count.
func (d *Directory) collect(res *goldap.SearchResult, batch []string, a *answer) (odd error) {
	if res == nil {
		return nil
	}
	a.referrals = res.Referrals
	for _, from := range res.Entries {
		e := d.cfg.entry(from, d.now())
		text, ok := asked(batch, e.Subject)
		_, double := a.entries[text]
		if !ok || double {
			a.twice[text] = true
			odd = &doubt{fmt.Errorf("search %s for %d people: unexpected entry %q with %s %q", d.cfg.BaseDN, len(batch), e.DN, d.cfg.IDAttribute, e.Subject)}
			continue
		}
		a.entries[text] = e
	}
	for text := range a.twice {
		delete(a.entries, text)
	}
	return odd
}

// halves asks for each half of batch and adds the answers to a. What the server sent
// before for the whole batch is already in a, and counts even if the server then refuses
// a half.
func (d *Directory) halves(ctx context.Context, c *conn, batch []string, extra string, attributes []string, a *answer) error {
	half := len(batch) / 2
	var faults []error
	for _, part := range [][]string{batch[:half], batch[half:]} {
		b, err := d.bySubject(ctx, c, part, extra, attributes)
		maps.Copy(a.entries, b.entries)
		maps.Copy(a.twice, b.twice)
		a.referrals = append(a.referrals, b.referrals...)
		if faults = append(faults, err); broken(err) {
			break
		}
	}
	for text := range a.twice {
		delete(a.entries, text)
	}
	return weightiest(faults...)
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

// asked finds the subject by which an entry was requested. If the directory ignores case,
// a value may come back in another spelling.
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
