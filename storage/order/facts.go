package order

import (
	"math"
	"net/netip"
	"strings"
	"unsafe"

	"gatehouse/storage/record"
)

// Match selects tokens by properties that the table does not hold.
type Match struct {
	Takes func(*Row) bool // the row is valid during the call
	Seen  bool            // Takes reads where the token was seen
}

// Row is what a Match can look at: a token and its owner. The token's own fields for the
// owner, the generation, the counts and the last address are not set. The addresses where
// it was seen are set only if the match asks for them.
type Row struct {
	record.Token
	Person *Person // its owner
	Number uint32  // the owner's; NoNumber: the owner is unknown
}

// NoNumber is the number of an owner who has no record.
const NoNumber = math.MaxUint32

// facts holds in memory what a Match looks at, so that a query that few tokens satisfy
// does not read the records of the others. A fact takes 32 bytes; texts and limits that
// many tokens share are kept once.
//
// When a token changes, its fact becomes unknown. The next query that needs the fact reads
// the record again.
type facts struct {
	list   []fact // the first one stands for none
	texts  texts
	limits []limit // the first one stands for no limit
	same   map[string]uint32
	seen   []byte
	spoilt int // bytes of seen that no fact refers to

	first struct{ facts, blocks, limits int } // when all tokens had been read
}

type fact struct {
	created, expires int64 // ms
	name, by         uint32
	limit            uint32
	seen             uint32 // a place in seen
}

type limit struct {
	scopes    []string
	addresses []netip.Prefix
}

// unknown stands in name for a fact that must be read, and in seen for addresses that
// must be read.
const unknown = 1<<32 - 1

// mostSame is how many different texts, and how many different limits, are remembered in
// order to share them.
const mostSame = 64 << 10

// newFacts returns facts with the numbers from 1 to n, which are unknown.
func newFacts(n int) *facts {
	f := &facts{list: make([]fact, 0, n+n/16+2), limits: make([]limit, 1), same: map[string]uint32{}}
	for range 1 + n { // the first one stands for none
		f.new()
	}
	return f
}

// new returns the number of a new fact, which is unknown. The number belongs to a token
// for good.
func (f *facts) new() (n uint32) {
	f.list = append(f.list, fact{name: unknown, seen: unknown})
	return uint32(len(f.list) - 1)
}

// follow returns the number of the fact of a token that was used, or changed; n is 0 for
// a new token.
func (f *facts) follow(n uint32, changed bool) uint32 {
	switch {
	case n == 0:
		return f.new()
	case changed:
		f.forget(n)
	default:
		f.unsee(n)
	}
	return n
}

// forget makes a fact unknown: its record has changed.
func (f *facts) forget(n uint32) {
	f.unsee(n)
	f.list[n].name = unknown
}

// unsee makes the addresses of a fact unknown: its token was used.
func (f *facts) unsee(n uint32) {
	if at := f.list[n].seen; at != unknown {
		f.spoilt += seenLen(f.seen[at:])
		f.list[n].seen = unknown
	}
}

// set sets a fact.
func (f *facts) set(n uint32, t *record.Token) {
	f.unsee(n)
	f.list[n] = fact{
		created: t.Created, expires: t.Expires, name: f.texts.add(t.Name), by: f.texts.add(t.By),
		limit: f.limit(t), seen: uint32(len(f.seen)),
	}
	f.seen = appendSeen(f.seen, t.Usage.Seen)
	if f.spoilt > len(f.seen)/2+1<<16 {
		f.compact()
	}
}

// compact drops the bytes of seen that no fact refers to, and brings the others into the
// order of the facts, so that a search reads them one after the other.
func (f *facts) compact() {
	old := f.seen
	f.seen, f.spoilt = make([]byte, 0, len(old)-f.spoilt), 0
	for n := range f.list {
		if at := f.list[n].seen; at != unknown {
			f.list[n].seen = uint32(len(f.seen))
			f.seen = append(f.seen, old[at:int(at)+seenLen(old[at:])]...)
		}
	}
}

