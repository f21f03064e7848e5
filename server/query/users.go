package query

import (
	"context"
	"iter"
	"runtime"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage"
)

// Users lists the users of a query. The query and limit replace the prefix and the limit
// of the filter. It stops at the first error, and when ctx ends.
func (r Reader) Users(ctx context.Context, q Users, f storage.UserFilter, limit int) iter.Seq2[storage.UserInfo, error] {
	f.Prefix, f.Limit = q.prefix, limit
	if q.nothing() {
		return r.Store.Users(f)
	}
	f.Match = q.match()
	if q.locked {
		f.Limit = 0 // the store does not know
	}
	return func(yield func(storage.UserInfo, error) bool) {
		if some, err := r.narrow(ctx, q, &f); err != nil || !some {
			if err != nil {
				yield(storage.UserInfo{}, err)
			}
			return
		}
		n, read := 0, 0
		for u, err := range r.Store.Users(f) {
			if read++; read%scanPause == 0 {
				runtime.Gosched()
			}
			if err == nil {
				err = ctx.Err()
			}
			ok := err == nil
			if ok && q.locked {
				ok, err = r.Delayed(u.User)
			}
			if err != nil || ok {
				if n++; !yield(u, err) || err != nil || n == limit {
					return
				}
			}
		}
	}
}

// scanPause is how many users are looked at between two checks of whether to go on.
const scanPause = 32

// narrow limits the filter to the users who may be delayed, and to those who are
// unverified, if the query asks for them. It returns false if there are none.
func (r Reader) narrow(ctx context.Context, q Users, f *storage.UserFilter) (some bool, err error) {
	some = true
	if q.state == api.StateUnverified {
		found, err := r.Unverified()
		if err != nil || len(found) == 0 {
			return false, err
		}
		f.Match = among(found, f.Match)
	}
	if q.locked {
		some, err = r.narrowLocked(ctx, f)
	}
	return some, err
}

// among adds to a match that the user is one of those.
func among(found map[storage.UserID]bool, match func(*storage.Person) bool) func(*storage.Person) bool {
	return func(p *storage.Person) bool { return found[p.ID] && (match == nil || match(p)) }
}

func (r Reader) narrowLocked(ctx context.Context, f *storage.UserFilter) (some bool, err error) {
	suspect, err := r.Suspects()
	if suspect == nil || err != nil {
		return false, err
	}
	list, err := r.Store.People()
	if err != nil {
		return false, err
	}
	found := map[storage.UserID]bool{}
	for n, p := range list {
		if n%scanPause == 0 {
			runtime.Gosched()
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if suspect(p) {
			found[p.ID] = true
		}
	}
	f.Match = among(found, f.Match)
	return len(found) > 0, nil
}

// asks reports whether the store can't answer the query alone.
func (q Users) asks() bool { return q.locked || q.state == api.StateUnverified }

// CountUsers counts the users of a query.
func (r Reader) CountUsers(ctx context.Context, q Users) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if !q.asks() {
		return r.Store.CountUsers(q.prefix, q.match())
	}
	for _, err := range r.Users(ctx, q, storage.UserFilter{Order: storage.ByName}, 0) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// nothing reports whether only the prefix selects.
func (q Users) nothing() bool {
	return len(q.search) == 0 && q.source == "" && q.state == "" && !q.locked
}

// match returns what the store asks of a user, besides the prefix; nil: nothing.
func (q Users) match() func(*storage.Person) bool {
	if len(q.search) == 0 && q.source == "" && q.state == "" {
		return nil
	}
	state := q.state
	if state == api.StateUnverified { // who go on
		state = api.StateActive
	}
	return func(p *storage.Person) bool {
		return (q.source == "" || strings.EqualFold(p.Source, q.source)) &&
			(state == "" || UserState(p.State) == state) &&
			containsAll(q.search, p.UID, p.Name)
	}
}

// UserState is the state of a user in the words of the API; empty for a removed one.
func UserState(s storage.UserState) string {
	switch s {
	case storage.UserActive:
		return api.StateActive
	case storage.UserDisabled:
		return api.StateDisabled
	case storage.UserSuspended:
		return api.StateSuspended
	}
	return ""
}
