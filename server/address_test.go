package server_test

import (
	"net/http"
	"testing"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestAddressEndToEnd: one address counts: it is shown, compared with lists, and used to
// count logins.
func TestAddressEndToEnd(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.TrustedProxies, c.Logins.AddressFailures = prefixes("10.0.0.0/8"), 1 })
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

// TestUnknownAddress: if a trusted proxy does not tell a client's address, the client is
// nowhere: in no list of addresses, and not where the proxy is.
func TestUnknownAddress(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.TrustedProxies, c.Logins.AddressFailures = prefixes("127.0.0.1/32"), 2 })
	for what, list := range map[string]string{
		"the proxy's own": `["127.0.0.1"]`,
		"everywhere":      `["0.0.0.0/0","::/0"]`,
	} {
		made := h.create(`{"addresses":` + list + `}`)
		for _, forwarded := range []string{"", "unknown", "203.0.113.9, ", "203.0.113.9, _x", "[::1", "<>"} {
			for _, path := range []string{"/api/token", verifyPath} {
				a := h.ask("GET", path).from("127.0.0.1:5").token(made.Secret)
				if a.header("X-Forwarded-For", forwarded).send().code != http.StatusUnauthorized {
					t.Errorf("%s, %s: let in from %q", what, path, forwarded)
				}
			}
		}
		h.ask("GET", "/api/token").from("127.0.0.1:5").token(made.Secret).send().want(http.StatusUnauthorized)
		h.ask("GET", "/api/token").from("127.0.0.1:5").header("X-Forwarded-For", "127.0.0.1").token(made.Secret).send().want(http.StatusOK)
	}

	// A token without addresses works, and keeps the address of its last known use.
	free := h.create(`{}`)
	h.ask("GET", "/api/token").from("127.0.0.1:5").header("X-Forwarded-For", "203.0.113.9").token(free.Secret).send().want(http.StatusOK)
	h.ask("GET", "/api/token").from("127.0.0.1:5").header("X-Forwarded-For", "unknown").token(free.Secret).send().want(http.StatusOK)
	if got := adminToken(h, free.ID); got.LastAddress != "203.0.113.9" || got.Uses != 2 {
		t.Errorf("got lastAddress %q after %d uses", got.LastAddress, got.Uses)
	}

	// Guesses from nowhere are counted together, and apart from everybody else's.
	guess := func(name, forwarded string) answer {
		return h.ask("POST", userpassPath).from("127.0.0.1:5").header("X-Forwarded-For", forwarded).form("username=" + name + "&password=x").send()
	}
	guess("a", "unknown").want(http.StatusUnauthorized)
	guess("b", "").want(http.StatusUnauthorized)
	guess("c", "_x").want(http.StatusTooManyRequests)
	guess("d", "127.0.0.1").want(http.StatusUnauthorized)
	h.token() // an event is written after those that were noted before it
	seen := map[string]bool{}
	for e := range must.All(h.admin.Events(t.Context(), api.EventQuery{}))(t) {
		if e.Action == storage.ActionLoginRefused {
			seen[e.Address] = true
		}
	}
	if !seen["unknown"] || !seen["127.0.0.1"] || len(seen) != 2 {
		t.Errorf("the events name the addresses %v", seen)
	}
}
