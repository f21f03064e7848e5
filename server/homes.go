package server

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/storage"
)

// A stranger who guesses must not keep an account's owner out. So the throttle
// remembers from which networks an account has logged in, its homes, and counts the
// failures from each of them apart: while the account is delayed, a right password
// from a home is let in, unless that home has used up its own failures.
//
// A wrong password from a home is answered as if nobody had looked at it. What a
// caller sees thus depends only on the name that was typed, and never tells that
// the account exists, or where its owner logs in from.

const (
	homeKept   = 30 * 24 * time.Hour // after the last login from there
	homeUpdate = 24 * time.Hour      // how old a login may be before a later one is written
	mostHomes  = 32                  // of an account; then the one longest unused goes
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
	p, _ := from.Prefix(bits) // of an unknown address, no network
	return p
}

// homesOf returns those of an account that still count.
func (t *throttle) homesOf(account string) (homes, error) {
	b, err := t.store.Remembered("homes " + account)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	var h homes
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, err
	}
	ended := t.now().Add(-homeKept).UnixMilli()
	maps.DeleteFunc(h, func(_ netip.Prefix, last int64) bool { return last <= ended })
	return h, nil
}

// atHome reports whether the attempt comes from a home of the account.
func (t *throttle) atHome(a attempt) (bool, error) {
	h, err := t.homesOf(a.account)
	_, ok := h[a.network]
	return ok, err
}

// homeBucket is the name of the count of failures from one network.
func homeBucket(account string, network netip.Prefix) string {
	return account + " from " + network.String()
}

// settle notes a login from a network as the account's home.
func (t *throttle) settle(a attempt) {
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
		t.store.Remember("homes "+a.account, b, homeKept)
	}
}

// delay returns how many failures in a row an account has, and until when it is
// delayed, 0 if it is not.
func (t *throttle) delay(account string) (storage.Attempts, error) {
	v, err := t.store.Attempts(account)
	if ahead(v.Until, t.now()) == 0 {
		v.Until = 0
	}
	return v, err
}

// lift forgets the failures of an account, wherever they came from.
func (t *throttle) lift(account string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, err := t.homesOf(account)
	if err != nil {
		return err
	}
	t.forget(account)
	for network := range h {
		t.forget(homeBucket(account, network))
	}
	return nil
}

// forget clears a count, if there is one.
func (t *throttle) forget(bucket string) {
	if v, err := t.store.Attempts(bucket); err != nil || v != (storage.Attempts{}) {
		t.store.SetAttempts(bucket, storage.Attempts{})
	}
}

// pace knows how long the latest checks of a password took. An answer that looks at no
// password takes as long as one of them, so that nobody can tell the two apart.
type pace struct {
	mu     sync.Mutex
	latest [32]time.Duration
	noted  int
}

// longestPace bounds the wait when logins queue up.
const longestPace = time.Second

func (p *pace) note(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest[p.noted%len(p.latest)] = took
	p.noted++
}

// any returns the time that one of the latest checks took. A mean would tell: nothing
// else always takes the same time.
func (p *pace) any() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noted == 0 {
		return 0
	}
	return min(p.latest[rand.IntN(min(p.noted, len(p.latest)))], longestPace)
}

// wait returns when a check that began then would be done.
func (p *pace) wait(ctx context.Context, begun time.Time) {
	timer := time.NewTimer(p.any() - time.Since(begun))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
