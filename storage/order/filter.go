package order

import (
	"bytes"
	"cmp"
	"math"
	"net/netip"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
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
	UsedSince int64         // ms: used then or later; 0: any
	NeverUsed bool
	Revoked   bool // include revoked tokens, and those of removed users
	Order     By   // LastUsed or Created
	Reverse   bool
	After     Place  // only tokens after it in the listing
	Limit     int    // 0: all
	Match     *Match // nil: any
}

// Match selects tokens by properties that the table does not hold.
type Match struct {
	Takes func(*Row) bool // the row is valid during the call

	// What Takes reads besides the last use and the states of token and owner:
	Times  bool // when it was created, and ends
	Texts  bool // the token's name, maker, scopes and addresses
	Seen   bool // where the token was seen: only Row.SeenIn tells
	Person bool // the owner

	// Tokens that Takes would refuse; they are skipped without calling it:
	Limited bool                                 // tokens without an expiry, scopes and addresses
	During  func(created, ends int64) bool       // nil, or false for tokens with other times, in ms; ends is 0: never
	Owner   func(record.UserState, *Person) bool // nil, or false for other owners; the person is nil unless Person is set
}

// Row is what a Match can look at: a token and its owner. The token's own fields for the
// owner, the generation, the counts and the uses are not set.
type Row struct {
	record.Token
	Person *Person // its owner
	Number uint32  // the owner's; NoNumber: the owner is unknown
	seen   []byte
}

// SeenIn reports whether the token was seen in a network.
func (r *Row) SeenIn(p netip.Prefix) bool { return seenIn(r.seen, p) }

// NoNumber is the number of an owner who has no record.
const NoNumber = math.MaxUint32

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
	if t.limit > 0 && len(t.list) >= max(2*t.limit, 256) {
		t.cut()
	}
}

func (t *top[T]) cut() {
	slices.SortFunc(t.list, t.compare)
	// A token that died during the search may be there twice.
	t.list = slices.CompactFunc(t.list, func(a, b T) bool { return t.compare(a, b) == 0 })
	if t.limit > 0 && len(t.list) >= t.limit {
		t.list, t.full = t.list[:t.limit], true
	}
}

// selection keeps the first places of a listing, or only counts.
type selection struct {
	top[Place]
	after   Place // zero: from the beginning
	reverse bool
	count   bool
	n       int
}

func newSelection(f TokenFilter) *selection {
	p := &selection{after: f.After, reverse: f.Reverse}
	p.limit, p.compare = f.Limit, Place.Compare
	if f.Reverse {
		p.compare = func(a, b Place) int { return b.Compare(a) }
	}
	return p
}

// span returns the times between which places may still be on the page.
func (p *selection) span() (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	first, last := &from, &to
	if p.reverse {
		first, last = &to, &from
	}
	if p.after != (Place{}) {
		*first = p.after.At
	}
	if p.full {
		*last = p.list[p.limit-1].At
	}
	return from, to
}

// offer adds a place, unless it comes before what the filter asks for.
func (p *selection) offer(at Place) {
	switch {
	case p.count:
		p.n++
	case p.after == Place{}, p.compare(p.after, at) < 0:
		p.top.offer(at)
	}
}

// sorted returns the first places in the filter's order, up to its limit.
func (p *selection) sorted() []Place {
	p.cut()
	return p.list
}
