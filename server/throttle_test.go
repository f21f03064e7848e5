package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// roomy keeps the limit by address out of a test of the limit by account.
func roomy(c *config.Config) { c.Logins.AddressFailures = 60_000 }

// retryAfter returns the seconds that a 429 asks for.
func (a answer) retryAfter() time.Duration {
	a.Helper()
	a.want(http.StatusTooManyRequests, `{"error":"Too many failed logins: try again later"}`)
	n, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil {
		a.Fatalf("%s: Retry-After: %v", a.what, err)
	}
	return time.Duration(n) * time.Second
}

// TestDelayDoubles walks the whole staircase, for a user that exists and for one that
// does not: they look the same.
func TestDelayDoubles(t *testing.T) {
	for _, uid := range []string{alice, "nobody@example.com", "no address at all"} {
		h := newHouse(t, roomy)
		for range 5 {
			h.userpass(uid, "wrong").want(http.StatusUnauthorized, invalidCredentials)
		}
		for _, want := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} {
			delay := time.Duration(want) * time.Second
			if got := h.userpass(uid, password).retryAfter(); got != delay {
				t.Errorf("%s: got Retry-After %v, want %v", uid, got, delay)
			}
			h.clock.Move(delay - time.Millisecond)
			if got := h.userpass(uid, "wrong").retryAfter(); got != time.Second {
				t.Errorf("%s: got Retry-After %v a millisecond before the end, want 1s", uid, got)
			}
			h.ask("POST", "/api/login").form("username=" + uid + "&password=x").send().want(http.StatusTooManyRequests)
			h.clock.Move(time.Millisecond)
			h.userpass(uid, "wrong").want(http.StatusUnauthorized, invalidCredentials)
		}
	}
}

func TestSuccessForgets(t *testing.T) {
	h := newHouse(t, roomy)
	for range 3 {
		for range 4 {
			h.userpass(alice, "wrong").want(http.StatusUnauthorized)
		}
		h.userpass(alice, password).want(http.StatusOK)
	}
	for range 5 {
		h.userpass(alice, "wrong").want(http.StatusUnauthorized)
	}
	h.userpass(alice, password).want(http.StatusTooManyRequests)
	h.clock.Move(time.Second)
	h.userpass(alice, password).want(http.StatusOK)
	for range 5 {
		h.userpass(alice, "wrong").want(http.StatusUnauthorized)
	}
	h.userpass(alice, "wrong").want(http.StatusTooManyRequests)
}

// TestSpellings: ten spellings of one name share a bucket, also with the right name.
func TestSpellings(t *testing.T) {
	storagetest.Slow(t)
	spellings := []string{
		"alice@example.com", "ALICE@EXAMPLE.COM", "Alice@Example.com", " alice@example.com", "alice@example.com\t",
		"ａｌｉｃｅ@example.com", "ＡＬＩＣＥ＠ＥＸＡＭＰＬＥ．ＣＯＭ", "alice＠example.com", "\u00a0alice@example.com\u3000", "ALI\u212d\u0045@example.com",
	}
	for i := range spellings {
		h := newHouse(t, roomy)
		for n := range 5 {
			h.userpass(spellings[(i+2*n)%len(spellings)], "wrong").want(http.StatusUnauthorized, invalidCredentials)
		}
		for _, s := range spellings {
			h.userpass(s, password).want(http.StatusTooManyRequests)
		}
	}
	h := newHouse(t, roomy)
	for range 5 {
		h.userpass(alice, "wrong").want(http.StatusUnauthorized)
	}
	h.addUser("alice2@example.com", password)
	h.userpass("alice2@example.com", password).want(http.StatusOK)
}

func TestThrottleOverRestart(t *testing.T) {
	h := newHouse(t)
	for range 7 {
		h.userpass(alice, "wrong")
		h.clock.Move(2 * time.Second)
	}
	h.userpass("bob@example.com", "wrong").want(http.StatusUnauthorized)
	for range 2 {
		h.close()
		h.open()
		if got := h.userpass(alice, password).retryAfter(); got != 2*time.Second {
			t.Errorf("got Retry-After %v, want 2s", got)
		}
		h.userpass("carol@example.com", "wrong").want(http.StatusUnauthorized)
	}
	h.clock.Move(2 * time.Second)
	h.userpass(alice, "wrong").want(http.StatusUnauthorized)
	if got := h.userpass(alice, "wrong").retryAfter(); got != 8*time.Second {
		t.Errorf("got Retry-After %v, want 8s: the failures before the restart count", got)
	}
}

