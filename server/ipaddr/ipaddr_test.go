package ipaddr_test

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"gatehouse/server/ipaddr"
)

func TestClientAddress(t *testing.T) {
	v4 := prefixes("127.0.0.1/32", "10.0.0.0/8")
	v6 := prefixes("::1/128", "2001:db8::/32")
	for _, c := range []struct {
		what    string
		trusted []netip.Prefix
		peer    string
		headers []string
		want    string
	}{
		{"no proxy", nil, "192.0.2.1:5", nil, "192.0.2.1"},
		{"nobody is trusted", nil, "127.0.0.1:5", []string{"203.0.113.9"}, "127.0.0.1"},
		{"an untrusted peer", v4, "192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"},
		{"a trusted peer", v4, "127.0.0.1:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a trusted peer, mapped", v4, "[::ffff:127.0.0.1]:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a trusted peer says nothing", v4, "127.0.0.1:5", nil, "invalid IP"},
		{"a trusted peer says nothing much", v4, "127.0.0.1:5", []string{""}, "invalid IP"},
		{"a spoofed left part", v4, "127.0.0.1:5", []string{"6.6.6.6, 127.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"a spoofed left part in a header of its own", v4, "127.0.0.1:5", []string{"6.6.6.6", "203.0.113.9"}, "203.0.113.9"},
		{"several headers, all proxies", v4, "127.0.0.1:5", []string{"6.6.6.6, 203.0.113.9", "10.0.0.2", "10.0.0.1"}, "203.0.113.9"},
		{"proxies all the way", v4, "127.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"no space", v4, "127.0.0.1:5", []string{"6.6.6.6,203.0.113.9,10.0.0.1"}, "203.0.113.9"},
		{"a port", v4, "127.0.0.1:5", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"v6", v6, "[::1]:5", []string{"2001:db9::1"}, "2001:db9::1"},
		{"v6 through a proxy", v6, "[::1]:5", []string{"6::6, 2001:db9::1, 2001:db8::9"}, "2001:db9::1"},
		{"v6 in brackets", v6, "[::1]:5", []string{"[2001:db9::1]"}, "2001:db9::1"},
		{"v6 in brackets with a port", v6, "[::1]:5", []string{"[2001:db9::1]:80"}, "2001:db9::1"},
		{"v6, mapped", v6, "[::1]:5", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"v6 with a zone", v6, "[::1%lo]:5", []string{"fe80::1%eth0"}, "fe80::1"},
		{"garbage", v4, "127.0.0.1:5", []string{"unknown"}, "invalid IP"},
		{"garbage on the left", v4, "127.0.0.1:5", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		{"garbage behind a proxy", v4, "127.0.0.1:5", []string{"203.0.113.9, unknown, 10.0.0.1"}, "invalid IP"},
		{"an empty part", v4, "127.0.0.1:5", []string{"203.0.113.9,"}, "invalid IP"},
		{"half a bracket", v4, "127.0.0.1:5", []string{"[::1"}, "invalid IP"},
		{"a number too large", v4, "127.0.0.1:5", []string{"256.1.1.1"}, "invalid IP"},
		{"a hidden name", v4, "127.0.0.1:5", []string{"203.0.113.9, _hidden"}, "invalid IP"},
		{"a last header that is empty", v4, "127.0.0.1:5", []string{"203.0.113.9", ""}, "invalid IP"},
		{"a port too large", v4, "127.0.0.1:5", []string{"203.0.113.9:99999"}, "invalid IP"},
		{"a prefix", v4, "127.0.0.1:5", []string{"203.0.113.0/24"}, "invalid IP"},
		{"leading zeros", v4, "127.0.0.1:5", []string{"203.0.113.009"}, "invalid IP"},
		{"v6, mapped, in brackets with a port", v6, "[::1]:5", []string{"[::ffff:203.0.113.9]:80"}, "203.0.113.9"},
		{"v6 with a zone, in brackets with a port", v6, "[::1]:5", []string{"[fe80::1%eth0]:80"}, "fe80::1"},
		{"a proxy, mapped", v4, "127.0.0.1:5", []string{"203.0.113.9, ::ffff:10.0.0.1"}, "203.0.113.9"},
		{"a peer that is not an address", v4, "@", []string{"203.0.113.9"}, "invalid IP"},
	} {
		proxies := c.trusted
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		for _, v := range c.headers {
			r.Header.Add("X-Forwarded-For", v)
		}
		if got := ipaddr.Client(r, proxies).String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}

// TestParsePrefix: an accepted prefix can match, and means what it says.
func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":           "10.0.0.0/8",
		"10.1.2.3/8":           "10.0.0.0/8",
		"10.1.2.3":             "10.1.2.3/32",
		"0.0.0.0/0":            "0.0.0.0/0",
		"2001:db8::1":          "2001:db8::1/128",
		"2001:db8::1/32":       "2001:db8::/32",
		"::/0":                 "::/0",
		"::ffff:10.1.2.3":      "10.1.2.3/32",
		"::ffff:10.1.2.3/128":  "10.1.2.3/32",
		"::ffff:10.0.0.0/104":  "10.0.0.0/8",
		"::ffff:0.0.0.0/96":    "0.0.0.0/0",
		"::ffff:a00:1/128":     "10.0.0.1/32",
		"::ffff:10.0.0.0/8":    "",
		"::ffff:10.0.0.0/95":   "",
		"::ffff:0:0/0":         "",
		"10.0.0.0/33":          "",
		"10.0.0.0/":            "",
		"10.0.0.0/08":          "",
		"010.0.0.0/8":          "",
		"10.0.0/8":             "",
		"fe80::1%eth0":         "",
		"fe80::1%eth0/64":      "",
		"::ffff:10.1.2.3%eth0": "",
		"[2001:db8::1]":        "",
		"10.1.2.3:80":          "",
		" 10.1.2.3":            "",
		"localhost":            "",
		"":                     "",
	} {
		p, err := ipaddr.ParsePrefix(text)
		if err != nil {
			p = netip.Prefix{}
		}
		if got := p.String(); got != want && (want != "" || err == nil) {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
		if err == nil && !p.Contains(p.Addr().Unmap()) {
			t.Errorf("%q: %s contains no client", text, p)
		}
	}
}

// FuzzClientAddress: a client can't choose its address by what it writes, because a
// trusted proxy appends the address on the right.
func FuzzClientAddress(f *testing.F) {
	for _, seed := range []string{"", "6.6.6.6", "6.6.6.6,", ",,,", "[::1]:80, unknown", "10.0.0.1, 10.0.0.2", "\x00", "fe80::1%eth0", strings.Repeat("1,", 100)} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, sent string, behind bool) {
		proxies := prefixes("10.0.0.0/8")
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "203.0.113.9:1"
		r.Header["X-Forwarded-For"] = []string{sent}
		if behind {
			r.RemoteAddr = "10.0.0.1:1"
			r.Header["X-Forwarded-For"] = []string{sent, "203.0.113.9, 10.0.0.2"}
		}
		if got := ipaddr.Client(r, proxies).String(); got != "203.0.113.9" {
			t.Errorf("%q: got %s", sent, got)
		}
	})
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}
