package order

import (
	"net/netip"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
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
			if seenIn(p.addrs[p.seen[n]:], netip.PrefixFrom(a, a.BitLen())) == (n == 2) || seenAt(p.addrs[p.seen[n]:], a) == (n == 2) {
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
