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
	ID        string        // the beginning of its id, in lower case
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

// Match selects tokens by properties that the table does not hold. A token must satisfy all
// that is set. The functions must not call the store; a search calls each about
// once for every different value, or owner, and again for tokens whose records it reads.
type Match struct {
	Created, Ends Span // when the token was created, and when it ends, by itself or with its key
	Name, By      func(string) bool
	Limits        func(scopes []string, addresses []netip.Prefix) bool
	Seen          []netip.Prefix // it was seen in each of them
	Owner         func(*Person) bool
	State         func(record.UserState) bool // of the owner. Its answer does not matter for revoked tokens
	Search        []string                    // folded, at most MostWords: each is in the owner's uid or name, or in the token's name or id
	Done          <-chan struct{}             // once it is closed, the search ends, and what it has found is not all
}

// MostWords is how many words a search may have.
const MostWords = 16

// Span is a span of time in ms.
type Span struct {
	From int64 // then or later; 0: any time
	To   int64 // before it; 0: any time
}

// Never is the end of a token that has none.
const Never = math.MaxInt64

// bounds returns the first and the last time of the span.
func (s Span) bounds() (first, last int64) {
	first, last = s.From, s.To-1
	if s.From == 0 {
		first = math.MinInt64
	}
	if s.To == 0 {
		last = math.MaxInt64
	}
	return first, last
}

// has reports whether a time is in the span.
func (s Span) has(ms int64) bool {
	first, last := s.bounds()
	return first <= ms && ms <= last
}

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
