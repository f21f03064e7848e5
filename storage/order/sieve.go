package order

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

// By is the order of a listing. Equal entries are sorted by id, or uid.
type By byte

// The orders. Users are also sorted by Name, which is their uid, and by Tokens.
const (
	LastUsed By = iota
	Created
	Name
	Tokens
)

// TokenFilter selects tokens for a listing.
type TokenFilter struct {
	Owner     record.UserID // 0: everybody's
	Prefix    string        // of the id, or of the owner's uid, compared without regard to case
	IdleSince int64         // ms: not used after it; 0: any
	NeverUsed bool
	Revoked   bool // include revoked tokens, and those of removed users
	Order     By   // LastUsed or Created
	Reverse   bool
	After     Place  // only tokens after it in the listing
	Limit     int    // 0: all
	Match     *Match // nil: any
}

// Place is the place of a token in a listing: its time in the listing's order,
// and its id.
type Place struct {
	At int64 // ms
	ID keys.ID
}

// Compare compares as cmp.Compare does.
func (a Place) Compare(b Place) int {
	if a.At != b.At {
		return cmp.Compare(a.At, b.At)
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

// Sieve is a TokenFilter prepared for the table.
type Sieve struct {
	TokenFilter
	prefix  hexPrefix
	numbers []uint32  // of the owners with a uid that has the prefix
	owners  bitmap    // the same
	few     []keys.ID // all tokens that can have the prefix or the owner, if they are few; otherwise nil
	number  uint32    // of the owner
}

// Sieve prepares a filter: it finds the users with uids that have its prefix.
func (v *Views) Sieve(f TokenFilter) (Sieve, error) {
	s := Sieve{TokenFilter: f}
	if f.Owner != 0 {
		_, s.number, _ = v.table.Owners.Find(f.Owner)
	}
	if f.Prefix == "" {
		return s, nil
	}
	s.prefix = parseHexPrefix(f.Prefix)
	if len(s.prefix.whole) > 0 && !v.live(s.prefix.whole[0]) {
		s.prefix = hexPrefix{none: true} // an id begins with the number of its key
	}
	var err error
	s.numbers, err = v.withPrefix(f.Prefix)
	for _, n := range s.numbers {
		s.owners.add(n)
	}
	return s, err
}

// mostFew is the largest number of tokens that counts as few.
const mostFew = 2000

// narrow finds the tokens of the owner, or those that can have a long prefix, among the
// tokens of the owners and in the shard of the id.
func (v *Views) narrow(s *Sieve, o *tokens) error {
	if s.Revoked {
		return nil
	}
	if s.Owner != 0 {
		if int(s.number) < len(o.held) && o.held[s.number].Tokens > mostFew {
			return nil
		}
		s.few = []keys.ID{}
		return v.index.Held(s.Owner, func(id keys.ID, _ int64) { s.few = append(s.few, id) })
	}
	all := 0
	for _, n := range s.numbers {
		if int(n) < len(o.held) {
			all += o.held[n].Tokens
		}
	}
	if s.Prefix == "" || all > mostFew || len(s.numbers) > mostFew/10 || !s.prefix.none && len(s.prefix.whole) < 2 {
		return nil
	}
	s.few = []keys.ID{}
	if !s.prefix.none {
		v.table.EachIn(s.prefix.whole[1], func(e table.Entry) {
			if s.prefix.of(e.ID) && !s.owners.has(e.Owner) {
				s.few = append(s.few, e.ID)
			}
		})
	}
	for _, n := range s.numbers {
		err := v.index.Held(v.table.Owners.At(n).ID, func(id keys.ID, _ int64) { s.few = append(s.few, id) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Takes reports whether the filter takes a token, regardless of its place.
func (v *Sieve) Takes(id keys.ID, owner uint32, used record.LastUse) bool {
	switch {
	case v.NeverUsed && used&1 != 0:
	case v.IdleSince != 0 && int64(used>>1) > v.IdleSince:
	case v.Prefix != "" && !v.owners.has(owner) && !v.prefix.of(id):
	default:
		return true
	}
	return false
}

// top keeps the first of the offered elements, in an order.
type top[T any] struct {
	compare func(a, b T) int
	limit   int // 0: keep all
	list    []T // cut sorts it and shortens it to the limit
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
	p.limit, p.compare = f.Limit, Place.Compare
	if f.Reverse {
		p.compare = func(a, b Place) int { return b.Compare(a) }
	}
	return p
}

// offer adds a place, unless it comes before what the filter asks for.
func (p *selection) offer(at Place) {
	if (p.after == Place{}) || p.compare(p.after, at) < 0 {
		p.top.offer(at)
	}
}

// sorted returns the first places in the filter's order, up to its limit.
func (p *selection) sorted() []Place {
	p.cut()
	return p.list
}

// hexPrefix is the beginning of an id, with a precision of half a byte.
type hexPrefix struct {
	none  bool // no id begins like this
	whole []byte
	half  int // the upper half of the next byte; -1: any
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

func (p *hexPrefix) of(id keys.ID) bool {
	return !p.none && bytes.HasPrefix(id[:], p.whole) && (p.half < 0 || int(id[len(p.whole)]>>4) == p.half)
}