// TestClockSetBack: a clock that is put right locks nobody out.
func TestClockSetBack(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Logins.AddressFailures = 6 })
	h.clock.Move(365 * 24 * time.Hour)
	for range 6 {
		h.userpass(alice, "wrong").want(http.StatusUnauthorized)
		h.clock.Move(time.Second)
	}
	h.userpass(alice, password).want(http.StatusTooManyRequests)
	h.clock.Move(-365 * 24 * time.Hour)
	h.userpass(alice, password).want(http.StatusOK)
	h.userpass(alice, "wrong").want(http.StatusUnauthorized)
}

// TestParallelGuesses: side by side, no more guesses get in than one after
// another.
func TestParallelGuesses(t *testing.T) {
	for _, uid := range []string{alice, "nobody@example.com"} {
		h := newHouse(t, roomy)
		h.hashWith(guard.NewHasher(cheap, 64, 1024))
		h.userpass(uid, "wrong").want(http.StatusUnauthorized)
		codes := map[int]int{}
		for code := range together(100, func(i int) int {
			spelling := uid
			if i%2 == 0 {
				spelling = " " + uid
			}
			return h.userpass(spelling, fmt.Sprint("guess ", i)).code
		}) {
			codes[code]++
		}
		if codes[http.StatusUnauthorized] != 4 || codes[http.StatusTooManyRequests] != 96 {
			t.Errorf("%s: got %v, want 4 of 401 and 96 of 429", uid, codes)
		}
	}
}

// together runs a function n times side by side and yields what each returned.
func together(n int, f func(i int) int) <-chan int {
	out := make(chan int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out <- f(i) })
	}
	go func() {
		wg.Wait()
		close(out)
	}()
	return out
}

func TestAddressLimit(t *testing.T) {
	storagetest.Slow(t)
	h := newHouse(t)
	fail := func(n int, from string) answer {
		return h.ask("POST", userpassPath).from(from).form(fmt.Sprintf("username=u%d@example.com&password=x", n)).send()
	}
	for n := range 100 {
		fail(n, "198.51.100.7:1000").want(http.StatusUnauthorized)
	}
	if got := fail(100, "198.51.100.7:2000").retryAfter(); got != time.Minute {
		t.Errorf("got Retry-After %v, want 1m", got)
	}
	h.ask("POST", userpassPath).from("198.51.100.7:1").json(toJSON(map[string]string{"username": alice, "password": password})).send().want(http.StatusTooManyRequests)
	fail(100, "198.51.100.8:1000").want(http.StatusUnauthorized)
	fail(100, "[::ffff:198.51.100.7]:1").want(http.StatusTooManyRequests)

	h.clock.Move(59 * time.Second)
	if got := fail(102, "198.51.100.7:1000").retryAfter(); got != time.Second {
		t.Errorf("got Retry-After %v, want 1s", got)
	}
	h.clock.Move(time.Second)
	for n := range 100 {
		fail(200+n, "198.51.100.7:1000").want(http.StatusUnauthorized)
	}
	fail(300, "198.51.100.7:1000").want(http.StatusTooManyRequests)

	for n := range 100 { // one household
		fail(400+n, fmt.Sprintf("[2001:db8:1:2:%x::%x]:1", n, n)).want(http.StatusUnauthorized)
	}
	fail(500, "[2001:db8:1:2:ffff::1]:1").want(http.StatusTooManyRequests)
	fail(500, "[2001:db8:1:3::1]:1").want(http.StatusUnauthorized)
}

