package query

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// Reader answers queries from a store.
type Reader struct {
	Store   *storage.Store
	Delayed func(storage.User) (bool, error) // whether the user's logins are delayed

	// Suspects returns a function that reports whether a user may be delayed, or nil if
	// nobody is.
	Suspects func() (func(*storage.Person) bool, error)

	// Unverified returns the users whose provider can't be asked about them.
	Unverified func() (map[storage.UserID]bool, error)
}

// Page is the part of a listing to read, and its order.
type Page struct {
	Order   storage.Order
	Reverse bool
	After   storage.Place
	Limit   int  // 0: all
	Dead    bool // the revoked tokens too; a query for them returns them anyway
}

// dead reports whether the revoked tokens are to be looked at.
func (q Tokens) dead(asked bool) bool {
	if q.state != "" {
		return q.state == api.StateRevoked
	}
	return asked
}

// plan is how a query is answered: by the store, and then by a matcher.
type plan struct {
	filter storage.TokenFilter
	match  *matcher // nil: the store answers all of it
}

// plan returns storage.ErrNoUser if the query names a user that does not exist.
func (r Reader) plan(q Tokens, p Page) (plan, error) {
	f := storage.TokenFilter{
		NeverUsed: q.neverUsed, UsedSince: q.usedAfter, IdleSince: least(q.idle, q.usedBefore-1, q.usedBefore != 0),
		Revoked: p.Dead && q.endsBy == 0, Order: p.Order, Reverse: p.Reverse, After: p.After, ID: q.id,
	}
	rest := q // what is left to match
	rest.idle, rest.neverUsed, rest.usedBefore, rest.usedAfter, rest.id = 0, false, 0, 0, ""
	if q.user != "" {
		u, err := r.Store.User(q.user)
		switch {
		case err == nil:
			f.Owner, rest.user = u.ID, ""
		case errors.Is(err, storage.ErrNoUser) && q.nearUser:
			f.Prefix = q.user
		default:
			return plan{}, err
		}
	}
	if f.Prefix == "" {
		f.Prefix = q.id
	}
	var services map[storage.UserID]bool
	if q.owner != "" {
		var err error
		if services, err = r.servicesOf(q, &f); err != nil {
			return plan{}, err
		}
	}
	if rest.nothing() {
		return plan{filter: f}, nil
	}
	return plan{f, &matcher{q: rest, services: services}}, nil
}

// nobody is a user id for a filter that takes no token: ids are random.
const nobody storage.UserID = math.MaxUint64

// servicesOf returns the service accounts of the query's owner. If the filter is not limited
// to a user yet, it limits the filter to one user where that is possible.
func (r Reader) servicesOf(q Tokens, f *storage.TokenFilter) (map[storage.UserID]bool, error) {
	near := q.nearOwner
	u, err := r.Store.User(q.owner)
	switch {
	case err == nil:
		near = false
	case !errors.Is(err, storage.ErrNoUser) || !near:
		return nil, err
	}
	list, err := r.Store.Services(u.ID, 0)
	if err != nil {
		return nil, err
	}
	found := map[storage.UserID]bool{}
	only := u.ID // the owner's own tokens are not those of a service account
	if near {
		only = nobody
	}
	for _, s := range list {
		if !near || strings.HasPrefix(record.Fold(s.Owner.UID), record.Fold(q.owner)) {
			found[s.ID], only = true, s.ID
		}
	}
	if f.Owner == 0 && f.Prefix == "" && len(found) < 2 {
		f.Owner = only
	}
	return found, nil
}

// least returns the smaller of two times, in ms. a is no time if it is 0, and b is no time
// unless it is known. Without any time, least returns 0. For a time of 0 it returns -1,
// which selects no token either: the store takes 0 for no limit.
func least(a, b int64, known bool) int64 {
	if !known || a != 0 && a < b {
		return a
	}
	if b == 0 {
		return -1
	}
	return b
}

// nothing reports whether a query selects all.
func (q Tokens) nothing() bool {
	return q.user == "" && q.source == "" && q.owner == "" && len(q.search) == 0 && len(q.name) == 0 && q.id == "" &&
		q.idle == 0 && !q.neverUsed && q.usedAfter == 0 && q.usedBefore == 0 && q.createdAfter == 0 && q.createdBefore == 0 &&
		q.createdBy == "" && len(q.from) == 0 && len(q.scopes) == 0 && !q.unlimited && !q.addressLimited && q.endsBy == 0 && q.state == ""
}

// Tokens lists the tokens of a query. It stops at the first error, and when ctx ends.
func (r Reader) Tokens(ctx context.Context, q Tokens, p Page) iter.Seq2[storage.Token, error] {
	return func(yield func(storage.Token, error) bool) {
		p.Dead = q.dead(p.Dead)
		how, err := r.plan(q, p)
		if err != nil {
			yield(storage.Token{}, err)
			return
		}
		how.ask(ctx)
		how.filter.Limit = p.Limit
		for t, err := range r.Store.Tokens(how.filter) {
			if !yield(t, err) {
				return
			}
		}
		if err := ctx.Err(); err != nil { // the store has not found all
			yield(storage.Token{}, err)
		}
	}
}

// Set tells sets of tokens apart. It contains their number and a sum over their ids.
type Set struct {
	Rows int
	sum  uint64
}

func (s *Set) add(id storage.ID) {
	s.Rows++
	s.sum += binary.BigEndian.Uint64(id[4:]) // of 13 random bytes
}

func (s Set) String() string { return fmt.Sprintf("%d-%016x", s.Rows, s.sum) }

// SetOf returns the set of these tokens.
func SetOf(ids []storage.ID) (s Set) {
	for _, id := range ids {
		s.add(id)
	}
	return s
}

// Count counts the tokens of a query.
func (r Reader) Count(ctx context.Context, q Tokens, dead bool) (n int, err error) {
	how, err := r.plan(q, Page{Dead: q.dead(dead)})
	if err != nil {
		return 0, err
	}
	how.ask(ctx)
	n, err = r.Store.CountTokens(how.filter)
	return n, errors.Join(err, ctx.Err())
}

// ask has the store ask the matcher, until ctx ends.
func (how *plan) ask(ctx context.Context) {
	if how.match != nil {
		how.filter.Match = how.match.match(ctx.Done())
	}
}

// Match is the tokens that a query takes at one moment, to be revoked.
type Match struct {
	IDs []storage.ID
	plan
}

// Match finds the tokens of a query that are not revoked.
func (r Reader) Match(ctx context.Context, q Tokens) (Match, error) {
	how, err := r.plan(q, Page{})
	if err != nil {
		return Match{}, err
	}
	how.ask(ctx)
	m := Match{plan: how}
	if m.IDs, err = r.Store.MatchTokens(how.filter); err == nil && how.match != nil {
		err = how.match.meet(r.Store)
	}
	return m, errors.Join(err, ctx.Err())
}

// Owner returns the one user whom all tokens of the match belong to, or 0 if they may
// belong to several.
func (m Match) Owner() storage.UserID { return m.filter.Owner }

// Revoke revokes those of the ids that the query still takes at their turn, and returns
// how many they were.
func (m Match) Revoke(store *storage.Store, by storage.Actor, ids []storage.ID) (int, error) {
	if m.match == nil {
		return store.RevokeMatching(by, m.filter, ids, nil)
	}
	return store.RevokeMatching(by, m.filter, ids, m.match.still)
}

// containsAll reports whether each of the words is in one of the texts.
func containsAll(words []string, texts ...string) bool {
	for _, w := range words {
		found := false
		for _, text := range texts {
			if found = strings.Contains(text, w); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
