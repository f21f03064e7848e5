package order

import (
	"net/netip"
	"testing"

	"gatehouse/storage/record"
)

// TestCompact: what is dropped is what no fact refers to, also if that is all there is,
// or nothing.
func TestCompact(t *testing.T) {
	newFacts(0).compact()
	newFacts(3).compact()

	f := newFacts(3)
	seen := func(addr string) []record.Seen {
		return []record.Seen{{Origin: record.Origin{Address: netip.MustParseAddr(addr)}}}
	}
	for n, addr := range map[uint32]string{1: "192.0.2.1", 2: "2001:db8::2", 3: "192.0.2.3"} {
		f.set(n, &record.Token{Usage: record.Usage{Seen: seen(addr)}})
	}
	f.unsee(2)
	for range 2 {
		f.compact()
		for n, want := range map[uint32]string{1: "192.0.2.1", 3: "192.0.2.3"} {
			var row Row
			if !f.fill(&row, n, true) || len(row.Usage.Seen) != 1 || row.Usage.Seen[0].Address.String() != want {
				t.Errorf("fact %d: got %v, want %s", n, row.Usage.Seen, want)
			}
		}
		if f.fill(new(Row), 2, true) {
			t.Error("fact 2 is known, and its addresses were forgotten")
		}
	}
	f.unsee(1)
	f.unsee(3)
	f.compact()
	if len(f.seen) > 0 || f.spoilt != 0 {
		t.Errorf("%d bytes are left, %d of them spoilt", len(f.seen), f.spoilt)
	}
}
