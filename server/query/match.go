package query

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// matcher looks at tokens one by one. It remembers the users that it meets, so it is good
// for one scan: the name and source of a user are as of that scan.
type matcher struct {
	q      Tokens
	store  *storage.Store
	people map[storage.UserID]person
}

// person is what is asked of a user, folded.
type person struct{ uid, name, source string }

func (m *matcher) person(id storage.UserID) (person, error) {
	if p, ok := m.people[id]; ok {
		return p, nil
	}
	u, err := m.store.UserByID(id)
	if errors.Is(err, storage.ErrNoUser) {
		u, err = storage.User{UID: m.store.UID(id)}, nil // removed
	}
	if err != nil {
		return person{}, err
	}
	p := person{record.Fold(u.UID), record.Fold(u.Name), u.Source}
	m.people[id] = p
	return p, nil
}

// takes reports whether the query takes a token.
func (m *matcher) takes(t storage.Token) (bool, error) {
	if !m.token(t) {
		return false, nil
	}
	if q := &m.q; q.user == "" && q.source == "" && len(q.search) == 0 {
		return true, nil
	}
	p, err := m.person(t.Owner)
	return err == nil && m.owned(t, p), err
}

// still is takes for the writer, which must not wait for the store: it knows the users
// from the scan.
func (m *matcher) still(t storage.Token) bool {
	if !m.token(t) {
		return false
	}
	if q := &m.q; q.user == "" && q.source == "" && len(q.search) == 0 {
		return true
	}
	p, ok := m.people[t.Owner]
	return ok && m.owned(t, p)
}

// token checks what the token itself contains.
func (m *matcher) token(t storage.Token) bool {
	q := &m.q
	switch used := t.LastUsed > t.Created; {
	case q.usedAfter != 0 && (!used || t.LastUsed < q.usedAfter),
		q.createdAfter != 0 && t.Created < q.createdAfter,
		q.createdBefore != 0 && t.Created >= q.createdBefore,
		q.createdBy != "" && !strings.EqualFold(t.By, q.createdBy),
		q.unlimited && t.Limited(),
		q.addressLimited && len(t.Addresses) == 0,
		q.endsBy != 0 && (State(t, q.now) != api.StateLive || t.Expires == 0 || t.Expires > q.endsBy),
		q.state != "" && State(t, q.now) != q.state:
		return false
	}
	for _, s := range q.scopes {
		if !slices.Contains(t.Scopes, s) {
			return false
		}
	}
	for _, p := range q.from {
		if !slices.ContainsFunc(t.Usage.Seen, func(v storage.Seen) bool { return within(p, v.Address) }) {
			return false
		}
	}
	if q.id != "" && !strings.HasPrefix(t.ID.String(), q.id) {
		return false
	}
	return len(q.name) == 0 || containsAll(q.name, record.Fold(t.Name))
}

// owned checks what depends on the token's owner.
func (m *matcher) owned(t storage.Token, p person) bool {
	q := &m.q
	return (q.user == "" || strings.HasPrefix(p.uid, record.Fold(q.user))) &&
		(q.source == "" || strings.EqualFold(p.source, q.source)) &&
		(len(q.search) == 0 || containsAll(q.search, p.uid, p.name, record.Fold(t.Name), t.ID.String()))
}

func within(p netip.Prefix, a netip.Addr) bool { return p.Contains(a.Unmap()) }

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
