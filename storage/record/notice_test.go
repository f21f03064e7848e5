package record

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
)

// TestNoticeID: a log of JSON has the same id as one of text, and not a list of numbers.
func TestNoticeID(t *testing.T) {
	if got, err := json.Marshal(NoticeID{0: 0x0a, 15: 0xff}); err != nil || string(got) != `"0a0000000000000000000000000000ff"` {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestNoticeWith: a target that has got a notice in one of two stores has got it, in either
// order.
func TestNoticeWith(t *testing.T) {
	body := []byte(`{}`)
	fresh := Notice{Left: []string{"command", "mail"}, Body: body}
	some := Notice{Left: []string{"mail"}, Body: body}
	other := Notice{Left: []string{"command"}, Body: body}
	done := Notice{Done: 5}
	for _, c := range []struct{ a, b, want Notice }{
		{fresh, fresh, fresh}, {fresh, some, some}, {fresh, done, done}, {some, done, done},
		{some, other, Notice{}}, {done, Notice{Done: 7}, Notice{Done: 7}},
	} {
		for _, got := range []Notice{c.a.With(c.b), c.b.With(c.a)} {
			if len(got.Left) == 0 {
				got.Left = nil
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v with %+v: got %+v, want %+v", c.a, c.b, got, c.want)
			}
		}
	}
}

// TestKnownWith: the earlier end and the later step count, and all networks.
func TestKnownWith(t *testing.T) {
	a, b := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48")
	for _, c := range []struct{ a, b, want Known }{
		{Known{}, Known{End: 9, Before: 3}, Known{End: 9, Before: 3}},
		{Known{End: 9, Before: 7}, Known{End: 9, Before: 3}, Known{End: 9, Before: 3}},
		{Known{End: 9, Before: 1}, Known{End: 8, Before: 3}, Known{End: 8, Before: 3}},
		{Known{Networks: []netip.Prefix{a}}, Known{Networks: []netip.Prefix{a}}, Known{Networks: []netip.Prefix{a}}},
	} {
		for _, got := range []Known{c.a.With(c.b), c.b.With(c.a)} {
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v with %+v: got %+v, want %+v", c.a, c.b, got, c.want)
			}
		}
	}
	both := Known{Networks: []netip.Prefix{a}}.With(Known{Networks: []netip.Prefix{b}})
	if !both.HasNetwork(a) || !both.HasNetwork(b) || both.HasNetwork(netip.MustParsePrefix("10.0.0.0/24")) {
		t.Errorf("got %v", both.Networks)
	}
	for n := range 2 * MaxNetworks {
		both.AddNetwork(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n), 0}), 24))
	}
	if len(both.Networks) != MaxNetworks || both.HasNetwork(a) {
		t.Errorf("%d networks are known", len(both.Networks))
	}
}
