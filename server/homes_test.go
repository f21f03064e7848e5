package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// passwordFrom logs in from an address, "192.0.2.9" or "2001:db8::1".
func (h *house) passwordFrom(address, path, username, password string) answer {
	return h.ask("POST", path).from(net.JoinHostPort(address, "4711")).json(toJSON(map[string]string{"username": username, "password": password})).send()
}

func threeFailures(c *config.Config) { c.Logins.AccountFailures = 3 }

// exhaust makes guesses as a stranger until they are refused.
func (h *house) exhaust(path, username string) {
	h.Helper()
	const stranger = "203.0.113.66"
	for range h.cfg.Logins.AccountFailures {
		h.passwordFrom(stranger, path, username, "wrong").want(http.StatusUnauthorized, invalidCredentials)
	}
	h.passwordFrom(stranger, path, username, "wrong").want(http.StatusTooManyRequests)
}

// TestStrangersAndTheOwner: a stranger's guesses keep the owner out of the account only
// in networks where the owner never logged in.
func TestStrangersAndTheOwner(t *testing.T) {
	storagetest.Slow(t)
	slapd := ldaptest.Start(t)
	for _, way := range []struct{ path, username, password string }{
		{userpassPath, alice, password},
		{"/api/login", alice, password},
		{ldapPath, "alice", "alice-secret"},
	} {
		for _, test := range []struct {
			seen, now string
			let       bool
		}{
			{"198.51.100.7", "198.51.100.7", true},
			{"198.51.100.7", "198.51.100.250", true},
			{"198.51.100.7", "198.51.101.7", false},
			{"198.51.100.7", "::ffff:198.51.100.8", true},
			{"2001:db8:1:2::3", "2001:db8:1:ffff::1", true},
			{"2001:db8:1:2::3", "2001:db8:2:2::3", false},
			{"203.0.113.1", "203.0.113.66", false}, // in the stranger's own network
		} {
			t.Run(fmt.Sprint(way.path, " ", test.seen, " ", test.now), func(t *testing.T) {
				h := newHouse(t, roomy, withDirectory(slapd), threeFailures)
				slapd.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime") // slapd counts too
				t.Cleanup(func() { h.Directory().Close() })
				h.passwordFrom(test.seen, way.path, way.username, way.password).wantLogin(true)
				h.exhaust(way.path, way.username)
				h.passwordFrom(test.now, way.path, way.username, way.password).wantLogin(test.let)
				h.passwordFrom("192.0.2.44", way.path, way.username, way.password).wantLogin(false)
			})
		}
	}
}

func (a answer) wantLogin(in bool) {
	a.Helper()
	if got := a.code < 300; got != in {
		a.Errorf("%s: got %d %s, want a login: %v", a.what, a.code, a.text, in)
	}
}

// TestHomeHasItsOwnLimit: guesses from the owner's network are delayed too.
func TestHomeHasItsOwnLimit(t *testing.T) {
	const home = "198.51.100.7"
	h := newHouse(t, roomy)
	h.passwordFrom(home, userpassPath, alice, password).want(http.StatusOK)
	h.exhaust(userpassPath, alice)
	for range 4 {
		h.passwordFrom(home, userpassPath, alice, "wrong").want(http.StatusTooManyRequests)
	}
	h.passwordFrom(home, userpassPath, alice, password).want(http.StatusOK) // which forgets the four
	h.exhaustedAgain()
	for range 5 {
		h.passwordFrom(home, userpassPath, alice, "wrong").want(http.StatusTooManyRequests)
	}
	h.passwordFrom(home, userpassPath, alice, password).want(http.StatusTooManyRequests)
	h.clock.Move(time.Hour)
	h.passwordFrom(home, userpassPath, alice, password).want(http.StatusOK)
}

// exhaustedAgain makes sure that strangers are still refused.
func (h *house) exhaustedAgain() {
	h.Helper()
	h.passwordFrom("203.0.113.66", userpassPath, alice, password).want(http.StatusTooManyRequests)
}

// TestParallelGuessesAtHome: side by side, no more passwords are looked at there than one
// after another.
func TestParallelGuessesAtHome(t *testing.T) {
	const home = "198.51.100.7"
	h := newHouse(t, roomy, func(c *config.Config) { c.Logins.AccountFailures = 20 })
	h.hashWith(guard.NewHasher(cheap, 64, 1024))
	h.passwordFrom(home, userpassPath, alice, password).want(http.StatusOK)
	for range 30 { // a delay of minutes
		h.passwordFrom("203.0.113.66", userpassPath, alice, "wrong")
		h.clock.Move(time.Second)
	}
	for range together(100, func(i int) int { return h.passwordFrom(home, userpassPath, alice, fmt.Sprint("guess ", i)).code }) {
	}
	v, err := h.store.Expiring().Attempts("account " + alice + " from 198.51.100.0/24")
	if err != nil || v.Failures != 20 {
		t.Errorf("got %d failures counted there, %v, want 20", v.Failures, err)
	}
}

