package order

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// facts holds in memory what the table does not know about tokens, so that a query that
// few tokens satisfy does not read the records of the others. Texts and limits that many
// tokens share are kept once.
type facts struct {
	parts  [table.Shards]part // as the table's
	texts  texts
	limits limits
	dead   dead
	unread map[keys.ID]struct{} // tokens whose records must be read again
	first  int                  // blocks of texts when all was read
}

// part has the facts of some tokens. A token's number is that of its slot in the table,
// unless it has moved since.
type part struct {
	ids   []keys.ID
	slots []uint32 // open addressing: a number + 1

	created  []int64 // ms
	expires  []int64 // ms
	details  []detail
	seen     []uint32 // positions in addrs
	addrs    []byte   // the first one says: no addresses
	unlinked int      // bytes of addrs that no token refers to
}

type detail struct{ name, by, limit uint32 }

// neverMade, as the times of creation and end, marks a token whose record has not been read.
const neverMade = -1 << 63

// beyond is a slot that no table has.
const beyond = 1<<32 - 1

// reserve makes room for n tokens, and some more.
func (p *part) reserve(n int) {
	room := n + n/16 + 1
	p.ids, p.created, p.expires = make([]keys.ID, 0, room), make([]int64, 0, room), make([]int64, 0, room)
	p.details, p.seen, p.addrs = make([]detail, 0, room), make([]uint32, 0, room), []byte{0}
}

func (p *part) find(slot uint32, id keys.ID) (n uint32, ok bool) {
	if int(slot) < len(p.ids) && p.ids[slot] == id {
		return slot, true
	}
	if len(p.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(p.slots) - 1)
	for at := hash(id) & mask; p.slots[at] != 0; at = (at + 1) & mask {
		if n := p.slots[at] - 1; p.ids[n] == id {
			return n, true
		}
	}
	return 0, false
}

// hash uses random bytes of an id.
func hash(id keys.ID) uint32 { return binary.LittleEndian.Uint32(id[2:]) }

// add returns a token's number. It adds an unknown token, whose facts are then not read.
func (p *part) add(id keys.ID) (n uint32) {
	n, ok := p.find(beyond, id)
	if ok {
		return n
	}
	n = uint32(len(p.ids))
	p.ids, p.created, p.expires = append(p.ids, id), append(p.created, neverMade), append(p.expires, neverMade)
	p.details, p.seen = append(p.details, detail{}), append(p.seen, 0)
	if 4*len(p.ids) > 3*len(p.slots) {
		p.index()
	} else {
		p.enter(n)
	}
	return n
}

// index gives all tokens their slots.
func (p *part) index() {
	p.slots = make([]uint32, max(64, 1<<bits.Len(uint(len(p.ids)*4/3))))
	for n := range p.ids {
		p.enter(uint32(n))
	}
}

func (p *part) enter(n uint32) {
	mask := uint32(len(p.slots) - 1)
	at := hash(p.ids[n]) & mask
	for p.slots[at] != 0 {
		at = (at + 1) & mask
	}
	p.slots[at] = n + 1
}

// knows reports whether a token's record was read.
func (p *part) knows(n uint32) bool { return p.created[n] != neverMade }

// has reports whether a live token is known to have been seen at an address. Without an
// address, its record has changed. Of a token that is dead, no address is known here: see
// dead.put.
func (f *facts) has(s table.Sight) bool {
	if !s.From.IsValid() {
		return false
	}
	p := &f.parts[s.ID[1]]
	n, ok := p.find(s.Slot, s.ID)
	return ok && seenAt(p.addrs[p.seen[n]:], s.From)
}

// news returns those of the sightings that the facts do not have.
func (f *facts) news(list []table.Sight) []table.Sight {
	return slices.DeleteFunc(list, f.has)
}

// see adds an address, or notes that the token must be read again: which address its record
// has dropped for a new one is not known here.
func (f *facts) see(s table.Sight) {
	p := &f.parts[s.ID[1]]
	n, ok := p.find(s.Slot, s.ID)
	_, dead := f.dead.find(beyond, s.ID)
	if !ok || dead || !s.From.IsValid() || !p.knows(n) || p.addrs[p.seen[n]] == record.MaxSeen {
		f.unread[s.ID] = struct{}{}
	} else if !f.has(s) {
		p.seeAlso(n, s.From)
	}
}

func (f *facts) set(p *part, n uint32, t *record.Token) {
	f.setRecord(p, n, t)
	p.see(n, t.Usage.Seen)
}

// setRecord sets what the token's own record has. The addresses are in another record.
func (f *facts) setRecord(p *part, n uint32, t *record.Token) {
	p.created[n], p.expires[n] = t.Created, t.Expires
	p.details[n] = detail{f.texts.add(t.Name), f.texts.add(t.By), f.limits.add(limit{t.Scopes, t.Addresses})}
}

// see sets where a token was seen.
func (p *part) see(n uint32, list []record.Seen) {
	p.unlink(n)
	if len(list) > 0 {
		p.seen[n] = uint32(len(p.addrs))
		p.addrs = appendSeen(p.addrs, list)
	}
}

// seeAlso adds an address to those where a token was seen.
func (p *part) seeAlso(n uint32, from netip.Addr) {
	at := p.seen[n]
	list := appendAddress(bytes.Clone(p.addrs[at:int(at)+seenLen(p.addrs[at:])]), from)
	list[0]++
	p.unlink(n)
	p.seen[n] = uint32(len(p.addrs))
	p.addrs = append(p.addrs, list...)
}

// unlink forgets where a token was seen.
func (p *part) unlink(n uint32) {
	if at := p.seen[n]; at != 0 {
		p.unlinked += seenLen(p.addrs[at:])
	}
	p.seen[n] = 0
	if p.unlinked > len(p.addrs)/2+1<<10 {
		p.compact()
	}
}

// compact drops the bytes of addrs that no token refers to, and brings the others into
// the order of the tokens, so that a search reads them one after the other.
func (p *part) compact() {
	old := p.addrs
	p.addrs, p.unlinked = append(make([]byte, 0, len(old)-p.unlinked), 0), 0
	for n, at := range p.seen {
		if at != 0 {
			p.seen[n] = uint32(len(p.addrs))
			p.addrs = append(p.addrs, old[at:int(at)+seenLen(old[at:])]...)
		}
	}
}

// wasteful reports whether facts that are no longer used may take most of the memory, given
// the number of tokens in the table. Single facts are never removed.
func (f *facts) wasteful(tokens int) bool {
	n := 0
	for b := range f.parts {
		n += len(f.parts[b].ids)
	}
	n += f.dead.gone
	return n > 2*tokens+1<<16 || len(f.texts.blocks) > 2*f.first+64 || len(f.limits.list) > tokens+1<<16
}
