package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/ldap"
	"gatehouse/ldap/ldaptest"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// sweep sweeps n times.
func (h *house) sweep(n int) {
	h.Helper()
	for range n {
		must.Do(h, h.Directory().Sweep(h.Context()))
	}
}

// tokenStates counts the tokens of a user, or of all users, by state.
func (h *house) tokenStates(uid string) map[string]int {
	h.Helper()
	states := map[string]int{}
	q := api.TokenQuery{Revoked: true}
	if uid != "" {
		q.Filters = api.Where("user", uid)
	}
	for t := range must.All(h.admin.Tokens(h.Context(), q))(h) {
		states[t.State]++
	}
	return states
}

func (h *house) held() api.HeldSweep {
	h.Helper()
	held := must.Get(h.admin.Offboard(h.Context()))(h)
	st, err := h.admin.Status(h.Context())
	if err != nil || st.Held != len(held.Changes) {
		h.Errorf("got %d held in the status, want %d (%v)", st.Held, len(held.Changes), err)
	}
	if got := h.figures()[`gatehouse_held{act="offboarding"}`]; got != float64(len(held.Changes)) {
		h.Errorf("got %v held in /metrics, want %d", got, len(held.Changes))
	}
	return held
}

// A person whom the directory stops is stopped here, and comes back with the same tokens.
func TestSuspended(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.LDAP.RequiredGroup = ldaptest.Staff })
	alice := ldaptest.Person("alice")
	group := func(members ...string) func() { return func() { s.Modify(ldaptest.Staff, "member", members...) } }
	lock := func(values ...string) func() { return func() { s.Modify(alice, "pwdAccountLockedTime", values...) } }
	token := h.ldapToken("alice")
	for _, test := range []struct {
		why       string
		stop, end func()
	}{
		{"disabled", lock("000001010000Z"), lock()},
		{"locked", lock("20250101000000Z"), lock()},
		{"not in required_group", group(ldaptest.Person("bob")), group(alice, ldaptest.Person("bob"))},
	} {
		cookie := h.ldapCookie("alice")
		h.sweep(1)
		h.alive(token)
		test.stop()
		h.alive(token)
		h.sweep(1)
		h.dead(token)
		h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
		h.wantUsers("alice@example.org ldap suspended")
		if got := h.tokenStates("alice@example.org"); got[api.StateSuspended] != 1 || len(got) != 1 {
			t.Errorf("%s: got token states %v", test.why, got)
		}
		h.ldap("alice", "alice-secret").want(http.StatusUnauthorized, invalidCredentials)
		h.sweep(3) // not removed
		h.dead(token)
		test.end()
		h.dead(token)
		h.sweep(1)
		h.alive(token)
		h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
		h.wantUsers("alice@example.org ldap active")
		if told := h.told(storage.ActionUserSuspend); told[len(told)-1] != "directory alice@example.org "+test.why {
			t.Errorf("%s: got events %q", test.why, told)
		}
	}
	if got := h.told(storage.ActionUserResume); len(got) != 3 || got[2] != "directory alice@example.org" {
		t.Errorf("got events %q", got)
	}
	if got := h.told(storage.ActionUserSuspend); len(got) != 3 {
		t.Errorf("got events %q, want one each", got)
	}
	h.wantTold(storage.ActionOffboardHeld)
}

// A login that the directory grants ends the suspension at once; another
// provider's word does not.
func TestLoginEndsSuspension(t *testing.T) {
	h, s := newDirectoryHouse(t)
	token := h.ldapToken("alice")
	hub := storage.Identity{Source: "github", Subject: "17"}
	unchecked := api.Link{Identity: api.Identity{Source: hub.Source, Subject: hub.Subject}, Unchecked: true}
	must.Get(h.admin.LinkUser(t.Context(), "alice@example.org", unchecked))(t)
	s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime", "000001010000Z")
	h.sweep(1)
	u, err := h.store.LogIn(storage.Actor{}, storage.Login{Identity: hub, Addresses: []string{"alice@example.org"}, Name: "Alice"})
	if err != nil || u.State != storage.UserSuspended {
		t.Errorf("a login by another provider: got %+v, %v", u, err)
	}
	h.dead(token)
	s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime")
	h.ldapToken("alice")
	h.alive(token)
	h.wantTold(storage.ActionUserResume, "alice@example.org alice@example.org")
	h.sweep(1)
	h.alive(token)
}

