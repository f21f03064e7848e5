package query

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// matcher looks at tokens one by one. It remembers the name and source of each user that it
// meets, so it must not be used for more than one query.
type matcher struct {
	q      Tokens
	store  *storage.Store
	people map[storage.UserID]*storage.Person

	services map[storage.UserID]bool // those of the query's owner

	// The verdicts so far: by text, and by the user's number. A million tokens share most
	// of them.
	named  map[string]bool
	inName map[string]verdict
	users  []verdict

	digits verdict // the words that can be in an id
}

// verdict has a bit for each word of the search that was found.
type verdict uint32

const (
	asked   verdict = 1 << 31 // it is known
	refused verdict = 1 << 30 // the query takes none of the user's tokens
)

// mostRemembered bounds each of the matcher's maps.
const mostRemembered = 64 << 10

func newMatcher(q Tokens, store *storage.Store) *matcher {
	m := &matcher{
		q: q, store: store, people: map[storage.UserID]*storage.Person{},
		named: map[string]bool{}, inName: map[string]verdict{},
	}
	for n, w := range q.search {
		if strings.Trim(w, "0123456789abcdef") == "" {
			m.digits |= 1 << n
		}
	}
	return m
}

// rows returns a match for the store that takes the same tokens. Once ctx has ended, it
// takes no token.
func (m *matcher) rows(ctx context.Context) *storage.Match {
	n := 0
	q := &m.q
	match := &storage.Match{
		Limited: len(q.scopes) > 0 || q.addressLimited,

		Times: q.createdAfter != 0 || q.createdBefore != 0 || q.endsBy != 0 || q.unlimited ||
			q.state != "" && q.state != api.StateRevoked,
		Texts: q.createdBy != "" || q.unlimited || q.addressLimited || len(q.scopes)+len(q.name)+len(q.search) > 0,
		Seen:  len(q.from) > 0, Person: q.asksOwner(),
	}
	if match.Times {
		match.During = q.during
	}
	if q.user != "" || q.owner != "" || q.source != "" || q.state != "" || q.endsBy != 0 {
		match.Owner = m.owner
	}
	match.Takes = func(r *storage.Row) bool {
		if n++; n%scanPause == 0 && ctx.Err() != nil {
			n-- // ask again at the next one
			return false
		}
		if !m.token(&r.Token, r.SeenIn) {
			return false
		}
		if !match.Person {
			return true
		}
		if !m.found(&r.Token, m.ofRow(r)) {
			return false
		}
		m.people[r.Person.ID] = r.Person
		return true
	}
	return match
}

// during reports whether a token with these times may be taken; ends is 0: never.
func (q *Tokens) during(created, ends int64) bool {
	over := ends != 0 && q.now >= ends
	return (q.createdAfter == 0 || created >= q.createdAfter) && (q.createdBefore == 0 || created < q.createdBefore) &&
		(q.endsBy == 0 || ends != 0 && ends <= q.endsBy && !over) &&
		(q.state != api.StateExpired || over) && (q.state != api.StateLive && q.state != api.StateSuspended || !over) &&
		(!q.unlimited || ends == 0)
}

// owner reports whether a token of a user may be taken. The user is nil if only its state
// is asked about.
func (m *matcher) owner(state storage.UserState, p *storage.Person) bool {
	q := &m.q
	switch active := state == storage.UserActive; {
	case !active && (q.state == api.StateLive || q.endsBy != 0), active && q.state == api.StateSuspended,
		q.state == api.StateRevoked && state != storage.UserRemoved:
		return false
	}
	return p == nil || !m.refuses(p)
}

// refuses reports whether the query takes none of a user's tokens.
func (m *matcher) refuses(p *storage.Person) bool {
	q := &m.q
	return q.user != "" && !strings.HasPrefix(p.UID, record.Fold(q.user)) ||
		q.owner != "" && !m.services[p.ID] ||
		q.source != "" && !strings.EqualFold(p.Source, q.source)
}

// asksOwner reports whether the query depends on the token's owner.
func (q *Tokens) asksOwner() bool {
	return q.user != "" || q.source != "" || q.owner != "" || len(q.search) > 0
}

