package order

import (
	"runtime"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// pause is the number of tokens after which a walk lets others have the processor.
const pause = 512

// search offers the tokens that the filter takes to a selection.
func (v *Views) search(s *Sieve, to *selection) error {
	q := question{views: v, sieve: s, to: to}
	if s.Match != nil {
		q.which = s.Match.columns()
		if err := q.meet(); err != nil {
			return err
		}
	}
	if s.Order == Created && !to.count {
		q.which |= heads
	}
	if s.Revoked && s.Owner != 0 {
		return q.records()
	}
	list, ok, err := v.few(s)
	switch {
	case err != nil:
		return err
	case ok:
		return q.few(list)
	case q.which == 0 && !s.Revoked:
		return q.walk(func(e *table.Entry) error {
			q.ask(e.ID, e.Owner, e.Used, 0)
			return nil
		})
	}
	return v.withFacts(q.which, s.Revoked, q.inMemory)
}

// question is a search. It asks for each token whether the filter takes it.
type question struct {
	views *Views
	sieve *Sieve
	to    *selection
	which column
	row   Row // the same memory for all
	asked int

	people []*Person // by number; nil: the match does not ask for them
	states []record.UserState
	ends   [256]int64 // of the tokens of each key; 0: not known, -1: never
}

// meet notes the users and their states. They are apart, because a search that asks each
// for its state would wait for the memory of each person.
func (q *question) meet() error {
	q.states = q.views.table.Owners.States()
	if !q.sieve.Match.Person {
		return nil
	}
	return q.views.withPeople(true, func(p *people) {
		q.people = make([]*Person, len(p.who))
		for n := range p.who {
			q.people[n] = p.who[n].about
		}
	})
}

func (q *question) pause() {
	if q.asked++; q.asked%pause == 0 {
		runtime.Gosched()
	}
}

// walk calls fn with each token of the table that the filter takes as far as the table
// knows. It copies a shard at a time, so that verification does not wait for the filter.
func (q *question) walk(fn func(*table.Entry) error) error {
	s := q.sieve
	limited := s.Match != nil && s.Match.Limited
	var list []table.Entry
	for shard := range table.Shards {
		list = q.views.table.AppendIn(list[:0], byte(shard))
		for i := range list {
			q.pause()
			e := &list[i]
			if s.Order == LastUsed && !q.to.wants(e.Used.Ms()) || limited && e.Flags&record.FlagLimited == 0 || s.Owner != 0 && e.Owner != s.number || !s.Takes(e.ID, e.Owner, e.Used) {
				continue
			}
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// inMemory searches tokens by their facts. It reads the dead ones last, so that it misses
// none that dies meanwhile.
func (q *question) inMemory(f *facts) error {
	err := q.walk(func(e *table.Entry) error {
		p := &f.parts[e.ID[1]]
		n, ok := p.find(e.Slot, e.ID)
		if !ok || !p.knows(n, q.which) {
			t, there, err := q.views.index.Token(e.ID)
			if err != nil || !there {
				return err
			}
			if !ok {
				n = p.add(e.ID)
			}
			f.set(p, n, &t, heads|details|seen)
		}
		f.fill(&q.row, p, n, q.which)
		q.ask(e.ID, e.Owner, e.Used, 0)
		return nil
	})
	if err != nil || !q.sieve.Revoked {
		return err
	}
	q.views.follow()
	if err := q.views.bury(f); err != nil {
		return err
	}
	for n := range f.dead.rows {
		q.pause()
		r, id := &f.dead.rows[n], f.dead.ids[n]
		if r.gone || !q.sieve.Takes(id, r.owner, r.used) {
			continue
		}
		f.fill(&q.row, &f.dead.part, uint32(n), q.which)
		q.ask(id, r.owner, r.used, r.revoked)
	}
	return nil
}

// ask offers a token if the match takes it. The row has its facts. A match does not ask
// when a token was revoked.
func (q *question) ask(id keys.ID, owner uint32, used record.LastUse, revoked int64) {
	at := used.Ms()
	if q.sieve.Order == Created && !q.to.count {
		if at = q.row.Created; !q.to.wants(at) {
			return
		}
	}
	if q.sieve.Match != nil {
		q.row.ID, q.row.LastUsed, q.row.Revoked = id, used.Ms(), revoked
		if !q.taken(owner) {
			return
		}
	}
	q.to.offer(Place{at, id})
}

// taken asks the match about the row, which still lacks the owner and the key's end.
func (q *question) taken(owner uint32) bool {
	end := &q.ends[q.row.ID[0]]
	if *end == 0 {
		if *end = q.views.ends(q.row.ID[0]); *end == 0 {
			*end = -1
		}
	}
	q.row.KeyEnds = max(*end, 0)
	q.row.Number, q.row.OwnerState, q.row.Person = owner, record.UserRemoved, nil
	if int(owner) < len(q.states) {
		q.row.OwnerState = q.states[owner]
	}
	if int(owner) < len(q.people) {
		q.row.Person = q.people[owner]
	}
	if int(owner) >= len(q.states) || q.sieve.Match.Person && q.row.Person == nil {
		q.stranger(owner)
	}
	return q.sieve.Match.Takes(&q.row)
}

// stranger describes an owner who has no record, or is newer than the search.
func (q *question) stranger(owner uint32) {
	if int64(owner) >= int64(q.views.table.Owners.Len()) {
		q.row.Person = &Person{State: record.UserRemoved}
		return
	}
	o := q.views.table.Owners.At(owner)
	q.row.Person, q.row.OwnerState = &Person{ID: o.ID, UID: record.Fold(o.UID), State: o.State}, o.State
}

// few searches a few tokens. It reads their records if it must.
func (q *question) few(list []candidate) error {
	s := q.sieve
	for _, c := range list {
		q.pause()
		e, live, _ := q.views.table.Get(c.id)
		if live && (s.Owner != 0 && e.Owner != s.number || !s.Takes(c.id, e.Owner, e.Used)) || !live && !s.Revoked {
			continue
		}
		if live && s.Match == nil && (q.which == 0 || c.created != 0) {
			at := e.Used.Ms()
			if q.which != 0 {
				at = c.created
			}
			q.to.offer(Place{at, c.id})
			continue
		}
		t, ok, err := q.views.index.Token(c.id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if live {
			t.LastUsed = e.Used.Ms()
			q.record(&t, e.Owner)
		} else if number := q.views.number(t.Owner); s.Takes(t.ID, number, usedAt(&t)) {
			q.record(&t, number)
		}
	}
	return nil
}

// usedAt returns the last use of a token that is not in the table.
func usedAt(t *record.Token) record.LastUse {
	if t.LastUsed != t.Created {
		return record.UsedAt(t.LastUsed)
	}
	return record.CreatedAt(t.LastUsed)
}

// number returns an owner's number.
func (v *Views) number(owner record.UserID) uint32 {
	if _, n, ok := v.table.Owners.Find(owner); ok {
		return n
	}
	return NoNumber
}

// records searches the tokens of one owner by reading their records, including those of
// tokens that are not in the table.
func (q *question) records() error {
	return q.views.index.Tokens(q.sieve.Owner, func(t record.Token) {
		if q.sieve.Takes(t.ID, q.sieve.number, usedAt(&t)) {
			q.record(&t, q.sieve.number)
		}
	})
}

// record offers a token as it was read, if the match takes it.
func (q *question) record(t *record.Token, owner uint32) {
	at := t.LastUsed
	if q.sieve.Order == Created {
		at = t.Created
	}
	if q.sieve.Match != nil {
		q.row.Token, q.row.seen = *t, appendSeen(q.row.seen[:0], t.Usage.Seen)
		if !q.taken(owner) {
			return
		}
	}
	q.to.offer(Place{at, t.ID})
}
