package order

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/storage/record"
)

// people has the users in the order of their names. It is made at the first query,
// and then follows the changes of the writer.
type people struct {
	making sync.Mutex

	mu     sync.RWMutex
	state  peopleState
	missed []missedPerson // while it is being made
	who    []person       // by number in the table's owners
	sorted []uint32       // the numbers of users who are not removed, by name
	read   bool           // the record of each user was read
	drop   *time.Timer
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

type missedPerson struct {
	number uint32
	person
}

type peopleState byte

const (
	peopleUnknown peopleState = iota
	peopleMaking
	peopleKnown
)

// note records that a user was changed. The writer calls it.
func (p *people) note(number uint32, u record.User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == peopleUnknown {
		return
	}
	v := personOf(u)
	if p.state == peopleMaking {
		p.missed = append(p.missed, missedPerson{number, v})
		return
	}
	p.set(number, v)
}

func (p *people) set(number uint32, v person) {
	for int(number) >= len(p.who) {
		p.who = append(p.who, person{})
	}
	if old := p.who[number]; old.folded != v.folded {
		if i, ok := p.find(old.folded); ok && p.sorted[i] == number {
			p.sorted = slices.Delete(p.sorted, i, i+1)
		}
		if v.folded != "" {
			i, _ := p.find(v.folded)
			p.sorted = slices.Insert(p.sorted, i, number)
		}
	}
	p.who[number] = v
}

// find returns the place of a name, or where it would be.
func (p *people) find(folded string) (int, bool) {
	return slices.BinarySearchFunc(p.sorted, folded, func(n uint32, name string) int {
		return strings.Compare(p.who[n].folded, name)
	})
}

// begin returns the range of the names that begin with a folded prefix.
func (p *people) begin(prefix string) (from, to int) {
	from, _ = p.find(prefix)
	n, _ := slices.BinarySearchFunc(p.sorted[from:], prefix, func(n uint32, prefix string) int {
		if strings.HasPrefix(p.who[n].folded, prefix) {
			return -1
		}
		return 1
	})
	return from, from + n
}

// begun yields the numbers of the users with names that begin with a folded
// prefix.
func (p *people) begun(prefix string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if prefix == "" { // by number, in the order of memory
			for n := range p.who {
				if p.who[n].folded != "" && !yield(uint32(n)) {
					return
				}
			}
			return
		}
		from, to := p.begin(prefix)
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
	from, to := p.begin(record.Fold(f.Prefix))
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

// withPeople runs fn on the sorted users. They do not change until fn returns. If read is
// set, their records have been read: when they were created, and what filters ask about.
func (v *Views) withPeople(read bool, fn func(p *people)) error {
	p := &v.people
	for {
		p.mu.RLock()
		if p.state == peopleKnown && (p.read || !read) {
			defer p.mu.RUnlock()
			p.drop.Reset(lookedAt)
			fn(p)
			return nil
		}
		p.mu.RUnlock()
		v.makePeople()
		if read {
			if err := v.readPeople(); err != nil {
				return err
			}
		}
	}
}

// People returns the users who are not removed, in no order.
func (v *Views) People() (list []*Person, err error) {
	err = v.withPeople(true, func(p *people) {
		list = make([]*Person, 0, len(p.sorted))
		for _, n := range p.sorted {
			if about := p.who[n].about; about != nil {
				list = append(list, about)
			}
		}
	})
	return list, err
}

func (v *Views) dropPeople() {
	p := &v.people
	p.making.Lock()
	defer p.making.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.who, p.sorted, p.read = peopleUnknown, nil, nil, false
}

// makePeople sorts the users by name. The writer does not wait for it, but
// notes its changes in the meantime.
func (v *Views) makePeople() {
	p := &v.people
	p.making.Lock()
	defer p.making.Unlock()
	p.mu.Lock()
	if p.state == peopleKnown {
		p.mu.Unlock()
		return
	}
	p.state = peopleMaking
	p.mu.Unlock()

	list := v.table.Owners.All()
	made := people{who: make([]person, len(list))}
	for n, o := range list {
		if o.State != record.UserRemoved {
			made.who[n].folded = record.Fold(o.UID)
			made.sorted = append(made.sorted, uint32(n))
		}
	}
	slices.SortFunc(made.sorted, func(a, b uint32) int {
		return strings.Compare(made.who[a].folded, made.who[b].folded)
	})

	p.mu.Lock()
	defer p.mu.Unlock()
	p.who, p.sorted = made.who, made.sorted
	for _, m := range p.missed {
		p.set(m.number, m.person)
	}
	p.missed, p.state = nil, peopleKnown
	p.drop = postpone(p.drop, v.dropPeople)
}

// readPeople reads the records of the users.
func (v *Views) readPeople() error {
	p := &v.people
	p.making.Lock()
	defer p.making.Unlock()
	var list []missedPerson
	sources := map[string]string{} // so that each is in memory once
	err := v.index.Users(func(u record.User) {
		if _, number, ok := v.table.Owners.Find(u.ID); ok {
			if _, ok := sources[u.Source]; !ok {
				sources[u.Source] = u.Source
			}
			u.Source = sources[u.Source]
			list = append(list, missedPerson{number, personOf(u)})
		}
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range list {
		if int(m.number) < len(p.who) && p.who[m.number].about == nil { // otherwise a later note has it
			one := &p.who[m.number]
			one.created, one.about, one.state = m.created, m.about, m.state
		}
	}
	p.read = true
	return nil
}

// withPrefix returns the numbers of the users with a uid that has the prefix.
func (v *Views) withPrefix(prefix string) (numbers []uint32, err error) {
	err = v.withPeople(false, func(p *people) {
		from, to := p.begin(record.Fold(prefix))
		numbers = slices.Clone(p.sorted[from:to])
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