// limit returns the number of a token's limits.
func (f *facts) limit(t *record.Token) uint32 {
	if len(t.Scopes) == 0 && len(t.Addresses) == 0 {
		return 0
	}
	var key strings.Builder
	for _, s := range t.Scopes {
		key.WriteString(s + "\n") // no scope has a newline
	}
	for _, p := range t.Addresses {
		key.WriteString(" " + p.String())
	}
	n, ok := f.same[key.String()]
	if !ok {
		n = uint32(len(f.limits))
		f.limits = append(f.limits, limit{t.Scopes, t.Addresses})
		if len(f.same) < mostSame {
			f.same[key.String()] = n
		}
	}
	return n
}

// fill copies a fact into the fields of a row. It reports whether the fact was known.
func (f *facts) fill(row *Row, n uint32, seen bool) bool {
	v := &f.list[n]
	if v.name == unknown || seen && v.seen == unknown {
		return false
	}
	t := &row.Token
	t.Created, t.Expires = v.created, v.expires
	t.Name, t.By = f.texts.at(v.name), f.texts.at(v.by)
	t.Scopes, t.Addresses = f.limits[v.limit].scopes, f.limits[v.limit].addresses
	if seen {
		t.Usage.Seen = parseSeen(t.Usage.Seen[:0], f.seen[v.seen:])
	}
	return true
}

// settle notes that all tokens have been read.
func (f *facts) settle() {
	f.first.facts, f.first.blocks, f.first.limits = len(f.list), len(f.texts.blocks), len(f.limits)
}

// wasteful reports whether facts that are no longer used may take most of the memory.
// Single facts are never removed.
func (f *facts) wasteful() bool {
	return len(f.list) > 2*f.first.facts+1<<16 || len(f.texts.blocks) > 2*f.first.blocks+16 || len(f.limits) > 2*f.first.limits+1<<10
}

// appendSeen writes addresses: how many, and each after its length.
func appendSeen(b []byte, list []record.Seen) []byte {
	b = append(b, byte(len(list)))
	for _, v := range list {
		a := v.Address.AsSlice()
		b = append(append(b, byte(len(a))), a...)
	}
	return b
}

func seenLen(b []byte) int {
	n := 1
	for range b[0] {
		n += 1 + int(b[n])
	}
	return n
}

func parseSeen(list []record.Seen, b []byte) []record.Seen {
	many, b := b[0], b[1:]
	for range many {
		a, _ := netip.AddrFromSlice(b[1 : 1+b[0]])
		list = append(list, record.Seen{Origin: record.Origin{Address: a}})
		b = b[1+b[0]:]
	}
	return list
}

// texts keeps texts in blocks, which the collector does not walk.
type texts struct {
	blocks [][]byte
	same   map[string]uint32 // some of them
}

const textBlock = 1 << 16

// add returns the place of a text.
func (l *texts) add(s string) uint32 {
	if n, ok := l.same[s]; ok {
		return n
	}
	s = s[:min(len(s), textBlock/2)]
	last := len(l.blocks) - 1
	if last < 0 || len(l.blocks[last])+2+len(s) > textBlock {
		l.blocks = append(l.blocks, make([]byte, 0, textBlock))
		last++
	}
	b := l.blocks[last]
	n := uint32(last*textBlock + len(b))
	l.blocks[last] = append(append(b, byte(len(s)>>8), byte(len(s))), s...)
	if l.same == nil {
		l.same = make(map[string]uint32)
	}
	if len(l.same) < mostSame {
		l.same[l.at(n)] = n
	}
	return n
}

// at returns the text at a place. It does not copy: the content of a block never
// changes.
func (l *texts) at(place uint32) string {
	b := l.blocks[place/textBlock][place%textBlock:]
	return unsafe.String(unsafe.SliceData(b[2:]), int(b[0])<<8|int(b[1]))
}
