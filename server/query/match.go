package query

import (
	"net/netip"
	"slices"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// matcher is what of a query the store's filter does not express: as a match for the store,
// and as a check of single tokens.
type matcher struct {
	q        Tokens
	services map[storage.UserID]bool            // those of the query's owner
	people   map[storage.UserID]*storage.Person // whom still knows
}

// match returns a match for the store that takes the same tokens, until done is closed.
func (m *matcher) match(done <-chan struct{}) *storage.Match {
	q := &m.q
	match := &storage.Match{
		Created: storage.Span{From: q.createdAfter, To: q.createdBefore}, Ends: q.ends(),
		Seen: q.from, Search: q.search, Done: done,
	}
	if len(q.name) > 0 {
		match.Name = q.named
	}
	if q.createdBy != "" {
		match.By = func(by string) bool { return strings.EqualFold(by, q.createdBy) }
	}
	if q.unlimited || q.addressLimited || len(q.scopes) > 0 {
		match.Limits = q.limits
	}
	if q.user != "" || q.owner != "" || q.source != "" {
		match.Owner = func(p *storage.Person) bool { return !m.refuses(p) }
	}
	if q.state != "" || q.endsBy != 0 {
		match.State = q.owned
	}
	return match
}

// ends returns when the tokens of the query end.
func (q *Tokens) ends() (s storage.Span) {
	if q.endsBy != 0 {
		s = storage.Span{From: q.now + 1, To: q.endsBy + 1}
	}
	switch q.state {
	case api.StateLive, api.StateSuspended:
		s.From = q.now + 1
	case api.StateExpired: // with endsBy it takes nothing
		s.To = q.now + 1
	}
	if q.unlimited {
		s.From = storage.Never
	}
	return s
}

// owned reports whether the query may take tokens of a user in a state that are not revoked.
func (q *Tokens) owned(state storage.UserState) bool {
	switch {
	case state == storage.UserRemoved:
		return q.state == api.StateRevoked && q.endsBy == 0
	case state == storage.UserActive:
		return q.state != api.StateSuspended && q.state != api.StateRevoked
	}
	return q.state != api.StateLive && q.state != api.StateRevoked && q.endsBy == 0
}

func (q *Tokens) named(name string) bool { return containsAll(q.name, record.Fold(name)) }

func (q *Tokens) limits(scopes []string, addresses []netip.Prefix) bool {
	return (!q.unlimited || len(scopes)+len(addresses) == 0) && (!q.addressLimited || len(addresses) > 0) &&
		!slices.ContainsFunc(q.scopes, func(s string) bool { return !slices.Contains(scopes, s) })
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

// meet notes the users, for still.
func (m *matcher) meet(store *storage.Store) error {
	if !m.q.asksOwner() {
		return nil
	}
	list, err := store.People()
	m.people = make(map[storage.UserID]*storage.Person, len(list))
	for _, p := range list {
		m.people[p.ID] = p
	}
	return err
}

// still reports whether the query still takes a token. It is for the writer, which must not
// wait for the store: it uses what meet has noted about users.
func (m *matcher) still(t storage.Token) bool {
	q := &m.q
	switch {
	case q.createdAfter != 0 && t.Created < q.createdAfter,
		q.createdBefore != 0 && t.Created >= q.createdBefore,
		q.createdBy != "" && !strings.EqualFold(t.By, q.createdBy),
		q.unlimited && t.Ends() != 0,
		q.endsBy != 0 && (t.Ends() == 0 || t.Ends() > q.endsBy || State(t, q.now) != api.StateLive),
		q.state != "" && State(t, q.now) != q.state,
		!q.limits(t.Scopes, t.Addresses), !q.named(t.Name):
		return false
	}
	for _, p := range q.from {
		if !slices.ContainsFunc(t.Usage.Seen, func(v storage.Seen) bool { return p.Contains(v.Address.Unmap()) }) {
			return false
		}
	}
	if !q.asksOwner() {
		return true
	}
	p, ok := m.people[t.Owner]
	return ok && !m.refuses(p) && containsAll(q.search, p.UID, p.Name, record.Fold(t.Name), t.ID.String())
}

// State is the state of a token at a moment, in ms, in the words of the API.
func State(t storage.Token, ms int64) string {
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
