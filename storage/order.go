package storage

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A page of a listing of tokens is found by looking at all of the table, in
// memory and in the order in which it lies there: a million tokens are 32 MB,
// which take a few milliseconds, and of which the page keeps only its own rows.
// So there is no index to keep up with the uses: a page is exact when it is
// asked for, verification does nothing for it, and while nobody asks it costs
// no memory.

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
	return cmp.Or(cmp.Compare(a.At, b.At), bytes.Compare(a.ID[:], b.ID[:]))
}

// sieve is a TokenFilter made ready for the slots of the table.
type sieve struct {
	TokenFilter
	prefix hexPrefix
	owners bitmap // whose uid has the prefix
}

func (s *Store) sieve(f TokenFilter) (v sieve, err error) {
	v.TokenFilter = f
	if f.Prefix == "" {
		return v, nil
	}
	v.prefix = parseHexPrefix(f.Prefix)
	numbers, err := s.withPrefix(f.Prefix)
	for _, n := range numbers {
		v.owners.add(n)
	}
	return v, err
}

// takes reports whether the filter takes a token, its place apart.
func (v *sieve) takes(id ID, owner uint32, used lastUse) bool {
	switch {
	case v.NeverUsed && used&1 != 0:
	case v.IdleSince != 0 && int64(used>>1) > v.IdleSince:
	case v.Prefix != "" && !v.owners.has(owner) && !v.prefix.of(id):
	default:
		return true
	}
	return false
}

// sift offers the tokens of a shard to the selection, as far as the filter
// takes them.
func (v *sieve) sift(sh *shard, to *selection) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for first := 0; first < sh.n; first += chunkSlots {
		slots := sh.chunks[first/chunkSlots][:min(chunkSlots, sh.n-first)]
		for i := range slots {
			s := &slots[i]
			used := lastUse(s.used.Load())
			at := int64(used >> 1)
			if v.Order == ByCreated {
				at = sh.created[first+i]
			}
			if at < to.low || at > to.high || !v.takes(s.id, s.owner, used) {
				continue
			}
			to.offer(Place{at, s.id})
		}
	}
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

// selection keeps the first places of a listing, or only counts them.
type selection struct {
	top[Place]
	reverse   bool
	after     Place // zero: from the beginning
	low, high int64 // between which a time may still count
	counting  bool
	n         int
}

func newSelection(f TokenFilter) *selection {
	p := &selection{reverse: f.Reverse, after: f.After, low: math.MinInt64, high: math.MaxInt64}
	p.limit, p.compare = f.Limit, Place.compare
	if p.reverse {
		p.compare = func(a, b Place) int { return b.compare(a) }
	}
	switch {
	case p.after == Place{}:
	case p.reverse:
		p.high = p.after.At
	default:
		p.low = p.after.At
	}
	return p
}

func (p *selection) offer(at Place) {
	if p.counting {
		p.n++
		return
	}
	if (p.after != Place{}) && p.compare(at, p.after) <= 0 {
		return
	}
	p.top.offer(at)
	switch {
	case !p.full:
	case p.reverse:
		p.low = p.list[p.limit-1].At
	default:
		p.high = p.list[p.limit-1].At
	}
}

// sifters is how many look at the table at once.
const sifters = 4

// siftAll looks at the whole table, and returns what it selects.
func (t *table) siftAll(v *sieve, counting bool) *selection {
	parts := make([]*selection, min(sifters, runtime.GOMAXPROCS(0)))
	var next atomic.Int32
	var wg sync.WaitGroup
	for w := range parts {
		parts[w] = newSelection(v.TokenFilter)
		parts[w].counting = counting
		wg.Go(func() {
			for n := next.Add(1) - 1; n < shardCount; n = next.Add(1) - 1 {
				v.sift(&t.shards[n], parts[w])
			}
		})
	}
	wg.Wait()
	all := parts[0]
	for _, p := range parts[1:] {
		all.list = append(all.list, p.list...)
		all.n += p.n
	}
	all.cut()
	return all
}

// bitmap is a set of small numbers.
type bitmap []uint64

func (b *bitmap) add(n uint32) {
	for int(n/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n uint32) bool {
	return int(n/64) < len(b) && b[n/64]&(1<<(n%64)) != 0
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
	if p.whole, err = hex.DecodeString(text[:len(text)-odd]); err != nil || len(text) > 2*idLen {
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
