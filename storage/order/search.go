package order

import (
	"math"
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
	}
	q.prepare()
	if q.which == 0 {
		err = q.inTable()
	} else {
		err = v.withFacts(q.inMemory)
	}
	if err == nil && s.Revoked { // last, so that it does not miss one that dies during the search
		err = v.withFacts(q.amongDead)
	}
	return err
}

// question is a search. It asks for each token whether the filter takes it.
type question struct {
	views *Views
	sieve *Sieve
	to    *selection
	which column
	asked int

	// The same memory for all:
	row     Row
	entries []table.Entry
	numbers []uint32

	pick             table.Pick // of a shard
	usedFrom, usedTo int64      // ms: the filter takes no other last uses

	people []*Person // by number; nil: the match does not ask for them
	states []record.UserState
	ends   [256]int64 // of the tokens of each key; 0: not known, -1: never
}

// columns returns the columns that a match reads.
func (m *Match) columns() (which column) {
	if m.Times {
		which |= heads
	}
	if m.Texts {
		which |= details
	}
	if m.Seen {
		which |= seen
	}
	return which
}

// meet notes the users and, in a list of their own, their states: reading it from each Person
// would miss the processor's cache.
func (q *question) meet() error {
	m := q.sieve.Match
	q.states = q.views.table.Owners.States()
	if m.Person {
		err := q.views.withPeople(func(p *people) error {
			q.people = make([]*Person, len(p.who))
			for n := range p.who {
				q.people[n] = p.who[n].about
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if m.Owner == nil {
		return nil
	}
	owners := make([]bool, len(q.states))
	for n := range owners {
		var p *Person
		if n < len(q.people) {
			p = q.people[n]
		}
		owners[n] = m.Person && p == nil || m.Owner(q.states[n], p)
	}
	q.pick.Owners = owners
	return nil
}

// prepare says what the table can sort out by itself.
func (q *question) prepare() {
	s := q.sieve
	q.pick.Limited = s.Match != nil && s.Match.Limited
	q.pick.Unused, q.pick.Used = s.NeverUsed, s.UsedSince != 0
	q.usedFrom, q.usedTo = math.MinInt64, math.MaxInt64
	if s.UsedSince != 0 {
		q.usedFrom = s.UsedSince
	}
	if s.IdleSince != 0 {
		q.usedTo = s.IdleSince
	}
	if s.Owner != 0 {
		q.pick.Owners = make([]bool, q.views.table.Owners.Len())
		if int(s.number) < len(q.pick.Owners) {
			q.pick.Owners[s.number] = true
		}
	}
}

func (q *question) pause() {
	if q.asked++; q.asked%pause == 0 {
		runtime.Gosched()
	}
}

// walkShard calls fn with each token of a shard that the filter takes as far as the table
// knows. It copies them, so that verification does not wait for the filter.
func (q *question) walkShard(shard byte, fn func(*table.Entry)) {
	s := q.sieve
	if !s.in(shard) {
		return
	}
	q.pick.From, q.pick.To = q.usedFrom, q.usedTo
	if s.Order == LastUsed && !q.to.count {
		from, to := q.to.span()
		q.pick.From, q.pick.To = max(from, q.usedFrom), min(to, q.usedTo)
	}
	q.entries = q.views.table.AppendIn(q.entries[:0], shard, &q.pick)
	for i := range q.entries {
		q.pause()
		e := &q.entries[i]
		if s.Owner != 0 && e.Owner != s.number || !s.Takes(e.ID, e.Owner, e.Used) {
			continue
		}
		fn(e)
	}
}

// inTable searches tokens by what the table has.
func (q *question) inTable() error {
	s := q.sieve
	for shard := range table.Shards {
		runtime.Gosched()
		if q.to.count && s.Match == nil && s.Prefix == "" && s.Owner == 0 {
			q.pick.From, q.pick.To = q.usedFrom, q.usedTo
			q.to.n += q.views.table.CountIn(byte(shard), &q.pick)
			continue
		}
		q.walkShard(byte(shard), func(e *table.Entry) { q.ask(e.ID, e.Owner, e.Used, 0) })
	}
	return nil
}

// inMemory searches tokens by their facts.
func (q *question) inMemory(f *facts) error {
	for b := range f.parts {
		runtime.Gosched()
		q.inPart(f, &f.parts[b], byte(b))
	}
	return nil
}

// amongDead searches the tokens that are not in the table.
func (q *question) amongDead(f *facts) error {
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

// inPart searches the tokens of one part. If only a few tokens have matching times, it
// looks only at those.
func (q *question) inPart(f *facts, p *part, b byte) {
	known := func(e *table.Entry) {
		// A token whose facts are not known is newer than the question.
		if n, ok := p.find(e.Slot, e.ID); ok && p.knows(n) {
			f.fill(&q.row, p, n, q.which)
			q.ask(e.ID, e.Owner, e.Used, 0)
		}
	}
	if q.which&heads == 0 || !q.inTime(p) {
		q.walkShard(b, known)
		return
	}
	s := q.sieve
	for _, n := range q.numbers {
		q.pause()
		e, ok, _ := q.views.table.Get(p.ids[n])
		if ok && (s.Owner == 0 || e.Owner == s.number) && s.Takes(e.ID, e.Owner, e.Used) {
			e.Slot = n
			known(&e)
		}
	}
}

// inTime collects the tokens of a part whose times match. It returns false if there are too
// many of them.
func (q *question) inTime(p *part) bool {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if q.sieve.Order == Created && !q.to.count {
		from, to = q.to.span()
	}
	var during func(created, ends int64) bool
	if q.sieve.Match != nil {
		during = q.sieve.Match.During
	}
	q.numbers = q.numbers[:0]
	most := len(p.heads) / 8
	for n, h := range p.heads {
		if h.created == neverMade || h.created < from || h.created > to ||
			during != nil && !during(h.created, record.Earlier(h.expires, q.endOf(p.ids[n][0]))) {
			continue
		}
		if q.numbers = append(q.numbers, uint32(n)); len(q.numbers) > most {
			return false
		}
	}
	return true
}

// ask offers a token if the match takes it. The row has its facts. A match does not ask
// when a token was revoked.
func (q *question) ask(id keys.ID, owner uint32, used record.LastUse, revoked int64) {
	at := used.Ms()
	if q.sieve.Order == Created && !q.to.count {
		at = q.row.Created
		if from, to := q.to.span(); at < from || at > to {
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
	q.row.KeyEnds = q.endOf(q.row.ID[0])
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

// endOf returns when all tokens of a key end, in ms, or 0.
func (q *question) endOf(key byte) int64 {
	end := &q.ends[key]
	if *end == 0 {
		if *end = q.views.ends(key); *end == 0 {
			*end = -1
		}
	}
	return max(*end, 0)
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
