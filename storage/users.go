package storage

import (
	"errors"
	"iter"

	"gatehouse/storage/order"
	"gatehouse/storage/record"
)

// UserInfo is a user with what is known of its tokens.
type UserInfo struct {
	User
	Tokens   int   // that are not revoked
	Stale    int   // of these, those that were not used for long
	LastUsed int64 // ms, of these tokens the latest; 0: none was ever used
}

// Users lists users. It first notes the order, and then reads as the caller
// takes; it stops at the first error.
func (s *Store) Users(f UserFilter) iter.Seq2[UserInfo, error] {
	return func(yield func(UserInfo, error) bool) {
		for {
			list, err := s.standings(f)
			n := 0
			if err == nil {
				n, err = s.showUsers(list, yield)
			}
			if err != nil {
				yield(UserInfo{}, err)
			}
			if err != nil || n < 0 || n == len(list) || f.Limit == 0 || len(list) < f.Limit {
				return
			}
			last := list[len(list)-1] // some were removed since
			f.After = last.UserPlace
			f.Limit -= n
		}
	}
}

// showUsers yields the users, but for those that are removed. It returns how
// many it yielded, or -1 when the caller has enough.
func (s *Store) showUsers(list []order.Standing, yield func(UserInfo, error) bool) (n int, err error) {
	err = s.view(func(rd *reader) error {
		for _, at := range list {
			u, err := rd.userByID(s.table.Owners.At(at.Number).ID)
			if errors.Is(err, ErrNoUser) || u.State == UserRemoved {
				continue
			}
			if err != nil {
				return err
			}
			if !yield(UserInfo{u, at.Held.Tokens, at.Held.Stale, at.Held.Used}, nil) {
				n = -1
				return nil
			}
			n++
		}
		return nil
	})
	return n, err
}

// standings finds the users that the filter takes, in their order, with what
// they hold.
func (s *Store) standings(f UserFilter) ([]order.Standing, error) {
	if err := s.opening.awaitTable(); err != nil {
		return nil, err
	}
	return s.views.Users(f)
}

// holding counts a user's tokens that are not revoked.
func (rd *reader) holding(id UserID, staleSince int64) (h order.Holding, err error) {
	for k := range rd.Scan(record.HeldBy(id)) {
		_, tid := record.CutOwnedKey(k)
		e, ok, err := rd.s.lookup(tid)
		if err != nil {
			return h, err
		}
		if ok {
			h.Count(1, e.Used, staleSince)
		}
	}
	return h, nil
}

// UserInfo returns one user with what is known of its tokens.
func (s *Store) UserInfo(uid string, staleSince int64) (info UserInfo, err error) {
	err = s.view(func(rd *reader) error {
		u, err := rd.userByName(uid)
		if err != nil {
			return err
		}
		info, err = rd.userInfo(u.ID, staleSince)
		return err
	})
	return info, err
}

func (rd *reader) userInfo(id UserID, staleSince int64) (info UserInfo, err error) {
	if info.User, err = rd.userByID(id); err != nil {
		return info, err
	}
	h, err := rd.holding(id, staleSince)
	info.Tokens, info.Stale, info.LastUsed = h.Tokens, h.Stale, h.Used
	return info, err
}

// UserCount counts the users that are not removed.
func (s *Store) UserCount() int { return s.table.Owners.Count() }

// CountUsers counts those whose uid has a prefix.
func (s *Store) CountUsers(prefix string) (int, error) { return s.views.CountUsers(prefix) }

// UID is the name of a user, also of a removed one; empty for nobody's id.
func (s *Store) UID(id UserID) string {
	o, _, _ := s.table.Owners.Find(id)
	return o.UID
}
