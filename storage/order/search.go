package order

import (
	"runtime"

	"gatehouse/storage/record"
)

// pause is the number of rows after which a search lets others have the processor.
const pause = 512

// search runs fn on the tokens, with a function that reports whether the filter takes a row.
func (v *Views) search(s *Sieve, fn func(o *tokens, takes func(row) bool)) (err error) {
	var q *question
	if s.Match != nil {
		all, err := v.everybody()
		if err != nil {
			return err
		}
		q = &question{views: v, sieve: s, all: all}
	}
	err2 := v.withTokens(s.Order == Created, q != nil, s.Revoked, func(o *tokens) {
		if err = v.narrow(s, o); err != nil {
			return
		}
		if q == nil {
			fn(o, func(r row) bool { return s.Takes(r.id, r.owner, r.used) })
			return
		}
		q.tokens = o
		fn(o, q.takes)
		err = q.err
	})
	if err2 != nil {
		return err2
	}
	return err
}

// question asks rows whether a filter with a Match takes them.
type question struct {
	views  *Views
	sieve  *Sieve
	tokens *tokens
	all    *everybody
	row    Row // the same memory for all
	asked  int
	err    error // then nothing is taken
}

func (q *question) takes(r row) bool {
	if q.asked++; q.asked%pause == 0 {
		runtime.Gosched()
	}
	s := q.sieve
	if q.err != nil || !s.Takes(r.id, r.owner, r.used) || s.Owner != 0 && r.owner != s.number {
		return false
	}
	t, facts := &q.row.Token, q.tokens.facts
	if r.dead {
		facts = q.tokens.dead.facts
	}
	if !facts.fill(&q.row, r.fact, s.Match.Seen) {
		read, ok, err := q.views.index.Token(r.id)
		if err != nil || !ok {
			q.err = err
			return false
		}
		facts.set(r.fact, &read)
		facts.fill(&q.row, r.fact, s.Match.Seen)
	}
	q.row.Person, t.OwnerState = q.views.owner(q.all, r.owner)
	q.row.Number = r.owner
	t.ID, t.LastUsed, t.Revoked, t.KeyEnds = r.id, r.used.Ms(), 0, q.views.ends(r.id[0])
	if r.revoked {
		t.Revoked = 1 // a match does not ask when
	}
	return s.Match.Takes(&q.row)
}

// matches reports whether a match takes a token as it was read.
func (v *Views) matches(m *Match, t record.Token, number uint32, all *everybody) bool {
	var p *Person
	p, t.OwnerState = v.owner(all, number)
	return m.Takes(&Row{t, p, number})
}

// everybody has all users, by their number in the table's owners. The states are apart,
// because a search that asks for each would wait for the memory of each person.
type everybody struct {
	people []*Person
	states []record.UserState
}

func (v *Views) everybody() (all *everybody, err error) {
	err = v.withPeople(true, func(p *people) {
		all = &everybody{make([]*Person, len(p.who)), make([]record.UserState, len(p.who))}
		for n := range p.who {
			all.people[n], all.states[n] = p.who[n].about, p.who[n].state
		}
	})
	return all, err
}

// owner returns the user with a number.
func (v *Views) owner(all *everybody, number uint32) (*Person, record.UserState) {
	if int(number) < len(all.people) && all.people[number] != nil {
		return all.people[number], all.states[number]
	}
	if int(number) >= v.table.Owners.Len() {
		return &Person{State: record.UserRemoved}, record.UserRemoved
	}
	o := v.table.Owners.At(number) // it is new
	return &Person{ID: o.ID, UID: record.Fold(o.UID), State: o.State}, o.State
}
