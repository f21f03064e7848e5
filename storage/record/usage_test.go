package record_test

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

func FuzzUsage(f *testing.F) {
	r := record.UsageRecord{Used: record.UsedAt(1000), Mark: 7}
	r.Count(5, 3)
	r.Saw(record.Seen{record.Origin{netip.MustParseAddr("192.0.2.7"), "curl/8.5"}, 1000})
	f.Add(r.Value())
	f.Add([]byte{0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := record.ParseUsage(b)
		if err != nil {
			return
		}
		again, err := record.ParseUsage(r.Value())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("got %+v, %v, want %+v", again, err, r)
		}
	})
}

// TestParseSeen: it reads the addresses that ParseUsage reads, into the same memory each
// time, and finds the same damage.
func TestParseSeen(t *testing.T) {
	var r record.UsageRecord
	for n := range record.MaxSeen + 1 {
		in := record.UsageRecord{Used: record.UsedAt(int64(n)), Mark: 7}
		for day := range int32(n) {
			in.Count(20000+day, 3)
			in.Saw(record.Seen{record.Origin{netip.AddrFrom4([4]byte{10, 0, 0, byte(day)}), "curl"}, int64(day)})
		}
		b := in.Value()
		want := must.Get(record.ParseUsage(b))(t)
		for i := range want.Seen {
			want.Seen[i].Agent = ""
		}
		if err := r.ParseSeen(b); err != nil || r.Used != in.Used || !slices.Equal(r.Seen, want.Seen) || len(r.PerDay) > 0 {
			t.Errorf("%d addresses: got %+v, %v", n, r, err)
		}
		for end := range b {
			_, whole := record.ParseUsage(b[:end])
			if err := r.ParseSeen(b[:end]); err == nil || whole == nil {
				t.Errorf("%d of %d bytes are read", end, len(b))
			}
		}
		if n := testing.AllocsPerRun(10, func() { r.ParseSeen(b) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// TestUsageFirst: the first use stays when others are seen later, and when usages are added.
func TestUsageFirst(t *testing.T) {
	seen := func(address string, ms int64) record.Seen {
		return record.Seen{Origin: record.Origin{Address: netip.MustParseAddr(address)}, Time: ms}
	}
	var u, all record.Usage
	u.Saw(record.Seen{Time: 1}) // from no address
	for n, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"} {
		u.Saw(seen(a, int64(n+2)))
	}
	all.Add(&u)
	all.Add(&record.Usage{First: netip.MustParseAddr("192.0.2.9")})
	if want := netip.MustParseAddr("192.0.2.1"); u.First != want || all.First != want {
		t.Errorf("got %v and %v, want %v", u.First, all.First, want)
	}
}