// A person who is missing twice is gone for good; once is not enough.
func TestDeleted(t *testing.T) {
	h, s := newDirectoryHouse(t)
	token, cookie, other := h.ldapToken("bob"), h.ldapCookie("bob"), h.ldapToken("alice")
	h.sweep(3)
	s.Remove(ldaptest.Person("bob"))
	h.sweep(1)
	h.alive(token)
	h.wantTold(storage.ActionUserRemove)
	h.sweep(1)
	h.dead(token)
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
	h.wantTold(storage.ActionUserRemove, "directory bob@example.org no longer in the directory")
	h.wantUsers("alice@example.org ldap active")
	if got := h.tokenStates(""); got[api.StateRevoked] != 1 {
		t.Errorf("got token states %v, want one revoked", got)
	}
	h.sweep(2)
	h.wantTold(storage.ActionUserRemove, "directory bob@example.org no longer in the directory")
	h.alive(other)
	h.close()
	h.open()
	h.dead(token)
}

// A person who was found in between has to be missed twice again.
func TestFoundAgain(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.ldapToken("alice")
	token := h.ldapToken("bob")
	bob, elsewhere := ldaptest.Person("bob"), "uid=bob,ou=elsewhere,"+ldaptest.Base
	for range 3 {
		s.Move(bob, elsewhere)
		h.sweep(1)
		s.Move(elsewhere, bob)
		h.sweep(1)
		h.alive(token)
	}
	s.Move(bob, elsewhere)
	h.sweep(1)
	h.close() // a restart forgets the miss: two more are needed
	h.open()
	h.sweep(1)
	h.alive(token)
	h.sweep(1)
	h.dead(token)
}

// An outage, or an incomplete answer, of the directory changes nothing.
func TestOutage(t *testing.T) {
	h, s := newDirectoryHouse(t)
	token, gone := h.ldapToken("alice"), h.ldapToken("bob")
	s.Remove(ldaptest.Person("bob"))
	fails := func(n int) {
		t.Helper()
		for range n {
			h.sweep(1)
			h.clock.Move(5 * time.Minute)
		}
		h.alive(token)
		h.alive(gone)
	}
	s.Stop()
	h.hurry(200 * time.Millisecond)
	fails(12) // an hour of them
	s.Start()
	s.Signal(syscall.SIGSTOP)
	fails(2)
	s.Signal(syscall.SIGCONT)
	h.wantUsers("alice@example.org ldap active", "bob@example.org ldap active")
	h.wantTold(storage.ActionUserSuspend)
	h.wantTold(storage.ActionUserRemove)

	h.hurry(unhurried)
	h.sweep(1)
	h.alive(gone)
	s.Stop()
	fails(1)
	s.Start()
	h.sweep(1) // the second that succeeds
	h.dead(gone)
	h.alive(token)
}

