package server_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"gatehouse/ldap"
	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// twoNames has people log in by their uid or their mail.
func twoNames(c *config.Config) { c.LDAP.Filter = "(|(uid={username})(mail={username}))" }

// TestNamesTellNothing: for any guess under any name, a name that means somebody gets the
// same answer as one that means nobody, and costs the directory as many searches.
func TestNamesTellNothing(t *testing.T) {
	storagetest.Slow(t)
	slapd := ldaptest.Start(t)
	bob := ldaptest.Person("bob")
	for seed := range uint64(4) {
		h := newHouse(t, withDirectory(slapd), twoNames, threeFailures)
		t.Cleanup(func() { h.Directory().Close() })
		random := rand.New(rand.NewPCG(seed, 2))
		for step := range 40 {
			slapd.Modify(bob, "pwdAccountLockedTime") // slapd counts too
			name := []string{"", "", "@example.org"}[random.IntN(3)]
			ask := func(who string) (answer, int) {
				before := slapd.Searches(ldaptest.People)
				got := h.ldap(who+name, "wrong")
				return got, slapd.Searches(ldaptest.People) - before
			}
			known, searches := ask("bob")
			unknown, unknownSearches := ask("nobody")
			if known.code != unknown.code || known.text != unknown.text || known.header.Get("Retry-After") != unknown.header.Get("Retry-After") {
				t.Fatalf("seed %d, step %d: got %d %s %s for bob%s, and %d %s %s for nobody", seed, step,
					known.code, known.text, known.header.Get("Retry-After"), name, unknown.code, unknown.text, unknown.header.Get("Retry-After"))
			}
			if searches != unknownSearches || known.code == http.StatusTooManyRequests && searches != 0 {
				t.Fatalf("seed %d, step %d: got %d searches for bob%s and %d for nobody, with %d", seed, step, searches, name, unknownSearches, known.code)
			}
			h.clock.Move(time.Duration(random.IntN(5)) * time.Minute)
		}
	}
}

// TestNamesOfOnePerson share the guesses that the directory gets to see.
func TestNamesOfOnePerson(t *testing.T) {
	h, slapd := newDirectoryHouse(t, twoNames, threeFailures)
	bob, mail := ldaptest.Person("bob"), "bob@example.org"
	for range 2 {
		h.ldap("bob", "wrong").want(http.StatusUnauthorized, invalidCredentials)
	}
	h.ldap(mail, "wrong").want(http.StatusUnauthorized, invalidCredentials)
	for range 2 { // no longer looked at, and answered like a wrong one
		h.ldap(mail, "bob-secret").want(http.StatusUnauthorized, invalidCredentials)
	}
	h.ldap("BOB", "bob-secret").want(http.StatusUnauthorized, invalidCredentials)
	for _, name := range []string{"bob", mail, " Bob", "BOB@example.org"} {
		h.ldap(name, "bob-secret").want(http.StatusTooManyRequests)
	}
	if got := slapd.Binds(bob); got != 3 {
		t.Errorf("got %d binds, want 3", got)
	}
	h.clock.Move(15 * time.Minute)
	h.ldap(mail, "bob-secret").want(http.StatusOK)
	h.ldap("bob", "bob-secret").want(http.StatusOK)

	h.exhaust(ldapPath, "bob")
	h.exhaust(ldapPath, mail)
	slapd.Modify(bob, "pwdAccountLockedTime")
	must.Do(t, h.admin.UnlockUser(t.Context(), mail))
	h.ldap("bob", "bob-secret").want(http.StatusOK)
	h.ldap(mail, "bob-secret").want(http.StatusOK)
}

// TestNamesInParallel: right passwords under several names at once are all let in, and
// guesses get no further than one after another.
func TestNamesInParallel(t *testing.T) {
	h, slapd := newDirectoryHouse(t, twoNames, threeFailures)
	names := []string{"bob", "bob@example.org", "BOB@example.org"}
	for code := range together(30, func(i int) int { return h.ldap(names[i%3], "bob-secret").code }) {
		if code != http.StatusOK {
			t.Errorf("a right password: got %d", code)
		}
	}
	before := slapd.Binds(ldaptest.Person("bob"))
	for code := range together(30, func(i int) int { return h.ldap(names[i%3], "wrong").code }) {
		if code != http.StatusUnauthorized && code != http.StatusTooManyRequests {
			t.Errorf("a guess: got %d", code)
		}
	}
	// The house's network is a home by now, which adds as many.
	if got := slapd.Binds(ldaptest.Person("bob")) - before; got > 6 {
		t.Errorf("got %d guesses at the directory, want 6 at most", got)
	}
}

// deliberate is a directory that is slow with the password of somebody it knows.
type deliberate struct{ directory.LDAP }

const deliberation = 100 * time.Millisecond

func (d deliberate) Authenticate(ctx context.Context, e ldap.Entry, password string) (ldap.Entry, error) {
	if e.Known() {
		time.Sleep(deliberation)
	}
	return d.LDAP.Authenticate(ctx, e, password)
}

// TestUnknownNameTakesAsLong as a known one, even if the directory hashes only the
// password of a known name. A refusal takes as long, too.
func TestUnknownNameTakesAsLong(t *testing.T) {
	h, _ := newDirectoryHouse(t, twoNames, threeFailures)
	h.Directory().LDAP = deliberate{h.Directory().LDAP}
	takes := func(name string, code int) {
		t.Helper()
		start := time.Now()
		h.ldap(name, "wrong").want(code)
		if took := time.Since(start); took < deliberation {
			t.Errorf("%s: took %v, want at least %v", name, took, deliberation)
		}
	}
	for range 3 {
		takes("bob", http.StatusUnauthorized)
	}
	takes("bob", http.StatusTooManyRequests)
	takes("bob@example.org", http.StatusUnauthorized) // not passed on
	for range 3 {
		takes("nobody", http.StatusUnauthorized)
	}
	takes("nobody", http.StatusTooManyRequests)
}
