package order

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// TestCompact: what is dropped is what no token refers to, also if that is all there is,
// or nothing.
func TestCompact(t *testing.T) {
	var p part
	p.reserve(0)
	p.compact()
	for n := range byte(4) {
		p.add(keys.ID{1, n, n})
	}
	p.compact()
	where := map[uint32]string{1: "192.0.2.1", 2: "2001:db8::2", 3: "192.0.2.3"}
	for n, addr := range where {
		p.see(n, []record.Seen{{Origin: record.Origin{Address: netip.MustParseAddr(addr)}}})
	}
	p.see(2, nil)
	for range 2 {
		p.compact()
		for n, addr := range where {
			a := netip.MustParseAddr(addr)
			in := networkOf(netip.PrefixFrom(a, a.BitLen()))
			if in.seenIn(p.addrs[p.seen[n]:]) == (n == 2) || seenAt(p.addrs[p.seen[n]:], a) == (n == 2) {
				t.Errorf("token %d is not as it was seen", n)
			}
		}
	}
	p.see(1, nil)
	p.see(3, nil)
	p.compact()
	if len(p.addrs) != 1 || p.unlinked != 0 {
		t.Errorf("%d bytes are left, %d of them unlinked", len(p.addrs), p.unlinked)
	}
}

// TestNameMoves: while the users are read, one may take over the name of another, and be
// read after it while the other was read before.
func TestNameMoves(t *testing.T) {
	named := func(name string) person { return person{folded: name} }
	for first := range uint32(2) {
		var p people
		p.set(0, named("x"))
		p.set(1, named("x"))
		p.set(first, named("y"))
		p.set(1-first, named(""))
		if !slices.Equal(p.sorted, []uint32{first}) {
			t.Errorf("got %v, want only %d", p.sorted, first)
		}
	}
}

// TestGone: tokens without a record count as waste.
func TestGone(t *testing.T) {
	f := &facts{}
	f.dead.reserve(0)
	v := New(table.New(), nil, nil, nil, nil)
	for n := range 70_000 {
		id := keys.ID{1, 1, byte(n), byte(n >> 8), byte(n >> 16)}
		for _, there := range []bool{true, false, true, false, false} {
			f.dead.put(v, f, id, &record.Token{ID: id}, there)
		}
		if got := f.wasteful(0); got != (n >= 1<<16) {
			t.Fatalf("after %d: %v", n+1, got)
		}
	}
}

// TestNetworks compares with net/netip which addresses are in which networks.
func TestNetworks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	addr := func() netip.Addr {
		b := [16]byte{10: 0xff, 11: 0xff}
		for n := range b {
			if r.IntN(3) == 0 {
				b[n] = byte(r.IntN(4) * 64)
			}
		}
		if r.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(b[12:]))
		}
		return netip.AddrFrom16(b)
	}
	inside := 0
	for range 100_000 {
		seen := make([]record.Seen, r.IntN(4))
		for n := range seen {
			seen[n].Address = addr()
		}
		in := addr().Unmap()
		p := netip.PrefixFrom(in, r.IntN(in.BitLen()+1)).Masked()
		want := slices.ContainsFunc(seen, func(s record.Seen) bool { return p.Contains(s.Address.Unmap()) })
		v := networkOf(p)
		if got := v.seenIn(appendSeen(nil, seen)); got != want {
			t.Fatalf("%v in %v: got %v", seen, p, got)
		}
		if want {
			inside++
		}
	}
	if inside < 1000 {
		t.Errorf("only %d were inside", inside)
	}
}
