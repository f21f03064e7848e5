package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
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
		{"a trusted peer says nothing", v4, "127.0.0.1:5", nil, "127.0.0.1"},
		{"a trusted peer says nothing much", v4, "127.0.0.1:5", []string{""}, "127.0.0.1"},
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
		{"garbage", v4, "127.0.0.1:5", []string{"unknown"}, "127.0.0.1"},
		{"garbage on the left", v4, "127.0.0.1:5", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		{"garbage behind a proxy", v4, "127.0.0.1:5", []string{"203.0.113.9, unknown, 10.0.0.1"}, "10.0.0.1"},
		{"an empty part", v4, "127.0.0.1:5", []string{"203.0.113.9,"}, "127.0.0.1"},
		{"half a bracket", v4, "127.0.0.1:5", []string{"[::1"}, "127.0.0.1"},
		{"a number too large", v4, "127.0.0.1:5", []string{"256.1.1.1"}, "127.0.0.1"},
		{"a peer that is no address", v4, "@", []string{"203.0.113.9"}, "invalid IP"},
	} {
		s := new(Server)
		s.settings.Store(&Config{TrustedProxies: c.trusted})
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		for _, v := range c.headers {
			r.Header.Add("X-Forwarded-For", v)
		}
		if got := s.clientAddress(r).String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}

// TestAddressEndToEnd: the address that counts is the one that is shown, that
// lists are compared with, and that logins are counted by.
func TestAddressEndToEnd(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TrustedProxies, c.Logins.AddressFailures = prefixes("10.0.0.0/8"), 1 })
	made := h.create(`{"addresses":["203.0.113.0/24"]}`)
	through := func(peer, forwarded string) answer {
		return h.ask("GET", "/api/token").from(peer).header("X-Forwarded-For", forwarded).token(made.Secret).send()
	}
	through("10.0.0.1:5", "203.0.113.9").want(http.StatusOK)
	if got := adminToken(h, made.ID).LastAddress; got != "203.0.113.9" {
		t.Errorf("got lastAddress %q", got)
	}
	through("10.0.0.1:5", "203.0.113.9, 198.51.100.1").want(http.StatusUnauthorized)
	through("198.51.100.1:5", "203.0.113.9").want(http.StatusUnauthorized)

	guess := func(n, forwarded string) answer {
		return h.ask("POST", userpassPath).from("10.0.0.1:5").header("X-Forwarded-For", forwarded).form("username=" + n + "&password=x").send()
	}
	guess("a", "1.1.1.1, 203.0.113.9").want(http.StatusUnauthorized)
	guess("b", "2.2.2.2, 203.0.113.9").want(http.StatusTooManyRequests)
	guess("c", "203.0.113.10").want(http.StatusUnauthorized)
}

// FuzzClientAddress: whatever a client writes, it does not choose its address,
// which a trusted proxy appended on the right.
func FuzzClientAddress(f *testing.F) {
	for _, seed := range []string{"", "6.6.6.6", "6.6.6.6,", ",,,", "[::1]:80, unknown", "10.0.0.1, 10.0.0.2", "\x00", "fe80::1%eth0", strings.Repeat("1,", 100)} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, sent string, behind bool) {
		s := new(Server)
		s.settings.Store(&Config{TrustedProxies: prefixes("10.0.0.0/8")})
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "203.0.113.9:1"
		r.Header["X-Forwarded-For"] = []string{sent}
		if behind {
			r.RemoteAddr = "10.0.0.1:1"
			r.Header["X-Forwarded-For"] = []string{sent, "203.0.113.9, 10.0.0.2"}
		}
		if got := s.clientAddress(r).String(); got != "203.0.113.9" {
			t.Errorf("%q: got %s", sent, got)
		}
	})
}
