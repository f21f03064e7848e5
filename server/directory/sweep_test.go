package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"gatehouse/ldap"
	"gatehouse/ldap/ldaptest"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// open returns the people of a real directory, on a real store.
func open(t *testing.T) (*People, *ldaptest.Slapd) {
	t.Helper()
	store := must.Get(storage.Open(t.TempDir(), storage.Options{}))(t)
	t.Cleanup(func() { store.Close() })
	s := ldaptest.Start(t)
	logins := func() config.Logins { return config.Default().Logins }
	p := must.Get(Open(config.LDAP{
		URLs: []string{"ldaps://" + s.TLSAddr}, CAFile: s.CA, BaseDN: ldaptest.People,
		BindDN: ldaptest.Reader, BindPasswordFile: s.File("reader", ldaptest.ReaderPassword+"\n"),
		Timeout: config.Interval{Duration: time.Minute},
	}, Needs{
		Store: store, Throttle: guard.NewThrottle(store.Expiring(), logins, time.Now), Refusals: guard.NewRefusals(store, slog.New(slog.DiscardHandler)),
		Log: slog.New(slog.DiscardHandler),
		Admit: func(_ guard.Attempt, in storage.Login) (storage.User, error) {
			return store.LogIn(storage.Actor{Name: "test"}, in)
		},
		Decided: func(guard.Outcome, error) {},
	}))(t)
	t.Cleanup(func() { p.Close() })
	return p, s
}

// token logs a person in and makes a token.
func token(t *testing.T, p *People, uid string) {
	t.Helper()
	u := must.Get(p.LogIn(t.Context(), guard.NewAttempt(uid, netip.MustParseAddr("192.0.2.1")), uid, uid+"-secret"))(t)
	must.Get2(p.Store.CreateToken(storage.Actor{Name: u.UID}, u.ID, storage.TokenSpec{}))(t)
}

// sweep sweeps n times.
func sweep(t *testing.T, p *People, n int) {
	t.Helper()
	for range n {
		must.Do(t, p.Sweep(t.Context()))
	}
}

func wantState(t *testing.T, p *People, uid string, want storage.UserState) {
	t.Helper()
	if u, err := p.Store.User(uid); err != nil || u.State != want {
		t.Errorf("%s: got the state %v, %v, want %v", uid, u.State, err, want)
	}
}

// A user who was removed in between does not stop the changes of others.
func TestApplyGoesOn(t *testing.T) {
	p, s := open(t)
	for _, uid := range []string{"alice", "bob"} {
		token(t, p, uid)
		s.Modify(ldaptest.Person(uid), "pwdAccountLockedTime", "000001010000Z")
	}
	sweep(t, p, 1)
	found, err := p.ask(t.Context())
	if err != nil || found.doubt != nil || len(found.changes) != 0 {
		t.Fatalf("got %+v, %v", found, err)
	}
	stranger := change{id: 17, uid: "x@example.org", action: api.OffboardRemove, gone: true}
	bob := must.Get(p.Store.User("bob@example.org"))(t)
	must.Do(t, p.apply([]change{stranger, {id: bob.ID, action: api.OffboardResume}}))
	wantState(t, p, "alice@example.org", storage.UserSuspended)
	wantState(t, p, "bob@example.org", storage.UserActive)
}

// Another server of the same directory is not another directory. Another directory is
// accepted when everybody is found there.
func TestServersChanged(t *testing.T) {
	p, s := open(t)
	token(t, p, "alice")
	token(t, p, "bob")
	sweep(t, p, 1)
	for _, c := range []struct {
		urls  []string
		moved bool
	}{
		{[]string{"ldaps://replica.example", "ldaps://" + s.TLSAddr}, false},
		{[]string{"ldaps://replica.example"}, false},
		{[]string{"ldaps://" + s.TLSAddr}, true},
	} {
		p.recorded.now.URLs = c.urls
		if moved, err := p.recorded.moved(); moved != c.moved || err != nil {
			t.Errorf("%q: got %t, %v, want %t", c.urls, moved, err, c.moved)
		}
		sweep(t, p, 1) // finds both
	}
	if moved, err := p.recorded.moved(); moved || err != nil {
		t.Errorf("after all were found: got %t, %v", moved, err)
	}
	s.Remove(ldaptest.Person("bob"))
	sweep(t, p, 2)
	if _, err := p.Store.User("bob@example.org"); !errors.Is(err, storage.ErrNoUser) {
		t.Errorf("bob: got %v, want %v", err, storage.ErrNoUser)
	}
	wantState(t, p, "alice@example.org", storage.UserActive)
}

// TestInherit: an administrator confirms what a server holds, and a reload puts another in
// its place during that time. The other takes over what the confirmation leaves.
func TestInherit(t *testing.T) {
	store := must.Get(storage.Open(t.TempDir(), storage.Options{}))(t)
	t.Cleanup(func() { store.Close() })
	for n := range 8 {
		who := storage.Identity{Source: "corp", Subject: fmt.Sprint(n)}
		must.Get(store.LogIn(storage.Actor{}, storage.Login{Identity: who, Addresses: []string{fmt.Sprintf("p%d@example.com", n)}}))(t)
	}
	missing, asked, answer := 0, make(chan struct{}), make(chan struct{})
	before, now := &Sweeps{Source: "corp", Store: store, Log: slog.New(slog.DiscardHandler)}, &Sweeps{}
	before.States = func(_ context.Context, subjects []string) (map[string]ldap.State, error) {
		asked <- struct{}{}
		<-answer
		states := map[string]ldap.State{}
		for n, subject := range subjects {
			states[subject] = ldap.State{Verdict: ldap.Active}
			if n < missing {
				states[subject] = ldap.State{Verdict: ldap.Missing}
			}
		}
		return states, nil
	}
	var work sync.WaitGroup
	begin := func(do func() error) {
		work.Go(func() {
			if err := do(); err != nil {
				t.Error(err)
			}
		})
		<-asked
	}
	for _, missing = range []int{1, 7} { // one is missed, and then too many
		begin(func() error { return before.Sweep(t.Context()) })
		answer <- struct{}{}
		work.Wait()
	}
	if n := before.Holding(); n != 7 {
		t.Fatalf("%d are held, want 7", n)
	}
	begin(func() error { return before.Confirm(t.Context(), storage.Actor{Name: "tester"}) })
	inherited := make(chan struct{})
	work.Go(func() {
		now.Inherit(before)
		close(inherited)
	})
	select {
	case <-inherited:
		t.Error("it does not wait for the confirmation")
	case <-time.After(50 * time.Millisecond): // time enough for what takes no lock
	}
	answer <- struct{}{}
	work.Wait()
	if n := now.Holding(); n != 0 {
		t.Errorf("%d are held that were confirmed", n)
	}
	before.missed[1<<60] = true
	if len(now.missed) > 0 {
		t.Errorf("both have the same misses: %v", now.missed)
	}
}