// The directory does not affect local users, unless they are linked.
func TestLocalUsers(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.addUser("carol@example.org", password) // carol is in the directory, and is stopped below
	h.addUser("bob@example.org", password)
	h.ldapToken("alice")
	carol, bob := h.userpass("carol@example.org", password).newToken().Secret, h.userpass("bob@example.org", password).newToken().Secret
	linked := api.Identity{Source: "ldap", Subject: s.Subject(ldaptest.Person("bob"))}
	must.Get(h.admin.LinkUser(t.Context(), "bob@example.org", api.Link{Identity: linked}))(t)
	for _, uid := range []string{"bob", "carol"} {
		s.Modify(ldaptest.Person(uid), "pwdAccountLockedTime", "000001010000Z")
	}
	h.sweep(2)
	h.alive(carol)
	h.dead(bob)
	h.userpass("bob@example.org", password).want(http.StatusUnauthorized, invalidCredentials)
	s.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime")
	h.sweep(1)
	h.alive(bob)
	s.Remove(ldaptest.Person("bob"), ldaptest.Person("carol"))
	h.sweep(1)
	h.alive(bob)
	h.sweep(2)
	h.alive(carol)
	h.dead(bob) // and not removed: the link may be a mistake
	h.wantUsers("alice@example.org ldap active", "bob@example.org local suspended", "carol@example.org local active")
	must.Do(t, h.admin.UnlinkUser(t.Context(), "bob@example.org", linked))
	must.Do(t, h.admin.EnableUser(t.Context(), "bob@example.org"))
	h.sweep(3)
	h.alive(bob)
	h.userpass("bob@example.org", password).want(http.StatusOK)
}

// A linked user may have only a session, by password: that counts too.
func TestLinkedSession(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.addUser("bob@example.org", password)
	cookie := h.login("bob@example.org", password)
	must.Get(h.admin.LinkUser(t.Context(), "bob@example.org", api.Link{Identity: api.Identity{Source: "ldap", Subject: s.Subject(ldaptest.Person("bob"))}}))(t)
	s.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime", "000001010000Z")
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusOK)
	h.sweep(1)
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusUnauthorized)
}

// A rebuilt directory knows people by other ids. A person who is linked to the new one
// stays when the old id is gone.
func TestTwoSubjects(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.ldapToken("alice")
	token := h.ldapToken("bob")
	s.Remove(ldaptest.Person("bob"))
	s.AddPerson("bob", "bob@example.org")
	must.Get(h.admin.LinkUser(t.Context(), "bob@example.org", api.Link{Identity: api.Identity{Source: "ldap", Subject: s.Subject(ldaptest.Person("bob"))}}))(t)
	h.sweep(3)
	h.alive(token)
	h.ldapToken("bob")
	s.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime", "000001010000Z")
	h.sweep(1)
	h.dead(token)
	s.Modify(ldaptest.Person("bob"), "pwdAccountLockedTime")
	h.sweep(1)
	h.alive(token)
	s.Remove(ldaptest.Person("bob"))
	h.sweep(2)
	h.dead(token)
}

// crowd makes n users of the directory's many, with a token each.
func (h *house) crowd(s *ldaptest.Slapd, n int) (tokens []string) {
	h.Helper()
	subjects := s.Subjects("(uid=many*)")
	tokens = make([]string, n)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				uid := fmt.Sprintf("many%d", i)
				id := storage.Identity{Source: storage.SourceLDAP, Subject: subjects[uid]}
				u, err := h.store.LogIn(storage.Actor{}, storage.Login{Identity: id, Addresses: []string{uid + "@example.org"}, Name: uid})
				if err != nil {
					h.Error(err)
					return
				}
				_, secret, err := h.store.CreateToken(storage.Actor{}, u.ID, storage.TokenSpec{})
				if err != nil {
					h.Error(err)
					return
				}
				tokens[i] = secret.Reveal()
			}
		})
	}
	wg.Wait()
	return tokens
}

func many(from, to int) (dns []string) {
	for i := from; i < to; i++ {
		dns = append(dns, ldaptest.Person(fmt.Sprintf("many%d", i)))
	}
	return dns
}

