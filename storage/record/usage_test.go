package record_test

import (
	"net/netip"
	"reflect"
	"testing"

	"gatehouse/storage/record"
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
