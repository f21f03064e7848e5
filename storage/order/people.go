package order

import (
	"iter"
	"slices"
	"strings"
	"sync"

	"gatehouse/storage/record"
)

// people has the users, and their order by name.
type people struct {
	who    []person // by number in the table's owners
	sorted []uint32 // the numbers of users who are not removed, by name
}

type person struct {
	folded  string           // empty: removed
	created int64            // ms; 0: not known
	about   *Person          // nil: not known. It never changes
	state   record.UserState // as in about
}

// Person is a user as filters see it.
type Person struct {
	ID        record.UserID
	UID, Name string // folded
	Source    string
	Subjects  []string // of the identities of the directory
	State     record.UserState
}

func personOf(u record.User) person {
	v := person{created: u.Created, about: &Person{
		u.ID, record.Fold(u.UID), record.Fold(u.Name), u.Source, u.Subjects(record.SourceLDAP), u.State,
	}, state: u.State}
	if u.State != record.UserRemoved {
		v.folded = v.about.UID
	}
	return v
}

// changed is a user who was changed.
type changed struct {
	number uint32
	person
}

func (p *people) set(number uint32, v person) {
	for int(number) >= len(p.who) {
		p.who = append(p.who, person{})
	}
	if old := p.who[number]; old.folded != v.folded {
		// Two users have the same name while one takes it over from the other.
		for i, _ := p.find(old.folded); i < len(p.sorted) && p.who[p.sorted[i]].folded == old.folded; i++ {
			if p.sorted[i] == number {
				p.sorted = slices.Delete(p.sorted, i, i+1)
				break
			}
		}
		if v.folded != "" {
			i, _ := p.find(v.folded)
			p.sorted = slices.Insert(p.sorted, i, number)
		}
	}
	p.who[number] = v
}

// find returns the position of a name, or where it would be.
func (p *people) find(folded string) (int, bool) {
	return slices.BinarySearchFunc(p.sorted, folded, func(n uint32, name string) int {
		return strings.Compare(p.who[n].folded, name)
	})
}

// prefixRange returns the range of the names that begin with a folded prefix.
func (p *people) prefixRange(prefix string) (from, to int) {
	from, _ = p.find(prefix)
	n, _ := slices.BinarySearchFunc(p.sorted[from:], prefix, func(n uint32, prefix string) int {
		if strings.HasPrefix(p.who[n].folded, prefix) {
			return -1
		}
		return 1
	})
	return from, from + n
}

// withPrefix yields the numbers of the users with names that begin with a folded
// prefix.
func (p *people) withPrefix(prefix string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if prefix == "" { // by number, in the order of memory
			for n := range p.who {
				if p.who[n].folded != "" && !yield(uint32(n)) {
					return
				}
			}
			return
		}
		from, to := p.prefixRange(prefix)
		for _, n := range p.sorted[from:to] {
			if !yield(n) {
				return
			}
		}
	}
}

// key returns the value by which an order sorts a user, before the name.
func (p *people) key(n uint32, o By, held []Holding) int64 {
	switch {
	case o == Created:
		return p.who[n].created
	case int(n) >= len(held):
		return 0
	case o == Tokens:
		return int64(held[n].Tokens)
	case o == LastUsed:
		return held[n].Used
	}
	return 0
}

// page returns the numbers of a page by name.
func (p *people) page(f UserFilter, after string) []uint32 {
	from, to := p.prefixRange(record.Fold(f.Prefix))
	if after != "" {
		at, there := p.find(after)
		if f.Reverse {
			to = min(to, at)
		} else if from = max(from, at); there && from == at {
			from++
		}
	}
	list := p.sorted[min(from, to):to]
	if f.Match != nil {
		return p.matching(f, list)
	}
	many := len(list)
	if f.Limit > 0 {
		many = min(many, f.Limit)
	}
	if !f.Reverse {
		return list[:many]
	}
	list = slices.Clone(list[len(list)-many:])
	slices.Reverse(list)
	return list
}

// matching returns the first of the listed users that the filter takes, up to its limit.
func (p *people) matching(f UserFilter, list []uint32) (found []uint32) {
	for i := range list {
		if f.Reverse {
			i = len(list) - 1 - i
		}
		if !f.Match(p.who[list[i]].about) {
			continue
		}
		if found = append(found, list[i]); len(found) == f.Limit {
			break
		}
	}
	return found
}

// withPeople runs fn on the people as of now or later. They do not change until fn returns.
func (v *Views) withPeople(fn func(p *people) error) error {
	k := &v.people
	if err := k.get(v.closing, hurried, v.readPeople); err != nil {
		return err
	}
	v.followPeople()
	k.RLock()
	defer k.RUnlock()
	return fn(k.value)
}

func (v *Views) followPeople() {
	k := &v.people
	if k.notes.len() == 0 {
		return // do not wait for other queries
	}
	k.Lock()
	defer k.Unlock()
	if k.value == nil {
		return
	}
	for _, c := range k.notes.take() {
		k.value.set(c.number, c.person)
	}
}

// readPeople reads the users. Nobody else uses them yet.
func (v *Views) readPeople(r *reading) (*people, error) {
	p := new(people)
	var mu sync.Mutex
	sources := map[string]string{} // so that each is in memory once
	err := r.parts(func(b byte, w *worker) error {
		return v.index.UsersIn(b, func(u record.User) {
			w.rest()
			_, number, ok := v.table.Owners.Find(u.ID)
			if !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if _, ok := sources[u.Source]; !ok {
				sources[u.Source] = u.Source
			}
			u.Source = sources[u.Source]
			if more := int(number) + 1 - len(p.who); more > 0 {
				p.who = append(p.who, make([]person, more)...)
			}
			p.who[number] = personOf(u)
		})
	})
	for n := range p.who {
		if p.who[n].folded != "" {
			p.sorted = append(p.sorted, uint32(n))
		}
	}
	slices.SortFunc(p.sorted, func(a, b uint32) int { return strings.Compare(p.who[a].folded, p.who[b].folded) })
	return p, err
}

// People returns the users who are not removed, in no order.
func (v *Views) People() (list []*Person, err error) {
	err = v.withPeople(func(p *people) error {
		list = make([]*Person, len(p.sorted))
		for i, n := range p.sorted {
			list[i] = p.who[n].about
		}
		return nil
	})
	return list, err
}

// withPrefix returns the numbers of the users with a uid that has the prefix.
func (v *Views) withPrefix(prefix string) (numbers []uint32, err error) {
	err = v.withPeople(func(p *people) error {
		from, to := p.prefixRange(record.Fold(prefix))
		numbers = slices.Clone(p.sorted[from:to])
		return nil
	})
	return numbers, err
}

// Holding summarizes the tokens of a user.
type Holding struct {
	Tokens int   // that are not revoked
	Stale  int   // of these, how many were not used for a long time
	Used   int64 // ms, of the latest use; 0: none was ever used
}

// Count adds a token (by 1) or removes it (by -1).
func (h *Holding) Count(by int, used record.LastUse, staleSince int64) {
	h.Tokens += by
	if used.Ms() <= staleSince {
		h.Stale += by
	}
	if by > 0 && used.IsUse() {
		h.Used = max(h.Used, used.Ms())
	}
}
