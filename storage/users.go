package storage

import (
	"errors"
	"iter"

	"gatehouse/storage/record"
)

// UserFilter selects users for a listing.
type UserFilter struct {
	Prefix     string // of the uid, compared without regard to case
	Order      Order  // the zero value is ByLastUsed
	Reverse    bool
	After      UserPlace // only what comes after it in the listing
	Limit      int       // 0: all
	StaleSince int64     // ms; a token not used after it is stale
}

// UserPlace is where a user stands in a listing: what it is sorted by, but for
// ByName, and the uid.
type UserPlace struct {
	At  int64
	UID string // empty: the beginning
}

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
			f.After = UserPlace{last.at, last.folded}
			f.Limit -= n
		}
	}
}

// showUsers yields the users, but for those that are removed. It returns how
// many it yielded, or -1 when the caller has enough.
func (s *Store) showUsers(list []standing, yield func(UserInfo, error) bool) (n int, err error) {
	err = s.view(func(rd *reader) error {
		for _, at := range list {
			u, err := rd.userByID(s.table.Owners.At(at.number).ID)
			if errors.Is(err, ErrNoUser) || u.State == UserRemoved {
				continue
			}
			if err != nil {
				return err
			}
			if !yield(UserInfo{u, at.held.tokens, at.held.stale, at.held.used}, nil) {
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
func (s *Store) standings(f UserFilter) (list []standing, err error) {
	if !s.WhenLoaded() {
		held, err := s.holdings(f.StaleSince)
		if err == nil {
			list, err = s.pick(f, held)
		}
		return list, err
	}
	err2 := s.withOrder(false, func(o *order) {
		o.stale(f.StaleSince)
		if err = s.findLost(); err == nil {
			list, err = s.pick(f, o.held)
		}
	})
	return list, errors.Join(err, err2)
}

// pick finds the users of whom it is known what they hold, by number.
func (s *Store) pick(f UserFilter, held []holding) (list []standing, err error) {
	after := standing{at: f.After.At, folded: record.Fold(f.After.UID)}
	best := top[standing]{limit: f.Limit, compare: standing.compare}
	if f.Reverse {
		best.compare = func(a, b standing) int { return b.compare(a) }
	}
	err = s.withPeople(f.Order == ByCreated, func(p *people) {
		stand := func(n uint32) standing {
			v := standing{folded: p.who[n].folded, number: n, at: p.key(n, f.Order, held)}
			if int(n) < len(held) { // else it holds nothing yet
				v.held = held[n]
			}
			return v
		}
		if f.Order == ByName {
			for _, n := range p.page(f, after.folded) {
				best.list = append(best.list, stand(n))
			}
			return
		}
		for n := range p.begun(record.Fold(f.Prefix)) {
			if best.full {
				at, last := p.key(n, f.Order, held), best.list[f.Limit-1].at
				if !f.Reverse && at > last || f.Reverse && at < last {
					continue // as nearly all are
				}
			}
			if v := stand(n); f.After.UID == "" || best.compare(after, v) < 0 {
				best.offer(v)
			}
		}
	})
	if f.Order != ByName {
		best.cut()
	}
	return best.list, err
}

// holdings counts the tokens of all users, by number, while the table is not
// yet there.
func (s *Store) holdings(staleSince int64) ([]holding, error) {
	owners := s.table.Owners.All()
	list := make([]holding, len(owners))
	err := s.view(func(rd *reader) (err error) {
		for n, o := range owners {
			if list[n], err = rd.holding(o.ID, staleSince); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// findLost looks at the tokens of those owners of whom the one used last is
// dead.
func (s *Store) findLost() error {
	o := &s.order
	return s.view(func(rd *reader) error {
		for number := range o.lost {
			h, err := rd.holding(s.table.Owners.At(number).ID, 0)
			if err != nil {
				return err
			}
			o.held[number].used = h.used
			delete(o.lost, number)
		}
		return nil
	})
}

// holding counts a user's tokens that are not revoked.
func (rd *reader) holding(id UserID, staleSince int64) (h holding, err error) {
	for k := range rd.Scan(record.HeldBy(id)) {
		_, tid := record.CutOwnedKey(k)
		e, ok, err := rd.s.lookup(tid)
		if err != nil {
			return h, err
		}
		if ok {
			h.count(1, e.Used, staleSince)
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
	info.Tokens, info.Stale, info.LastUsed = h.tokens, h.stale, h.used
	return info, err
}

// UserCount counts the users that are not removed.
func (s *Store) UserCount() int { return s.table.Owners.Count() }

// CountUsers counts those whose uid has a prefix.
func (s *Store) CountUsers(prefix string) (n int, err error) {
	err = s.withPeople(false, func(p *people) {
		from, to := p.begin(record.Fold(prefix))
		n = to - from
	})
	return n, err
}

// UID is the name of a user, also of a removed one; empty for nobody's id.
func (s *Store) UID(id UserID) string {
	o, _, _ := s.table.Owners.Find(id)
	return o.UID
}
