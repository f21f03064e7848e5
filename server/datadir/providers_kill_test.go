package datadir

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest/must"
)

// killedWhileAsking kills the server when the provider has spent a refresh token, and
// before it answers. The refusals afterwards are no verdict, until recheck_grace is over.
func killedWhileAsking(t *testing.T, file string) {
	g, s, people := beside(t, file, `recheck_grace = "10s"`)
	g.start()
	ada, bob := g.logIn("ada@example.com"), g.logIn("bob@example.com")
	g.answered("bob@example.com") // and so a renewed token is stored

	var once sync.Once
	spent, gone := make(chan bool), make(chan bool)
	s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if !oauthtest.IsRefresh(r) || !slices.Contains(s.Refreshes(people["ada@example.com"]), r.PostFormValue("refresh_token")) {
			return false
		}
		lost := false
		once.Do(func() { lost = true })
		if lost {
			defer s.Lose(r)
			close(spent)
			<-gone
		}
		return lost
	})
	<-spent
	g.await("bob is asked about, too", func() bool { a := g.show("bob@example.com"); return a.Rechecks[0].Answered >= a.Rechecks[0].Asked })
	g.kill()
	close(gone)
	s.Intercept(nil)
	g.start()
	g.await("ada is unverified", func() bool { return g.unverified("ada@example.com") })
	g.answered("bob@example.com")
	listed := func() string {
		t.Helper()
		out := must.Get(g.command("user", "list", "--state", "unverified", "--json").Output())(t)
		return string(out)
	}
	worked, list := g.works(ada), listed()
	a := g.show("ada@example.com")
	if early := time.Now().Before(time.UnixMilli(a.Rechecks[0].Since).Add(10 * time.Second)); early && (a.State != "active" || !worked || !strings.Contains(list, "ada@example.com")) || a.Rechecks[0].Left != "" {
		t.Errorf("after the kill: got %+v, and the token works: %t; unverified: %s", a, worked, list)
	}
	if strings.Contains(list, "bob@example.com") {
		t.Errorf("got %s", list)
	}
	if out, err := g.command("events", "--action", "user.unverified").Output(); err != nil || !strings.Contains(string(out), "ada@example.com") || strings.Contains(string(out), "bob") {
		t.Errorf("got the events %s, %v", out, err)
	}
	g.await("the grace is over", func() bool { return !g.works(ada) })
	if list := listed(); list != "" {
		t.Errorf("got %s, want nobody: ada is suspended", list)
	}
	if a := g.show("ada@example.com"); a.State != "suspended" || !g.works(bob) || g.unverified("bob@example.com") {
		t.Errorf("after the grace: got %+v", a)
	}
	g.logIn("ada@example.com")
	g.answered("ada@example.com")
	if !g.works(ada) || g.unverified("ada@example.com") {
		t.Error("a login does not bring ada back")
	}
}

// killedOften kills the server at any time during its questions. Nobody is suspended,
// and only those can be unverified whose answers were on the way: at most four in each run.
// Nobody else's new refresh token is lost.
func killedOften(t *testing.T, file string) {
	g, s, people := beside(t, file)
	const crowd, kills = 30, 4
	g.start()
	var tokens, mails []string
	for n := range crowd {
		mails = append(mails, fmt.Sprintf("p%d@example.com", n))
		tokens = append(tokens, g.logIn(mails[n]))
	}
	for n := range kills {
		asked, reached := 0, make(chan bool)
		var mu sync.Mutex
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if oauthtest.IsRefresh(r) {
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked == 2+7*n {
					close(reached)
				}
			}
			return false
		})
		<-reached
		g.kill()
		s.Intercept(nil)
		g.start()
	}
	doubted := 0
	for n, mail := range mails {
		g.await("a word about "+mail, func() bool {
			a := g.show(mail)
			return a.Rechecks[0].Doubt != "" || len(s.Refreshes(people[mail])) == 1 && a.Rechecks[0].Answered >= a.Rechecks[0].Asked
		})
		if g.unverified(mail) {
			doubted++
		}
		if !g.works(tokens[n]) || g.show(mail).State != "active" {
			t.Errorf("%s is suspended: %+v", mail, g.show(mail))
		}
	}
	t.Logf("%d of %d are unverified after %d kills", doubted, crowd, kills)
	if doubted > 4*kills {
		t.Errorf("%d are unverified", doubted)
	}
	before := map[string][]string{}
	for _, mail := range mails {
		before[mail] = s.Refreshes(people[mail])
	}
	for _, mail := range mails { // those who are verified are asked again, and their tokens are renewed
		if g.unverified(mail) {
			continue
		}
		g.answered(mail)
		if after := s.Refreshes(people[mail]); slices.Equal(after, before[mail]) || len(after) != 1 {
			t.Errorf("%s: got the refresh tokens %q, then %q", mail, before[mail], after)
		}
	}
}
