package query

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
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

	// Unverified reports whether the user's provider can't be asked about the user.
	Unverified func(storage.User) (bool, error)
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
		Revoked: p.Dead, Order: p.Order, Reverse: p.Reverse, After: p.After,
	}
	rest := q // what is left to match
	rest.idle, rest.neverUsed, rest.usedBefore, rest.usedAfter = 0, false, 0, 0
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
	m := newMatcher(rest, r.Store)
	m.services = services
	return plan{f, m}, nil
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

// least returns the smaller of two times; 0 stands for none.
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
		if p.Limit > 0 && q.All() {
			defer r.prepare() // after this page, which must not wait for it
		}
		how.filter.Limit = p.Limit
		rows := r.Store.Tokens(how.filter)
		if how.match != nil {
			rows = how.scan(ctx, r.Store, p.Limit)
		}
		for t, err := range rows {
			if !yield(t, err) {
				return
			}
		}
	}
}

// prepare has what filters ask for read in the background. To somebody who pages through
// all tokens or users, the next question is likely to be a filter.
func (r Reader) prepare() {
	r.Store.Matching(&storage.Match{Times: true, Texts: true, Seen: true, Person: true})
}

const (
	firstStretch = 256  // tokens that a scan reads first
	mostStretch  = 1024 // and the most it reads at once, before it waits until the store can match
	scanPause    = 32   // tokens after which a scan lets others have the processor
)

// scan yields the tokens that the matcher takes, at most limit of them. While the store
// prepares to match them in memory, it reads some stretches of tokens: a query that many
// tokens satisfy is answered from these.
func (how plan) scan(ctx context.Context, store *storage.Store, limit int) iter.Seq2[storage.Token, error] {
	return func(yield func(storage.Token, error) bool) {
		f, n, stretch := how.filter, 0, firstStretch
		how.match.begin(&f)
		rows := how.match.rows(ctx)
		for {
			if f.Revoked || stretch > mostStretch || store.Matching(rows) { // to find the revoked ones, the store reads all in any case
				f.Match, f.Limit = rows, max(limit-n, 0)
			} else {
				f.Limit = stretch
				stretch *= 2
			}
			read := 0
			for t, err := range store.Tokens(f) {
				if read++; read%scanPause == 0 {
					runtime.Gosched()
				}
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					yield(t, err)
					return
				}
				f.After = place(t, f.Order)
				if how.match.past(t, f) {
					return
				}
				ok, err := how.match.takes(t)
				if err != nil || ok {
					if n++; !yield(t, err) || err != nil || n == limit {
						return
					}
				}
			}
			if err := ctx.Err(); err != nil {
				yield(storage.Token{}, err)
				return
			}
			if f.Limit == 0 || read < f.Limit {
				return
			}
		}
	}
}

func place(t storage.Token, o storage.Order) storage.Place {
	if o == storage.ByCreated {
		return storage.Place{At: t.Created, ID: t.ID}
	}
	return storage.Place{At: t.LastUsed, ID: t.ID}
}

// bounds returns the times in an order between which all tokens of the query lie. A token
// was not used before it was created.
func (q *Tokens) bounds(o storage.Order) (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	if q.createdAfter != 0 {
		from = q.createdAfter
	}
	if o == storage.ByCreated {
		if q.createdBefore != 0 {
			to = q.createdBefore - 1
		}
		return from, to
	}
	return from, to
}

// begin skips what comes before the bounds in the order of the listing.
func (m *matcher) begin(f *storage.TokenFilter) {
	from, to := m.q.bounds(f.Order)
	var first storage.Place
	switch {
	case f.Reverse && to != math.MaxInt64:
		first = storage.Place{At: to + 1} // no id is this small
	case !f.Reverse && from != math.MinInt64:
		first = storage.Place{At: from - 1, ID: largest}
	default:
		return
	}
	if later := f.After.At > first.At; f.After == (storage.Place{}) || later == f.Reverse {
		f.After = first
	}
}

var largest = func() (id storage.ID) {
	for n := range id {
		id[n] = 0xff
	}
	return id
}()

// past reports whether nothing that comes later in the listing is within the bounds.
func (m *matcher) past(t storage.Token, f storage.TokenFilter) bool {
	from, to := m.q.bounds(f.Order)
	at := place(t, f.Order).At
	if f.Reverse {
		return at < from
	}
	return at > to
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
	how.whole(ctx)
	n, err = r.Store.CountTokens(how.filter)
	return n, errors.Join(err, ctx.Err())
}

// whole has the store find all tokens of the plan at once, even if it must read them first.
func (how *plan) whole(ctx context.Context) {
	if how.match != nil {
		how.filter.Match = how.match.rows(ctx)
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
	how.whole(ctx)
	m := Match{plan: how}
	m.IDs, err = r.Store.MatchTokens(how.filter)
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
