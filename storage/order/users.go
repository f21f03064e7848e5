package order

import (
	"cmp"
	"strings"

	"gatehouse/storage/record"
	"gatehouse/storage/table"
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
// sorted, and the uid.
type UserPlace struct {
	At  int64  // ms, or a number of tokens; 0 in a listing by name
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

// Users finds the users that a filter takes, in its order, with a summary of their
// tokens. All tokens must be in the table.
func (v *Views) Users(f UserFilter) ([]Standing, error) {
	var held []Holding // by number
	all := table.Any()
	if f.Order == LastUsed || f.Order == Tokens {
		held = v.held(&all, f.StaleSince)
	}
	list, err := v.stand(f, held)
	if held != nil || err != nil {
		return list, err
	}
	all.Owners = make([]bool, v.table.Owners.Len()) // the tokens of the others need not be counted
	for _, s := range list {
		all.Owners[s.Number] = true
	}
	held = v.held(&all, f.StaleSince)
	for i := range list {
		list[i].Held = held[list[i].Number]
	}
	return list, nil
}

// held summarizes the tokens of each user.
func (v *Views) held(which *table.Pick, staleSince int64) []Holding {
	held := make([]Holding, v.table.Owners.Len())
	var list []table.Entry
	var turn turn
	for shard := range table.Shards {
		list = v.table.AppendIn(list[:0], byte(shard), which)
		for i := range list {
			if e := &list[i]; int(e.Owner) < len(held) { // otherwise the owner is new
				held[e.Owner].Count(1, e.Used, staleSince)
			}
		}
		turn.rest()
	}
	return held
}

// stand finds the users; held has the tokens of each user, by number.
func (v *Views) stand(f UserFilter, held []Holding) (list []Standing, err error) {
	after := Standing{UserPlace: UserPlace{f.After.At, record.Fold(f.After.UID)}}
	best := top[Standing]{limit: f.Limit, compare: Standing.compare}
	if f.Reverse {
		best.compare = func(a, b Standing) int { return b.compare(a) }
	}
	err = v.withPeople(func(p *people) error {
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
			return nil
		}
		for n := range p.withPrefix(record.Fold(f.Prefix)) {
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
		best.cut()
		return nil
	})
	return best.list, err
}

// CountUsers counts the users with a uid that has the prefix and that match accepts. A nil
// match accepts all.
func (v *Views) CountUsers(prefix string, match func(*Person) bool) (n int, err error) {
	err = v.withPeople(func(p *people) error {
		from, to := p.prefixRange(record.Fold(prefix))
		if match == nil {
			n = to - from
			return nil
		}
		for _, one := range p.sorted[from:to] {
			if match(p.who[one].about) {
				n++
			}
		}
		return nil
	})
	return n, err
}