// TestHomesTellNothing: for any guess from any network, a user who has logged in from
// there gets the same answer as a name that nobody has.
func TestHomesTellNothing(t *testing.T) {
	storagetest.Slow(t)
	addresses := []string{"198.51.100.7", "198.51.100.8", "203.0.113.66", "192.0.2.1", "2001:db8:1::1"}
	for seed := range uint64(20) {
		h := newHouse(t, roomy)
		random := rand.New(rand.NewPCG(seed, 1))
		for _, a := range addresses[:1+random.IntN(3)] {
			h.passwordFrom(a, userpassPath, alice, password).want(http.StatusOK)
		}
		for step := range 60 {
			from := addresses[random.IntN(len(addresses))]
			known := h.passwordFrom(from, userpassPath, alice, "wrong")
			unknown := h.passwordFrom(from, userpassPath, "nobody@example.com", "wrong")
			if known.code != unknown.code || known.text != unknown.text || known.header.Get("Retry-After") != unknown.header.Get("Retry-After") {
				t.Fatalf("seed %d, step %d from %s: got %d %s %s of a user, and %d %s %s of nobody", seed, step, from,
					known.code, known.text, known.header.Get("Retry-After"), unknown.code, unknown.text, unknown.header.Get("Retry-After"))
			}
			h.clock.Move(time.Duration(random.IntN(3000)) * time.Millisecond)
		}
	}
}

// TestHomesAreKept for 30 days after the last login, over a restart, the latest 32.
func TestHomesAreKept(t *testing.T) {
	const home, mostHomes = "198.51.100.7", 32
	h := newHouse(t, roomy)
	in := func(want bool) {
		t.Helper()
		for range 6 {
			h.passwordFrom("203.0.113.66", userpassPath, alice, "wrong")
		}
		h.passwordFrom(home, userpassPath, alice, password).wantLogin(want)
		h.clock.Move(2 * time.Hour)
	}
	h.passwordFrom(home, userpassPath, alice, password).want(http.StatusOK)
	h.close()
	h.open()
	in(true)
	h.clock.Move(29 * 24 * time.Hour)
	in(true)
	h.clock.Move(31 * 24 * time.Hour)
	in(false)

	for n := range mostHomes + 1 {
		h.passwordFrom(fmt.Sprintf("10.1.%d.1", n), userpassPath, alice, password).want(http.StatusOK)
		h.clock.Move(time.Minute)
	}
	kept := must.Get(h.store.Expiring().Get("homes account " + alice))(t)
	var list map[string]int64
	if err := json.Unmarshal(kept, &list); err != nil || len(list) != mostHomes || list["10.1.0.0/24"] != 0 || list["10.1.1.0/24"] == 0 {
		t.Errorf("got the homes %s, %v, want %d without the first", kept, err, mostHomes)
	}
}

// TestUnlock: what an administrator can do if somebody has caused a delay.
func TestUnlock(t *testing.T) {
	const home = "198.51.100.7"
	h, slapd := newDirectoryHouse(t)
	for _, user := range []struct{ uid, path, username, password string }{
		{alice, userpassPath, alice, password},
		{"bob@example.org", ldapPath, "bob", "bob-secret"},
	} {
		ways := map[string]func() error{
			"unlock": func() error { return h.admin.UnlockUser(t.Context(), user.uid) },
			"enable": func() error { return h.admin.EnableUser(t.Context(), user.uid) },
			"passwd": func() error {
				_, err := h.admin.SetPassword(t.Context(), user.uid, user.password)
				return err
			},
		}
		if user.path == ldapPath {
			delete(ways, "passwd") // it has none here
		}
		for name, lift := range ways {
			h.passwordFrom(home, user.path, user.username, user.password).want(http.StatusOK)
			h.wantDelay(user.uid, 0, 0)
			h.exhaust(user.path, user.username)
			for range 6 {
				h.passwordFrom(home, user.path, user.username, "wrong").want(http.StatusTooManyRequests)
			}
			h.passwordFrom(home, user.path, user.username, user.password).want(http.StatusTooManyRequests)
			delay := time.Second
			if user.path == ldapPath {
				delay = 15 * time.Minute
				slapd.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime") // slapd counts too
			}
			h.wantDelay(user.uid, 5, h.clock.Now().Add(delay).UnixMilli())
			if err := lift(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			h.wantDelay(user.uid, 0, 0)
			for _, from := range []string{home, "203.0.113.66", "192.0.2.1"} {
				h.passwordFrom(from, user.path, user.username, user.password).want(http.StatusOK)
			}
		}
	}
	h.wantTold(storage.ActionUserUnlock, "tester "+alice, "tester bob@example.org")
	if err := h.admin.UnlockUser(t.Context(), "nobody@example.org"); err == nil || err.Error() != "No such user" {
		t.Errorf("unlock nobody: got %v", err)
	}
}

// wantDelay expects a user to be delayed, and to be listed as locked, or neither.
func (h *house) wantDelay(uid string, failures int, until int64) {
	h.Helper()
	u, err := h.admin.User(h.Context(), uid)
	locked := uids(collect(h.TB, h.admin.Users(h.Context(), api.UserQuery{Filters: api.Where("locked", "true")})))
	if slices.Contains(locked, uid) != (until != 0) {
		h.Errorf("locked are %q; is %s until %d", locked, uid, until)
	}
	switch {
	case err != nil:
		h.Fatal(err)
	case until == 0 && u.LoginDelay != nil:
		h.Errorf("%s: got the delay %+v, want none", uid, *u.LoginDelay)
	case until != 0 && (u.LoginDelay == nil || u.LoginDelay.Failures != failures || u.LoginDelay.Until != until):
		h.Errorf("%s: got the delay %+v, want one after %d until %d", uid, u.LoginDelay, failures, until)
	}
}