// still reports whether the query still takes a token. It is for the writer, which must not
// wait for the store: it uses what the query has found out about users.
func (m *matcher) still(t storage.Token) bool {
	if !m.token(&t, seenIn(&t)) {
		return false
	}
	if !m.q.asksOwner() {
		return true
	}
	p, ok := m.people[t.Owner]
	return ok && m.owned(&t, p)
}

// seenIn tells in which networks a token was seen.
func seenIn(t *storage.Token) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool {
		return slices.ContainsFunc(t.Usage.Seen, func(v storage.Seen) bool { return p.Contains(v.Address.Unmap()) })
	}
}

// token checks what the token itself contains.
func (m *matcher) token(t *storage.Token, seenIn func(netip.Prefix) bool) bool {
	q := &m.q
	switch {
	case q.createdAfter != 0 && t.Created < q.createdAfter,
		q.createdBefore != 0 && t.Created >= q.createdBefore,
		q.createdBy != "" && !strings.EqualFold(t.By, q.createdBy),
		q.unlimited && (t.Limited() || t.KeyEnds != 0),
		q.addressLimited && len(t.Addresses) == 0,
		q.endsBy != 0 && (t.Ends() == 0 || t.Ends() > q.endsBy || state(t, q.now) != api.StateLive),
		q.state != "" && state(t, q.now) != q.state:
		return false
	}
	for _, s := range q.scopes {
		if !slices.Contains(t.Scopes, s) {
			return false
		}
	}
	for _, p := range q.from {
		if !seenIn(p) {
			return false
		}
	}
	if q.id != "" && !strings.HasPrefix(t.ID.String(), q.id) {
		return false
	}
	return len(q.name) == 0 || remember(m.named, t.Name, func() bool { return containsAll(q.name, record.Fold(t.Name)) })
}

// owned checks what depends on the token's owner.
func (m *matcher) owned(t *storage.Token, p *storage.Person) bool { return m.found(t, m.ofUser(p)) }

// ofUser returns the verdict on a user.
func (m *matcher) ofUser(p *storage.Person) verdict {
	if m.refuses(p) {
		return asked | refused
	}
	return asked | contained(m.q.search, p.UID) | contained(m.q.search, p.Name)
}

// ofRow is ofUser for the owner of a row, who is asked only once.
func (m *matcher) ofRow(r *storage.Row) verdict {
	n := int(r.Number)
	if r.Number == storage.NoNumber {
		return m.ofUser(r.Person)
	}
	if more := n + 1 - len(m.users); more > 0 {
		m.users = append(m.users, make([]verdict, more)...)
	}
	if m.users[n] == 0 {
		m.users[n] = m.ofUser(r.Person)
	}
	return m.users[n]
}

// found reports whether a user's verdict takes a token: each word of the search is in the
// uid, the person's name, the token's name or its id.
func (m *matcher) found(t *storage.Token, has verdict) bool {
	words := m.q.search
	if has&refused != 0 || len(words) == 0 {
		return has&refused == 0
	}
	has |= remember(m.inName, t.Name, func() verdict { return contained(words, record.Fold(t.Name)) })
	for n, w := range words {
		if has&(1<<n) == 0 && (m.digits&(1<<n) == 0 || !strings.Contains(t.ID.String(), w)) {
			return false
		}
	}
	return true
}

// contained returns which of the words are in a text, a bit for each.
func contained(words []string, text string) (bits verdict) {
	for n, w := range words {
		if strings.Contains(text, w) {
			bits |= 1 << n
		}
	}
	return bits
}

// remember returns what a map has for a key, or finds it out.
func remember[K comparable, V any](known map[K]V, key K, find func() V) V {
	v, ok := known[key]
	if !ok {
		if len(known) >= mostRemembered {
			clear(known)
		}
		v = find()
		known[key] = v
	}
	return v
}

// State is the state of a token at a moment, in ms, in the words of the API.
func State(t storage.Token, ms int64) string { return state(&t, ms) }

func state(t *storage.Token, ms int64) string {
	switch {
	case t.Revoked != 0, t.OwnerState == storage.UserRemoved:
		return api.StateRevoked
	case t.Expired(ms):
		return api.StateExpired
	case t.OwnerState != storage.UserActive:
		return api.StateSuspended
	}
	return api.StateLive
}
