package recheck_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/grants"
)

// each calls fn with what is known of each person.
func (w *town) each(people []*oauthtest.Account, fn func(n int, g grants.Grant)) {
	w.Helper()
	for n, a := range people {
		fn(n, w.known(a))
	}
}

// TestMute: a provider that loses its answers costs a handful of refresh tokens, however many
// people there are and however often it is asked. When it answers again, everybody is asked.
func TestMute(t *testing.T) {
	w := newTown(t, "oidc")
	var people []*oauthtest.Account
	for n := range 30 {
		people = append(people, person(n))
		w.logIn(people[n])
	}
	w.sweep()
	w.on(func(_ http.ResponseWriter, r *http.Request) { w.s.Lose(r) })
	risked := func() (n int) {
		w.each(people, func(_ int, g grants.Grant) {
			if g.Sent {
				n++
			}
		})
		return n
	}
	for sweep, most := range []int{5, 6, 7, 7, 8, 8, 8, 8, 9, 9} {
		w.pass(time.Hour)
		w.sweep()
		if n := risked(); n == 0 || n > most {
			t.Errorf("after sweep %d, %d refresh tokens may be spent, want at most %d", sweep+1, n, most)
		}
	}
	w.restart()
	w.sweep()
	at := risked()
	if at > 10 {
		t.Errorf("after a restart, %d refresh tokens may be spent", at)
	}
	leaver := -1 // somebody whose refresh token is certainly not spent
	w.each(people, func(n int, g grants.Grant) {
		if !g.Sent {
			leaver = n
		}
	})
	w.s.Intercept(nil)
	w.s.Leave(people[leaver])
	w.pass(time.Hour)
	w.sweep()
	doubtful := 0
	w.each(people, func(n int, g grants.Grant) {
		switch {
		case g.Doubt != "":
			doubtful++
		case n != leaver && g.Answered != w.clock().UnixMilli():
			t.Errorf("%s was not asked", uid(n))
		}
		if n != leaver {
			w.want(n, storage.UserActive)
		}
	})
	w.want(leaver, storage.UserSuspended)
	if f, _ := w.all.Figures("corp"); doubtful != at || f.Unverified != doubtful {
		t.Errorf("%d are in doubt, and %d unverified; want %d", doubtful, f.Unverified, at)
	}
}

// TestMuteAboutSome: a provider that can't answer about some people is still asked about all
// the others.
func TestMuteAboutSome(t *testing.T) {
	w := newTown(t, "oidc")
	var people []*oauthtest.Account
	var mu sync.Mutex
	broken := map[string]bool{}
	for n := range 20 {
		people = append(people, person(n))
		w.logIn(people[n])
		if n < 8 {
			broken[w.s.Refreshes(people[n])[0]] = true
		}
	}
	w.s.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if !oauthtest.IsRefresh(r) || !broken[r.PostFormValue("refresh_token")] {
			return false
		}
		says(http.StatusInternalServerError, `{}`)(rw, r)
		return true
	})
	for range 6 {
		w.pass(time.Hour)
		w.sweep()
	}
	w.each(people[8:], func(n int, g grants.Grant) {
		if g.Answered != w.clock().UnixMilli() {
			t.Errorf("%s was not asked in the last sweep", uid(8+n))
		}
	})
	w.s.Leave(people[19])
	w.sweep()
	w.want(19, storage.UserActive) // see TestDataLost
	w.sweep()
	w.want(19, storage.UserSuspended)
	w.want(0, storage.UserActive)
}

// TestDataLost: a provider that has lost its data, and starts or stops during a sweep, stops
// nobody: in that sweep it says of only a few people that their grants are gone.
func TestDataLost(t *testing.T) {
	w := newTown(t, "google")
	const people = 8
	for n := range people {
		w.logIn(person(n))
	}
	var asked atomic.Int32
	gone := says(400, `{"error":"invalid_grant"}`)
	w.on(func(rw http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 2 {
			says(http.StatusTooManyRequests, "")(rw, r) // the refresh token is as good as before
			return
		}
		gone(rw, r)
	})
	everybody := func() {
		t.Helper()
		for n := range people {
			w.want(n, storage.UserActive)
		}
	}
	w.sweep()
	everybody()
	if n := w.all.People["corp"].Holding(); n != 0 || asked.Load() <= 2 {
		t.Errorf("%d are held after %d questions", n, asked.Load())
	}
	w.on(gone)
	w.sweep()
	everybody()
	if n := w.all.People["corp"].Holding(); n != people {
		t.Errorf("%d are held, want %d", n, people)
	}
}

// TestCutOff: a sweep that is cut off stops nobody because of what only it has heard.
func TestCutOff(t *testing.T) {
	w := newTown(t, "google")
	const people = 8
	for n := range people {
		w.logIn(person(n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.on(func(rw http.ResponseWriter, r *http.Request) {
		cancel()
		says(400, `{"error":"invalid_grant"}`)(rw, r)
	})
	w.all.People["corp"].Sweep(ctx)
	for n := range people {
		w.want(n, storage.UserActive)
	}
	w.sweep()
	if n := w.all.People["corp"].Holding(); n != people {
		t.Errorf("%d are held, want %d", n, people)
	}
}
