package order

import (
	"encoding/binary"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// column is a set of the columns of facts.
type column byte

const (
	heads   column = 1 << iota // when a token was created, and ends
	details                    // its texts and limits
	seen                       // the addresses where it was seen
)

// facts holds in memory what the table does not know about tokens, so that a query that
// few tokens satisfy does not read the records of the others. Texts and limits that many
// tokens share are kept once.
//
// When a token changes, its facts become unknown. The next query that needs them reads the
// record again.
type facts struct {
	parts  [table.Shards]part // as the table's
	texts  texts
	limits limits
	dead   *dead // nil: not read
	first  int   // blocks of texts when a column was read
}

// part has the facts of some tokens. A token's number is that of its slot in the table,
// unless it has moved since.
type part struct {
	ids    []keys.ID
	places []uint32 // open addressing: a number + 1
	has    column   // the columns that were read for all tokens

	// The columns; nil: not read.
	heads    []head
	details  []detail
	seen     []uint32 // places in addrs
	addrs    []byte   // the first one says: no addresses
	unlinked int      // bytes of addrs that no token refers to
}

type head struct{ created, expires int64 } // ms

type detail struct{ name, by, limit uint32 }

// unknown stands in detail.name and in seen for what must be read. No token was created
// at neverMade.
const (
	unknown   = 1<<32 - 1
	neverMade = -1 << 63
)

func (p *part) find(slot uint32, id keys.ID) (n uint32, ok bool) {
	if int(slot) < len(p.ids) && p.ids[slot] == id {
		return slot, true
	}
	if len(p.places) == 0 {
		return 0, false
	}
	mask := uint32(len(p.places) - 1)
	for at := hash(id) & mask; p.places[at] != 0; at = (at + 1) & mask {
		if n := p.places[at] - 1; p.ids[n] == id {
			return n, true
		}
	}
	return 0, false
}

// hash uses random bytes of an id.
func hash(id keys.ID) uint32 { return binary.LittleEndian.Uint32(id[2:]) }

// add adds a token that is not there, with unknown facts.
func (p *part) add(id keys.ID) (n uint32) {
	n = uint32(len(p.ids))
	p.ids = append(p.ids, id)
	if 4*len(p.ids) > 3*len(p.places) {
		p.places = make([]uint32, max(64, 2*len(p.places)))
		for n := range p.ids {
			p.place(uint32(n))
		}
	} else {
		p.place(n)
	}
	p.extend()
	return n
}

func (p *part) place(n uint32) {
	mask := uint32(len(p.places) - 1)
	at := hash(p.ids[n]) & mask
	for p.places[at] != 0 {
		at = (at + 1) & mask
	}
	p.places[at] = n + 1
}

// extend makes the columns as long as the ids.
func (p *part) extend() {
	for p.heads != nil && len(p.heads) < len(p.ids) {
		p.heads = append(p.heads, head{created: neverMade})
	}
	for p.details != nil && len(p.details) < len(p.ids) {
		p.details = append(p.details, detail{name: unknown})
	}
	for p.seen != nil && len(p.seen) < len(p.ids) {
		p.seen = append(p.seen, unknown)
	}
}

// begin makes columns for the ids.
func (p *part) begin(which column) {
	room := len(p.ids) + len(p.ids)/16 + 1
	if which&heads != 0 && p.heads == nil {
		p.heads = make([]head, 0, room)
	}
	if which&details != 0 && p.details == nil {
		p.details = make([]detail, 0, room)
	}
	if which&seen != 0 && p.seen == nil {
		p.seen, p.addrs = make([]uint32, 0, room), []byte{0}
	}
	p.extend()
}

// knows reports whether the columns have a token's facts.
func (p *part) knows(n uint32, which column) bool {
	return (which&heads == 0 || p.heads[n].created != neverMade) &&
		(which&details == 0 || p.details[n].name != unknown) &&
		(which&seen == 0 || p.seen[n] != unknown)
}

// forget makes a token's addresses unknown, and its texts if its record has changed. Times
// and limits never change.
func (p *part) forget(n uint32, changed bool) {
	if changed && p.details != nil {
		p.details[n].name = unknown
	}
	if p.seen != nil {
		p.unsee(n)
	}
}

func (p *part) unsee(n uint32) {
	if at := p.seen[n]; at != unknown && at != 0 {
		p.unlinked += seenLen(p.addrs[at:])
	}
	p.seen[n] = unknown
}

// set sets what the columns have of a token.
func (f *facts) set(p *part, n uint32, t *record.Token, which column) {
	if which&heads != 0 && p.heads != nil {
		p.heads[n] = head{t.Created, t.Expires}
	}
	if which&details != 0 && p.details != nil {
		p.details[n] = f.detail(t.Name, t.By, limit{t.Scopes, t.Addresses})
	}
	if which&seen != 0 && p.seen != nil {
		p.see(n, appendSeen(nil, t.Usage.Seen))
	}
}

func (f *facts) detail(name, by string, l limit) detail {
	return detail{f.texts.add(name), f.texts.add(by), f.limits.add(l)}
}

// see sets what appendSeen wrote.
func (p *part) see(n uint32, list []byte) {
	p.unsee(n)
	if list[0] == 0 {
		p.seen[n] = 0
		return
	}
	if p.unlinked > len(p.addrs)/2+1<<10 {
		p.compact()
	}
	p.seen[n] = uint32(len(p.addrs))
	p.addrs = append(p.addrs, list...)
}

// compact drops the bytes of addrs that no token refers to, and brings the others into
// the order of the tokens, so that a search reads them one after the other.
func (p *part) compact() {
	old := p.addrs
	p.addrs, p.unlinked = append(make([]byte, 0, len(old)-p.unlinked), 0), 0
	for n, at := range p.seen {
		if at != unknown && at != 0 {
			p.seen[n] = uint32(len(p.addrs))
			p.addrs = append(p.addrs, old[at:int(at)+seenLen(old[at:])]...)
		}
	}
}

// fill copies facts into a row.
func (f *facts) fill(row *Row, p *part, n uint32, which column) {
	if which&heads != 0 {
		row.Created, row.Expires = p.heads[n].created, p.heads[n].expires
	}
	if which&details != 0 {
		d := &p.details[n]
		row.Name, row.By = f.texts.at(d.name), f.texts.at(d.by)
		row.Scopes, row.Addresses = f.limits.list[d.limit].scopes, f.limits.list[d.limit].addresses
	}
	if which&seen != 0 {
		row.seen = p.addrs[p.seen[n]:]
	}
}

// wasteful reports whether facts that are no longer used may take most of the memory, with
// so many tokens in the table. Single facts are never removed.
func (f *facts) wasteful(tokens int) bool {
	n := 0
	for b := range f.parts {
		n += len(f.parts[b].ids)
	}
	return n > 2*tokens+1<<16 || len(f.texts.blocks) > 2*f.first+64 || len(f.limits.list) > tokens+1<<16
}
