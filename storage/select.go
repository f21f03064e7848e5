package storage

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Order is what a listing is sorted by. Equals follow their id, or uid.
type Order byte

// The orders. Users are also sorted ByUID, which is ByName, and ByTokens.
const (
	ByLastUsed Order = iota
	ByCreated
	ByName
	ByTokens
)

// Place is where a token stands in a listing: its time in the order at hand,
// and its id.
type Place struct {
	At int64 // ms
	ID ID
}

func (a Place) compare(b Place) int {
	if a.At != b.At {
		return cmp.Compare(a.At, b.At)
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

// sieve is a TokenFilter made ready for the table.
type sieve struct {
	TokenFilter
	prefix  hexPrefix
	numbers []uint32 // of the owners whose uid has the prefix
	owners  bitmap   // the same
	few     []ID     // all that can have the prefix, when they are few; else nil
}

func (s *Store) sieve(f TokenFilter) (v sieve, err error) {
	v.TokenFilter = f
	if f.Prefix == "" {
		return v, nil
	}
	v.prefix = parseHexPrefix(f.Prefix)
	if len(v.prefix.whole) > 0 && !s.keys.Has(v.prefix.whole[0]) {
		v.prefix = hexPrefix{none: true} // an id begins with the number of its key
	}
	v.numbers, err = s.withPrefix(f.Prefix)
	for _, n := range v.numbers {
		v.owners.add(n)
	}
	return v, err
}

// mostFew is how many tokens are few.
const mostFew = 2000

// narrow finds the tokens that can have the prefix, when it is a long one: by
// the index of owners, and in the shard of the id. The order is there.
func (s *Store) narrow(v *sieve, o *order) error {
	all := 0
	for _, n := range v.numbers {
		if int(n) < len(o.held) {
			all += o.held[n].tokens
		}
	}
	if v.Prefix == "" || all > mostFew || len(v.numbers) > mostFew/10 || !v.prefix.none && len(v.prefix.whole) < 2 {
		return nil
	}
	v.few = []ID{}
	if !v.prefix.none {
		s.table.EachIn(v.prefix.whole[1], func(e table.Entry) {
			if v.prefix.of(e.ID) && !v.owners.has(e.Owner) {
				v.few = append(v.few, e.ID)
			}
		})
	}
	return s.view(func(rd *reader) error {
		for _, n := range v.numbers {
			for k := range rd.Scan(record.HeldBy(s.table.Owners.At(n).ID)) {
				_, id := record.CutOwnedKey(k)
				v.few = append(v.few, id)
			}
		}
		return nil
	})
}

// takes reports whether the filter takes a token, its place apart.
func (v *sieve) takes(id ID, owner uint32, used record.LastUse) bool {
	switch {
	case v.NeverUsed && used&1 != 0:
	case v.IdleSince != 0 && int64(used>>1) > v.IdleSince:
	case v.Prefix != "" && !v.owners.has(owner) && !v.prefix.of(id):
	default:
		return true
	}
	return false
}

// top keeps the first of what it is offered, in an order.
type top[T any] struct {
	compare func(a, b T) int
	limit   int // 0: all are kept
	list    []T // sorted, and cut to the limit, by cut
	full    bool
}

func (t *top[T]) offer(v T) {
	if t.full && t.compare(v, t.list[t.limit-1]) >= 0 {
		return
	}
	t.list = append(t.list, v)
	if t.limit > 0 && len(t.list) >= max(4*t.limit, 1000) {
		t.cut()
	}
}

func (t *top[T]) cut() {
	slices.SortFunc(t.list, t.compare)
	if t.limit > 0 && len(t.list) >= t.limit {
		t.list, t.full = t.list[:t.limit], true
	}
}

// selection keeps the first places of a listing.
type selection struct {
	top[Place]
	after Place // zero: from the beginning
}

func newSelection(f TokenFilter) *selection {
	p := &selection{after: f.After}
	p.limit, p.compare = f.Limit, Place.compare
	if f.Reverse {
		p.compare = func(a, b Place) int { return b.compare(a) }
	}
	return p
}

func (p *selection) offer(at Place) {
	if (p.after == Place{}) || p.compare(p.after, at) < 0 {
		p.top.offer(at)
	}
}

// hexPrefix is how an id begins, to half a byte.
type hexPrefix struct {
	none  bool // no id begins so
	whole []byte
	half  int // the upper half of the byte that follows; -1: whatever
}

func parseHexPrefix(text string) hexPrefix {
	text = strings.ToLower(text)
	p := hexPrefix{half: -1}
	odd := len(text) % 2
	var err error
	if p.whole, err = hex.DecodeString(text[:len(text)-odd]); err != nil || len(text) > 2*keys.IDSize {
		return hexPrefix{none: true}
	}
	if odd == 1 {
		last, err := hex.DecodeString(text[len(text)-1:] + "0")
		if err != nil {
			return hexPrefix{none: true}
		}
		p.half = int(last[0] >> 4)
	}
	return p
}

func (p *hexPrefix) of(id ID) bool {
	return !p.none && bytes.HasPrefix(id[:], p.whole) && (p.half < 0 || int(id[len(p.whole)]>>4) == p.half)
}
