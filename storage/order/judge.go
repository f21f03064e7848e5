package order

import (
	"bytes"
	"encoding/hex"
	"strings"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// verdict is what a match says of a text, of limits or of an owner. A million tokens share
// most of these, so a search asks about each once. The lower bits are the words of the
// search that were found in it.
type verdict uint32

const (
	judged  verdict = 1 << (31 - iota) // it is known
	refused                            // the match takes no token with it
	notLive                            // the match takes only revoked tokens of this owner
)

// judge has the verdicts of a match.
type judge struct {
	views *Views
	match *Match
	words verdict // all words of the search
	inID  verdict // those that can be in an id

	people  []*Person // by number; nil: the match does not ask for them
	states  []record.UserState
	byState [256]verdict // on an owner's state
	owners  []verdict    // by number; nil: the match asks only for their states
	ends    [256]int64   // when all tokens of a key end, in ms; 0: never
	ending  bool         // some key ends

	networks []network
	addrs    []byte // of a token whose record was read

	facts              *facts
	names, bys, limits []verdict // by number
}

// asksFacts reports whether the match asks for facts.
func (j *judge) asksFacts() bool {
	m := j.match
	return m.Created != Span{} || m.Ends != Span{} || m.asksDetails() || len(m.Seen) > 0
}

func (m *Match) asksDetails() bool {
	return m.Name != nil || m.By != nil || m.Limits != nil || len(m.Search) > 0
}

// meet notes the users and, in a list of their own, their states: reading it from each Person
// would miss the processor's cache.
func (j *judge) meet() error {
	m := j.match
	for n, w := range m.Search {
		j.words |= 1 << n
		if strings.Trim(w, "0123456789abcdef") == "" {
			j.inID |= 1 << n
		}
	}
	for _, p := range m.Seen {
		j.networks = append(j.networks, networkOf(p))
	}
	for key := range j.ends {
		j.ends[key] = j.views.ends(byte(key))
		j.ending = j.ending || j.ends[key] != 0
	}
	if !m.asksOwner() && m.State == nil {
		return nil
	}
	j.states = j.views.table.Owners.States()
	if !m.asksOwner() {
		return nil
	}
	j.owners = make([]verdict, len(j.states))
	return j.views.withPeople(func(p *people) error {
		j.people = make([]*Person, len(p.who))
		for n := range p.who {
			j.people[n] = p.who[n].about
		}
		return nil
	})
}

// owner returns the verdict on an owner.
func (j *judge) owner(number uint32) verdict {
	if j.states == nil {
		return judged
	}
	if int64(number) >= int64(len(j.owners)) {
		return j.newOwner(number)
	}
	v := &j.owners[number]
	if *v == 0 {
		*v = j.newOwner(number)
	}
	return *v
}

func (j *judge) newOwner(number uint32) verdict {
	m, state := j.match, record.UserRemoved
	if int64(number) < int64(len(j.states)) {
		state = j.states[number]
	} else if int64(number) < int64(j.views.table.Owners.Len()) { // newer than the search
		state = j.views.table.Owners.State(number)
	}
	v := j.byState[state]
	if v == 0 {
		if v = judged; m.State != nil && !m.State(state) {
			v |= notLive
		}
		j.byState[state] = v
	}
	if !m.asksOwner() {
		return v
	}
	var p *Person
	if int64(number) < int64(len(j.people)) {
		p = j.people[number]
	}
	if p == nil {
		p = j.stranger(number)
	}
	if m.Owner != nil && !m.Owner(p) {
		v |= refused
	}
	return v | j.contained(p.UID) | j.contained(p.Name)
}

func (m *Match) asksOwner() bool { return m.Owner != nil || len(m.Search) > 0 }

// stranger describes an owner who has no record, or is newer than the search.
func (j *judge) stranger(number uint32) *Person {
	if int64(number) >= int64(j.views.table.Owners.Len()) {
		return &Person{State: record.UserRemoved}
	}
	o := j.views.table.Owners.At(number)
	return &Person{ID: o.ID, UID: record.Fold(o.UID), State: o.State}
}

// contained returns the words of the search that are in a folded text.
func (j *judge) contained(text string) (v verdict) {
	for n, w := range j.match.Search {
		if strings.Contains(text, w) {
			v |= 1 << n
		}
	}
	return v
}

// use forgets the verdicts on other facts: their numbers may differ.
func (j *judge) use(f *facts) {
	j.facts = f
	if j.match.asksDetails() {
		n := len(f.texts.starts)
		j.names, j.bys, j.limits = make([]verdict, n), make([]verdict, n), make([]verdict, len(f.limits.list))
	}
}

func (j *judge) name(number uint32) verdict {
	v := &j.names[number]
	if *v == 0 {
		*v = j.ofName(j.facts.texts.at(number))
	}
	return *v
}

func (j *judge) ofName(name string) verdict {
	if j.match.Name != nil && !j.match.Name(name) {
		return judged | refused
	}
	if j.words == 0 {
		return judged
	}
	return judged | j.contained(record.Fold(name))
}

func (j *judge) by(number uint32) verdict {
	v := &j.bys[number]
	if *v == 0 {
		*v = verdictOf(j.match.By(j.facts.texts.at(number)))
	}
	return *v
}

func (j *judge) limit(number uint32) verdict {
	v := &j.limits[number]
	if *v == 0 {
		l := &j.facts.limits.list[number]
		*v = verdictOf(j.match.Limits(l.scopes, l.addresses))
	}
	return *v
}

func verdictOf(taken bool) verdict {
	if taken {
		return judged
	}
	return judged | refused
}

// withDetails keeps those of the tokens whose name, maker and limits the match takes.
func (j *judge) withDetails(list []uint32, p *part) []uint32 {
	m := j.match
	if m.Name == nil && m.By == nil && m.Limits == nil {
		return list
	}
	kept := list[:0]
	for _, n := range list {
		d := &p.details[n]
		if m.Name != nil && j.name(d.name)&refused != 0 || m.By != nil && j.by(d.by)&refused != 0 ||
			m.Limits != nil && j.limit(d.limit)&refused != 0 {
			continue
		}
		kept = append(kept, n)
	}
	return kept
}

// seen keeps those of the tokens that were seen in the networks.
func (j *judge) seen(list []uint32, p *part) []uint32 {
	for i := range j.networks {
		kept := list[:0]
		for _, n := range list {
			if j.networks[i].seenIn(p.addrs[p.seen[n]:]) {
				kept = append(kept, n)
			}
		}
		list = kept
	}
	return list
}

// found reports whether each word of the search is in a token's name, its id, or about its
// owner.
func (j *judge) found(p *part, n, owner uint32) bool {
	return j.words == 0 || j.all(j.owner(owner)|j.name(p.details[n].name), p.ids[n])
}

// all reports whether the words that a verdict lacks are in an id.
func (j *judge) all(v verdict, id keys.ID) bool {
	missing := j.words &^ v
	if missing == 0 {
		return true
	}
	if missing&^j.inID != 0 {
		return false
	}
	var text [2 * keys.IDSize]byte
	hex.Encode(text[:], id[:])
	for n, w := range j.match.Search {
		if missing&(1<<n) != 0 && !bytes.Contains(text[:], []byte(w)) {
			return false
		}
	}
	return true
}

// takesRecord reports whether the match takes a token as it was read.
func (j *judge) takesRecord(t *record.Token, owner uint32) bool {
	m, v := j.match, j.owner(owner)
	if !j.takesOwner(owner, t.Revoked) {
		return false
	}
	ends := record.Earlier(t.Expires, j.ends[t.ID[0]])
	if ends == 0 {
		ends = Never
	}
	if !m.Created.has(t.Created) || !m.Ends.has(ends) || m.By != nil && !m.By(t.By) ||
		m.Limits != nil && !m.Limits(t.Scopes, t.Addresses) {
		return false
	}
	j.addrs = appendSeen(j.addrs[:0], t.Usage.Seen)
	for i := range j.networks {
		if !j.networks[i].seenIn(j.addrs) {
			return false
		}
	}
	name := j.ofName(t.Name)
	return name&refused == 0 && j.all(v|name, t.ID)
}

// takesOwner reports whether the match takes a token of this owner, revoked at a time in ms; 0:
// it is not revoked, but may be of an owner who was removed, or of a key that is gone.
func (j *judge) takesOwner(owner uint32, revoked int64) bool {
	v := j.owner(owner)
	return v&refused == 0 && (v&notLive == 0 || revoked != 0 || j.removed(owner))
}

// removed reports whether an owner was removed.
func (j *judge) removed(number uint32) bool {
	return int64(number) >= int64(len(j.states)) || j.states[number] == record.UserRemoved
}
