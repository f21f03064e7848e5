package guard

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// A stranger who guesses must not keep an account's owner out. So the throttle
// remembers from which networks an account has logged in, its homes, and counts the
// failures from each of them separately: while the account is delayed, a right password
// from a home is let in, unless that home has used up its own failures.
//
// A wrong password from a home is answered as if nobody had looked at it. So what a
// caller sees depends only on the name that was typed, and never tells that
// the account exists, or where its owner logs in from.

const (
	homeKept   = 30 * 24 * time.Hour // after the last login from there
	homeUpdate = 24 * time.Hour      // how old a login may be before a later one is written
	mostHomes  = 32                  // of an account; beyond that, the one unused for longest is dropped
)

// homes are the networks that an account has logged in from, and when it last did, in
// milliseconds.
type homes map[netip.Prefix]int64

// networkOf is the network that an address belongs to: a /24, or a /48 of IPv6.
func networkOf(from netip.Addr) netip.Prefix {
	bits := 24
	if from.Is6() {
		bits = 48
	}
	p, _ := from.Prefix(bits) // an unknown address has no network
	return p
}

// homesOf returns those of an account that still count.
func (t *Throttle) homesOf(account string) (homes, error) {
	h, err := recalled[homes](t, "homes "+account)
	if err != nil {
		return nil, err
	}
	ended := t.now().Add(-homeKept).UnixMilli()
	maps.DeleteFunc(h, func(_ netip.Prefix, last int64) bool { return last <= ended })
	return h, nil
}

// atHome reports whether the attempt comes from a home of the account.
func (t *Throttle) atHome(a Attempt) (bool, error) {
	h, err := t.homesOf(a.account)
	_, ok := h[a.network]
	return ok, err
}

// settle notes a login from a network as the account's home.
func (t *Throttle) settle(a Attempt) {
	now := t.now().UnixMilli()
	h, err := t.homesOf(a.account)
	if age := now - h[a.network]; !a.network.IsValid() || err == nil && age >= 0 && age < homeUpdate.Milliseconds() {
		return
	}
	if h == nil {
		h = homes{}
	}
	h[a.network] = now
	for len(h) > mostHomes {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(h)), func(a, b netip.Prefix) int { return int(h[a] - h[b]) })
		delete(h, oldest)
	}
	if b, err := json.Marshal(h); err == nil {
		t.counts.Put("homes "+a.account, b, homeKept)
	}
}