// TestAddressLimits: in the first minute, as many get through as the configuration
// allows.
func TestAddressLimits(t *testing.T) {
	storagetest.Slow(t)
	for _, limit := range []int{1, 2, 7, 61, 1000} {
		h := newHouse(t, func(c *config.Config) { c.Logins.AddressFailures = limit })
		for n := range limit {
			h.userpass(fmt.Sprintf("u%d@example.com", n), "x").want(http.StatusUnauthorized)
		}
		h.userpass("last@example.com", "x").want(http.StatusTooManyRequests)
		h.clock.Move(time.Minute)
		h.userpass("last@example.com", "x").want(http.StatusUnauthorized)
	}
}

// TestBusy: a login that finds no place in the queue is refused, and takes none.
func TestBusy(t *testing.T) {
	h := newHouse(t)
	h.hashWith(guard.NewHasher(cheap, 1, 1))
	leave := must.Get(h.Logins().Hasher.Enter(t.Context()))(t)
	for range 3 {
		h.userpass(alice, password).want(http.StatusServiceUnavailable, `{"error":"Too many logins at once: try again later"}`).wantHeader("Retry-After", "1")
	}
	leave()
	for range 3 { // each gives its place back
		h.userpass(alice, password).want(http.StatusOK)
	}
}

// TestClientLeaves: a login gives back its place in the queue when its client leaves.
func TestClientLeaves(t *testing.T) {
	h := newHouse(t)
	h.hashWith(guard.NewHasher(cheap, 1, 2))
	leave := must.Get(h.Logins().Hasher.Enter(t.Context()))(t)
	defer leave()
	for range 3 {
		a := h.ask("POST", userpassPath).form("username=alice@example.com&password=x")
		ctx, cancel := context.WithCancel(t.Context())
		a.r = a.r.WithContext(ctx)
		cancel()
		a.send().want(http.StatusServiceUnavailable, `{"error":"The request was cancelled"}`)
	}
}

// TestNetworkLimits: many networks of IPv6 give a client no more guesses than the largest
// of them allows, and neighbours outside it are left alone.
func TestNetworkLimits(t *testing.T) {
	storagetest.Slow(t)
	const limit = 3
	for name, c := range map[string]struct {
		from func(i int) string // the address of attempt i
		most int                // how many are looked at
		next string             // a neighbour in the same network
		free string             // and one outside
	}{
		"one /64": {func(i int) string { return fmt.Sprintf("2001:db8:1:2:%x::%x", i, i) }, limit, "2001:db8:1:2::ffff", "2001:db8:1:3::1"},
		"a /56":   {func(i int) string { return fmt.Sprintf("2001:db8:1:2%02x::1", i) }, 4 * limit, "2001:db8:1:2ff::1", "2001:db8:1:300::1"},
		"a /48":   {func(i int) string { return fmt.Sprintf("2001:db8:1:%x00::1", i) }, 16 * limit, "2001:db8:1:ffff::1", "2001:db8:2::1"},
		"IPv4":    {func(int) string { return "198.51.100.7" }, limit, "::ffff:198.51.100.7", "198.51.100.8"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(c *config.Config) { c.Logins.AddressFailures = limit })
			fail := func(who int, from string) int {
				remote := netip.AddrPortFrom(netip.MustParseAddr(from), 1).String()
				return h.ask("POST", userpassPath).from(remote).form(fmt.Sprintf("username=u%d@example.com&password=x", who)).send().code
			}
			for i := range c.most {
				if got := fail(i, c.from(i)); got != http.StatusUnauthorized {
					t.Fatalf("attempt %d: got %d", i, got)
				}
			}
			for i := range 3 {
				if got := fail(c.most+i, c.from(c.most+i)); got != http.StatusTooManyRequests {
					t.Errorf("attempt %d: got %d, want 429", c.most+i, got)
				}
			}
			if got := fail(1000, c.next); got != http.StatusTooManyRequests {
				t.Errorf("%s: got %d, want 429", c.next, got)
			}
			if got := fail(1001, c.free); got != http.StatusUnauthorized {
				t.Errorf("%s: got %d, want 401", c.free, got)
			}
			h.clock.Move(time.Minute)
			if got := fail(1002, c.next); got != http.StatusUnauthorized {
				t.Errorf("a minute later: got %d, want 401", got)
			}
		})
	}
}
