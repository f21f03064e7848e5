package order_test

import (
	"slices"
	"sync"
	"testing"

	"gatehouse/storage/order"
	"gatehouse/storage/record"
)

// TestManyTokens: pages get full, so that most tokens need not be looked at. They are the same
// as without that, wherever they begin.
func TestManyTokens(t *testing.T) {
	h := newHouse(t, 9)
	for n := range 8000 {
		h.now += h.rand.Int64N(20)
		h.addToken()
		if n%16 == 0 {
			h.step()
		}
	}
	rich := anyOf(h.rand, h.users)
	for rich.removed {
		rich = anyOf(h.rand, h.users)
	}
	for range 3000 {
		h.addTokenOf(rich)
	}
	for n := range 60 {
		f := h.filter()
		f.Match, f.Prefix, f.Owner = nil, "", 0 // these leave few tokens
		if n%2 == 0 {
			f.Owner = rich.id
		}
		takes := func(*token) bool { return true }
		if h.rand.IntN(4) > 0 {
			f.Match, takes = h.match()
		}
		want := h.places(f, takes)
		if n, err := h.views.Count(f); n != len(want) || err != nil {
			t.Fatalf("%+v: counted %d, %v, want %d", f, n, err, len(want))
		}
		if len(want) > 0 && h.rand.IntN(2) == 0 {
			n := h.rand.IntN(len(want))
			f.After, want = want[n], want[n+1:]
		}
		f.Limit = 1 + h.rand.IntN(60)
		want = want[:min(f.Limit, len(want))]
		if got, err := h.views.Places(f); !slices.Equal(got, want) || err != nil {
			t.Fatalf("%+v: %v, got\n%v\nwant\n%v", f, err, got, want)
		}
	}
}

// TestSearchEnds: when nobody waits any more, a search stops.
func TestSearchEnds(t *testing.T) {
	h := newHouse(t, 4)
	for what, m := range map[string]order.Match{"table": {}, "facts": {Created: order.Span{From: 1}}} {
		done := make(chan struct{})
		gone := sync.OnceFunc(func() { close(done) })
		m.Done, m.State = done, func(record.UserState) bool {
			gone()
			return true
		}
		list, err := h.views.Places(order.TokenFilter{Match: &m})
		if len(list) > 20 || err != nil {
			t.Errorf("%s: found %d tokens after the end, %v", what, len(list), err)
		}
	}
}
