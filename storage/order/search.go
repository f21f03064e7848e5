package order

import (
	"math"
	"runtime"
	"slices"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// stretch is the number of tokens after which a search looks at the clock.
const stretch = 1024

// search offers the tokens that the filter takes to a selection.
func (v *Views) search(s *Sieve, to *selection) error {
	q := question{sieve: s, to: to, judge: judge{views: v, match: s.Match}}
	if s.Match == nil {
		q.match = new(Match)
	}
	if err := q.meet(); err != nil {
		return err
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
	switch {
	case q.nobody:
	case q.asksFacts(), q.byCreation():
		err = v.withFacts(q.inMemory)
	default:
		err = q.inTable()
	}
	if err == nil && s.Revoked { // last, so that it does not miss one that dies during the search
		err = v.withFacts(q.amongDead)
	}
	return err
}

// question is a search. It asks for each token whether the filter takes it.
type question struct {
	judge
	sieve *Sieve
	to    *selection
	turn

	narrow bool // the table sorts out more tokens than their times do

	// The same memory for all:
	entries []table.Entry
	all     []uint32 // 0, 1, 2, ...
	numbers []uint32

	nobody           bool       // the filter takes no token in the table
	pick             table.Pick // of a shard
	usedFrom, usedTo int64      // ms: the filter takes no other last uses
}

// byCreation reports whether the places are times of creation.
func (q *question) byCreation() bool { return q.sieve.Order == Created && !q.to.count }

// prepare says what the table can sort out by itself.
func (q *question) prepare() {
	s := q.sieve
	q.pick.Unused, q.pick.Used = s.NeverUsed, s.UsedSince != 0
	q.usedFrom, q.usedTo = math.MinInt64, math.MaxInt64
	if s.UsedSince != 0 {
		q.usedFrom = s.UsedSince
	}
	if s.IdleSince != 0 {
		q.usedTo = s.IdleSince
	}
	switch {
	case s.Owner != 0:
		q.pick.Owners = make([]bool, q.views.table.Owners.Len())
		if int(s.number) < len(q.pick.Owners) {
			q.pick.Owners[s.number] = q.owner(s.number)&(refused|notLive) == 0
		}
	case q.match.Owner != nil || q.match.State != nil:
		q.pick.Owners = make([]bool, len(q.states))
		for n, state := range q.states { // the tokens of removed users have left the table, or are about to
			q.pick.Owners[n] = state != record.UserRemoved && q.owner(uint32(n))&(refused|notLive) == 0
		}
	}
	q.nobody = q.pick.Owners != nil && !slices.Contains(q.pick.Owners, true)
}

// counts reports whether the tokens that the table picks need only be counted.
func (q *question) counts() bool {
	return q.to.count && q.words == 0 && q.sieve.Prefix+q.sieve.ID == ""
}

// picked returns what a walk through a shard may find: once a page is full, only what comes
// before its end.
func (q *question) picked() *table.Pick {
	q.pick.From, q.pick.To = q.usedFrom, q.usedTo
	if q.sieve.Order == LastUsed && !q.to.count {
		from, to := q.to.span()
		q.pick.From, q.pick.To = max(from, q.usedFrom), min(to, q.usedTo)
	}
	return &q.pick
}

// goOn is called for every few tokens. It lets others have the processor in time, and reports
// whether to go on.
func (q *question) goOn() bool {
	q.rest()
	return !disk.IsClosed(q.match.Done)
}

// turn is the work of a search since it has let others have the processor.
type turn struct{ began time.Time }

// mostTurn is how long a turn takes. A verification may wait for as long. To rest costs some
// 10 µs, as the runtime wakes a thread: after each thousand tokens it was a quarter of a search.
const mostTurn = 50 * time.Microsecond

// rest ends the turn if it was long enough. It lets other goroutines have the processor, and then
// other threads: with Gosched alone, those of verification waited until the kernel had enough of
// the search, some 3 ms, and their slowest requests took twice as long.
func (t *turn) rest() {
	if time.Since(t.began) < mostTurn {
		return
	}
	runtime.Gosched()
	yield()
	t.began = time.Now()
}

// takes reports whether the filter takes a token, as far as the table and the owner say.
func (q *question) takes(e *table.Entry) bool {
	return (q.sieve.Owner == 0 || e.Owner == q.sieve.number) && q.sieve.Takes(e.ID, e.Owner, e.Used) &&
		q.owner(e.Owner)&(refused|notLive) == 0
}

// inTable searches tokens by what the table has. It copies those that the filter may take,
// so that verification does not wait for the filter.
func (q *question) inTable() error {
	for b := range table.Shards {
		shard := byte(b)
		if !q.sieve.in(shard) {
			continue
		}
		if q.counts() {
			q.to.n += q.views.table.CountIn(shard, q.picked())
		} else {
			q.entries = q.views.table.AppendIn(q.entries[:0], shard, q.picked())
			for i := range q.entries {
				if e := &q.entries[i]; q.takes(e) {
					q.to.offer(Place{e.Used.Ms(), e.ID})
				}
			}
		}
		if !q.goOn() {
			break
		}
	}
	return nil
}

// inMemory searches tokens by their facts. It asks the table only about those whose facts
// match.
func (q *question) inMemory(f *facts) error {
	q.use(f)
	for b := range f.parts {
		if !q.sieve.in(byte(b)) {
			continue
		}
		if !q.goOn() {
			break
		}
		p := &f.parts[b]
		for list := range slices.Chunk(q.candidates(p, byte(b)), stretch) {
			list = q.matching(p, list)
			if q.counts() {
				q.to.n += q.views.table.CountOf(byte(b), p.ids, list, q.picked())
			} else {
				q.entries = q.views.table.AppendOf(q.entries[:0], byte(b), p.ids, list, q.picked())
				for i := range q.entries {
					if e := &q.entries[i]; q.takes(e) && q.found(p, e.Slot, e.Owner) {
						q.offer(e.ID, e.Used, p.created[e.Slot])
					}
				}
			}
			if !q.goOn() {
				return nil
			}
		}
	}
	return nil
}

// candidates returns the numbers of all tokens of a part. But perhaps the table sorts out more
// than the times of creation and end do, for example because a page is full and few can still be
// on it: then it returns those that the table picks. Every 16th part shows which is better, from
// the second one on: often the first one fills the page.
func (q *question) candidates(p *part, b byte) []uint32 {
	all := q.upTo(len(p.ids))
	if b%16 == 1 {
		q.narrow = q.views.table.CountIn(b, q.picked())+len(all)/16 < len(q.inTime(p, all))
	}
	if !q.narrow {
		return all
	}
	q.entries = q.views.table.AppendIn(q.entries[:0], b, q.picked())
	q.numbers = q.numbers[:0]
	for i := range q.entries {
		if n, ok := p.find(q.entries[i].Slot, q.entries[i].ID); ok {
			q.numbers = append(q.numbers, n)
		}
	}
	return q.numbers
}

// upTo returns the first numbers, to be read only.
func (q *question) upTo(many int) []uint32 {
	for n := len(q.all); n < many; n++ {
		q.all = append(q.all, uint32(n))
	}
	return q.all[:many]
}

// amongDead searches the tokens that are not in the table.
func (q *question) amongDead(f *facts) error {
	q.use(f)
	p := &f.dead.part
	for list := range slices.Chunk(q.upTo(len(p.ids)), stretch) {
		for _, n := range q.matching(p, list) {
			r := &f.dead.rows[n]
			if !r.gone && q.sieve.Takes(p.ids[n], r.owner, r.used) && q.takesOwner(r.owner, r.revoked) && q.found(p, n, r.owner) {
				q.offer(p.ids[n], r.used, p.created[n])
			}
		}
		if !q.goOn() {
			break
		}
	}
	return nil
}

// matching returns those of the tokens of a part whose facts match.
func (q *question) matching(p *part, list []uint32) []uint32 {
	return q.seen(q.withDetails(q.inTime(p, list), p), p)
}

// inTime returns those of the tokens of a part that were created, and end, when the match says,
// and whose facts are known. A token whose facts are not known is newer than the question.
func (q *question) inTime(p *part, list []uint32) []uint32 {
	created, ends := q.match.Created, q.match.Ends
	if created != (Span{}) || q.byCreation() || ends == (Span{}) || q.ending {
		list = q.createdIn(p, list, created)
	}
	if ends == (Span{}) {
		return list
	}
	from, to := ends.bounds()
	from = max(from, neverMade+1)
	kept := q.numbers[:0] // list may be a later part of it
	for _, n := range list {
		end := p.expires[n]
		if q.ending {
			end = record.Earlier(end, q.ends[p.ids[n][0]])
		}
		if end == 0 {
			end = Never
		}
		if end >= from && end <= to {
			kept = append(kept, n)
		}
	}
	q.numbers = kept
	return kept
}

// createdIn returns those of the tokens of a part that were created in the span and, if the
// places are times of creation, may still be on the page.
func (q *question) createdIn(p *part, list []uint32, span Span) []uint32 {
	first, last := span.bounds()
	if q.byCreation() {
		from, to := q.to.span()
		first, last = max(first, from), min(last, to)
	}
	first = max(first, neverMade+1)
	kept := q.numbers[:0]
	for _, n := range list {
		if at := p.created[n]; at >= first && at <= last {
			kept = append(kept, n)
		}
	}
	q.numbers = kept
	return kept
}

func (q *question) offer(id keys.ID, used record.LastUse, created int64) {
	at := used.Ms()
	if q.byCreation() {
		at = created
	}
	q.to.offer(Place{at, id})
}

// few searches a few tokens. It reads their records if it must.
func (q *question) few(list []candidate) error {
	s := q.sieve
	for _, c := range list {
		q.rest()
		e, live, _ := q.views.table.Get(c.id)
		if live && !q.takes(&e) || !live && !s.Revoked {
			continue
		}
		if live && !q.asksFacts() && (!q.byCreation() || c.created != 0) {
			q.offer(c.id, e.Used, c.created)
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
	return q.views.index.Tokens(q.sieve.Owner, func(t record.Token) bool {
		if q.sieve.Takes(t.ID, q.sieve.number, usedAt(&t)) {
			q.record(&t, q.sieve.number)
		}
		return q.goOn()
	})
}

// record offers a token as it was read, if the match takes it.
func (q *question) record(t *record.Token, owner uint32) {
	if !q.takesRecord(t, owner) {
		return
	}
	at := t.LastUsed
	if q.sieve.Order == Created {
		at = t.Created
	}
	q.to.offer(Place{at, t.ID})
}
