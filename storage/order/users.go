package order

import (
	"cmp"
	"strings"

	"gatehouse/storage/record"
)

// UserFilter selects users for a listing.
type UserFilter struct {
	Prefix     string // of the uid, compared without regard to case
	Order      By     // the zero value is LastUsed
	Reverse    bool
	After      UserPlace // only users after it in the listing
	Limit      int       // 0: all
	StaleSince int64     // ms; a token not used after it is stale

	Match func(*Person) bool // nil: any. It must not call the store
}

// UserPlace is the place of a user in a listing: the value by which the listing is
// sorted (unless that is the name), and the uid.
type UserPlace struct {
	At  int64
	UID string // empty: the beginning
}

// Standing is the place of a user in a listing, with a summary of its tokens.
type Standing struct {
	UserPlace         // with the folded uid
	Number    uint32  // in the table's owners
	Held      Holding // the user's tokens
}

func (a Standing) compare(b Standing) int {
	if a.At != b.At {
		return cmp.Compare(a.At, b.At) // compare names only when necessary
	}
	return strings.Compare(a.UID, b.UID)
}

// usersHolding finds the users; held has the tokens of each user, by number.
func (v *Views) usersHolding(f UserFilter, held []Holding) (list []Standing, err error) {
	after := Standing{UserPlace: UserPlace{f.After.At, record.Fold(f.After.UID)}}
	best := top[Standing]{limit: f.Limit, compare: Standing.compare}
	if f.Reverse {
		best.compare = func(a, b Standing) int { return b.compare(a) }
	}
	err = v.withPeople(f.Order == Created || f.Match != nil, func(p *people) {
		stand := func(n uint32) Standing {
			s := Standing{UserPlace: UserPlace{p.key(n, f.Order, held), p.who[n].folded}, Number: n}
			if int(n) < len(held) { // otherwise it holds nothing yet
				s.Held = held[n]
			}
			return s
		}
		if f.Order == Name {
			for _, n := range p.page(f, after.UID) {
				best.list = append(best.list, stand(n))
			}
			return
		}
		for n := range p.begun(record.Fold(f.Prefix)) {
			if f.Match != nil && !f.Match(p.who[n].about) {
				continue
			}
			if best.full {
				at, last := p.key(n, f.Order, held), best.list[f.Limit-1].At
				if !f.Reverse && at > last || f.Reverse && at < last {
					continue // nearly all are skipped here
				}
			}
			if s := stand(n); f.After.UID == "" || best.compare(after, s) < 0 {
				best.offer(s)
			}
		}
	})
	if f.Order != Name {
		best.cut()
	}
	return best.list, err
}

// CountUsers counts the users whose uid has the prefix and whom match takes. A nil match
// takes all of them.
func (v *Views) CountUsers(prefix string, match func(*Person) bool) (n int, err error) {
	err = v.withPeople(match != nil, func(p *people) {
		from, to := p.begin(record.Fold(prefix))
		if n = to - from; match == nil {
			return
		}
		n = 0
		for _, one := range p.sorted[from:to] {
			if match(p.who[one].about) {
				n++
			}
		}
	})
	return n, err
}