// More than five changes among few people need a confirmation.
func TestBrake(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.WithPeople(20))
	h := newHouse(t, withDirectory(s))
	t.Cleanup(func() { h.Directory().Close() })
	tokens := h.crowd(s, 20)

	s.Remove(many(0, 5)...) // as many as are believed
	h.sweep(2)
	for i, token := range tokens {
		if i < 5 {
			h.dead(token)
		} else {
			h.alive(token)
		}
	}
	h.wantTold(storage.ActionOffboardHeld)

	s.Remove(many(5, 10)...)
	s.Modify(many(10, 11)[0], "pwdAccountLockedTime", "000001010000Z")
	h.sweep(3)
	for _, token := range tokens[5:] {
		h.alive(token)
	}
	h.wantTold(storage.ActionOffboardHeld, "directory  of 15 asked about, because so many changes in a short time may be a mistake; `gatehouse user offboard` shows them")
	if !strings.Contains(h.log.String(), "an off-boarding sweep is held") {
		t.Error("the log does not tell")
	}
	held := h.held()
	want := api.HeldChange{UID: "many10@example.org", Action: api.OffboardSuspend, Why: "disabled"}
	if held.Asked != 15 || len(held.Changes) != 6 || !slices.Contains(held.Changes, want) || held.Why != "so many changes in a short time may be a mistake" {
		t.Errorf("got %+v", held)
	}

	h.close() // a restart forgets it, and does nothing
	h.open()
	if held := h.held(); len(held.Changes) != 0 {
		t.Errorf("after the restart: got %+v", held)
	}
	if err := h.admin.ConfirmOffboard(t.Context()); err == nil {
		t.Error("what is not shown was confirmed")
	}
	h.sweep(2)
	for _, token := range tokens[5:] {
		h.alive(token)
	}
	if got := h.held(); len(got.Changes) != 6 {
		t.Errorf("held again: got %+v", got)
	}

	// New changes since then are not confirmed with the others, and changes that no
	// longer apply are not made.
	s.Remove(many(11, 12)...)
	s.Modify(many(10, 11)[0], "pwdAccountLockedTime")
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	for i, token := range tokens {
		if i < 10 {
			h.dead(token)
		} else {
			h.alive(token)
		}
	}
	h.wantTold(storage.ActionOffboardConfirm, "tester  held changes confirmed")
	if held := h.held(); len(held.Changes) != 0 {
		t.Errorf("after all: got %+v", held)
	}
	h.sweep(1)
	h.alive(tokens[11])
	h.sweep(1)
	h.dead(tokens[11])
	if err := h.admin.ConfirmOffboard(t.Context()); err == nil || err.Error() != "Nothing is held: there is nothing to confirm" {
		t.Errorf("confirm nothing: got %v", err)
	}
}

// A change that no longer applies is no longer held.
func TestBrakeReleased(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.WithPeople(10))
	h := newHouse(t, withDirectory(s))
	t.Cleanup(func() { h.Directory().Close() })
	tokens := h.crowd(s, 10)
	for _, dn := range many(0, 8) {
		s.Modify(dn, "pwdAccountLockedTime", "20250101000000Z")
	}
	h.sweep(1)
	if n := len(h.held().Changes); n != 8 {
		t.Errorf("got %d held, want 8", n)
	}
	s.Stop()
	if err := h.admin.ConfirmOffboard(t.Context()); err == nil {
		t.Error("confirmed without the directory")
	}
	if n := len(h.held().Changes); n != 8 {
		t.Errorf("without the directory: got %d held, want 8", n)
	}
	s.Start()
	for _, dn := range many(0, 4) {
		s.Modify(dn, "pwdAccountLockedTime")
	}
	h.sweep(1)
	if n := len(h.held().Changes); n != 0 {
		t.Errorf("got %d held, want 0", n)
	}
	for i, token := range tokens {
		if i >= 4 && i < 8 {
			h.dead(token)
		} else {
			h.alive(token)
		}
	}
}

// What can't be confirmed does not keep the rest from it.
func TestConfirmGoesOn(t *testing.T) {
	s, corp := ldaptest.Start(t, ldaptest.WithPeople(6)), oauthtest.New(t, "oidc")
	h := newHouse(t, public, withDirectory(s), withProvider(corp, "corp", func(c *config.OAuth) { c.LogoutSuspends = true }))
	t.Cleanup(func() { h.Directory().Close() })
	corp.Now = h.clock.Now
	tokens := h.crowd(s, 6)
	for _, dn := range many(0, 6) {
		s.Modify(dn, "pwdAccountLockedTime", "000001010000Z")
	}
	h.sweep(1)
	for n := range 6 {
		tokens = append(tokens, h.tokenOf(corp, int64(n)))
	}
	for n := range 6 {
		h.logOut(corp, int64(n))
	}
	held := h.held()
	if len(held.Changes) != 7 || strings.Contains(held.Why, ", and because") {
		t.Fatalf("got %+v, want six of the directory and one of the provider", held)
	}
	s.Stop()
	if err := h.admin.ConfirmOffboard(t.Context()); err == nil {
		t.Error("confirmed without the directory")
	}
	for _, token := range tokens[:6] {
		h.alive(token)
	}
	h.dead(tokens[11])
	if held := h.held(); len(held.Changes) != 6 {
		t.Errorf("got %+v, want six of the directory", held)
	}
	s.Start()
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	for _, token := range tokens {
		h.dead(token)
	}
}

// A thousand people are asked about in ten searches, and a tenth of them may go.
func TestManyHolders(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.WithPeople(1000))
	h := newHouse(t, withDirectory(s))
	t.Cleanup(func() { h.Directory().Close() })
	tokens := h.crowd(s, 1000)
	h.sweep(1) // connected
	before := s.Searches(ldaptest.People)
	start := time.Now()
	h.sweep(1)
	took := time.Since(start)
	if n := s.Searches(ldaptest.People) - before; n > 20 {
		t.Errorf("got %d searches for 1000 people", n)
	}
	t.Logf("a sweep of 1000 people took %v", took)

	s.Remove(many(0, 101)...)
	h.sweep(3)
	h.alive(tokens[0])
	if held := h.held(); held.Asked != 1000 || len(held.Changes) != 101 {
		t.Errorf("got %d of %d held, want 101 of 1000", len(held.Changes), held.Asked)
	}
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	s.Remove(many(101, 190)...) // of 899
	h.sweep(1)
	h.alive(tokens[101])
	h.sweep(1)
	for i, token := range tokens {
		if i < 190 {
			h.dead(token)
		} else {
			h.alive(token)
		}
	}
	if n := len(h.users()); n != 810 {
		t.Errorf("got %d users, want 810", n)
	}
}

// slow is a directory that takes its time for a sweep.
type slow struct {
	directory.LDAP
	begun chan struct{}
	end   chan struct{}
}

func (d slow) Lookup(ctx context.Context, subjects []string) (map[string]ldap.State, error) {
	d.begun <- struct{}{}
	<-d.end
	return d.LDAP.Lookup(ctx, subjects)
}

// While a sweep waits for the directory, everything else continues.
func TestSlowSweep(t *testing.T) {
	h, s := newDirectoryHouse(t)
	token := h.ldapToken("alice")
	d := slow{h.Directory().LDAP, make(chan struct{}), make(chan struct{})}
	h.Directory().LDAP = d
	swept := make(chan error)
	go func() { swept <- h.Directory().Sweep(t.Context()) }()
	<-d.begun
	h.held()
	h.alive(token)
	h.ldapToken("bob")
	h.addUser("new@example.org", password)
	s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime", "000001010000Z")
	close(d.end)
	must.Do(t, <-swept)
	h.dead(token)
}

// The server sweeps by itself, at the start and every recheck.
func TestSweepsByItself(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.LDAP.Recheck = config.Interval{Duration: time.Second} })
	h.ldapToken("alice")
	token := h.ldapToken("bob")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		h.Directory().Run(ctx)
		close(ended)
	}()
	s.Remove(ldaptest.Person("bob"))
	start := time.Now()
	for h.ask("GET", "/api/token").token(token).send().code == http.StatusOK {
		if time.Since(start) > patience {
			t.Fatal("the token goes on working")
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("refused %v after the deletion", time.Since(start))
	stop()
	<-ended

	off, _ := newDirectoryHouse(t, func(c *config.Config) { c.LDAP.Recheck = config.Interval{Duration: -1} })
	off.Directory().Run(t.Context()) // returns
}
