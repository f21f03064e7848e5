package recheck_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/oauth"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/server/recheck"
	"gatehouse/storage"
	"gatehouse/storage/grants"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

func TestMain(m *testing.M) {
	storagetest.InMemory()
	m.Run()
}

const callback = "https://tokens.example.com/login/corp/callback"

// town is a store, a provider, and the people who log in by it.
type town struct {
	*testing.T
	s        *oauthtest.Server
	dir      string
	store    *storage.Store
	provider *oauth.Provider
	cfg      config.OAuth
	all      *recheck.All

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

func newTown(t *testing.T, kind string) *town {
	t.Helper()
	w := &town{T: t, s: oauthtest.New(t, kind), dir: t.TempDir(), now: time.UnixMilli(1_790_000_000_000)}
	var err error
	w.store, err = storage.Open(w.dir, storage.Options{Segment: storagetest.Segment, Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	w.cfg = config.OAuth{
		Type: kind, URL: w.s.URL, Insecure: true, ClientID: oauthtest.Client, ClientSecretFile: w.s.SecretFile(),
		Recheck: config.Interval{Duration: time.Hour},
	}
	w.restart()
	return w
}

// Write keeps the log.
func (w *town) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

func (w *town) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *town) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// restart forgets all that is not on the disk.
func (w *town) restart() {
	w.Helper()
	cfg := config.Config{OAuth: map[string]config.OAuth{"corp": w.cfg}}
	providers := must.Get(cfg.Providers(time.Minute, nil))(w)
	w.provider = providers["corp"]
	w.all = recheck.New(cfg.OAuth, providers, w.store, slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func person(n int) *oauthtest.Account {
	return &oauthtest.Account{ID: int64(100 + n), Login: "p" + fmt.Sprint(n), Name: "Person", Emails: oauthtest.Verified(uid(n))}
}

func uid(n int) string { return fmt.Sprintf("p%d@example.com", n) }

// claims are those of a login by browser.
func (w *town) claims(a *oauthtest.Account) oauth.Claims {
	w.Helper()
	l, address := must.Get2(w.provider.Begin(w.Context(), callback))(w)
	back := must.Get(url.Parse(w.s.Agree(address, a)))(w)
	c := must.Get(w.provider.Finish(w.Context(), l, back.Query()))(w)
	return c
}

// admit makes a user of the person who has logged in.
func (w *town) admit(c oauth.Claims) {
	w.Helper()
	u := must.Get(w.all.Admit(w.provider, c, func() (storage.User, error) {
		return w.store.LogIn(storage.Actor{Name: "test"}, storage.Login{
			Identity: storage.Identity{Source: "corp", Subject: c.Subject}, Addresses: c.Emails, Name: c.Name,
		})
	}))(w)
	must.Get2(w.store.CreateToken(storage.Actor{Name: u.UID}, u.ID, storage.TokenSpec{}))(w)
}

func (w *town) logIn(a *oauthtest.Account) { w.Helper(); w.admit(w.claims(a)) }

func (w *town) sweep() {
	w.Helper()
	must.Do(w, w.all.People["corp"].Sweep(w.Context()))
}

func (w *town) want(n int, state storage.UserState) {
	w.Helper()
	if u, err := w.store.User(uid(n)); err != nil || u.State != state {
		w.Errorf("%s: got the state %v, %v, want %v", uid(n), u.State, err, state)
	}
}

// known returns what is known of a person.
func (w *town) known(a *oauthtest.Account) grants.Grant {
	w.Helper()
	g, ok, err := w.all.Known(storage.Identity{Source: "corp", Subject: fmt.Sprint(a.ID)})
	if err != nil || !ok {
		w.Fatalf("nothing is known of %d: %v", a.ID, err)
	}
	return g
}

func (w *town) wantUnverified(a *oauthtest.Account, unverified bool) {
	w.Helper()
	g := w.known(a)
	f, _ := w.all.Figures("corp")
	if (g.Doubt != "") != unverified || (f.Unverified > 0) != unverified {
		w.Errorf("got %q since %d, and %d unverified; want unverified: %t", g.Doubt, g.Since, f.Unverified, unverified)
	}
}

// on does something at the next requests with a refresh token or, at GitHub, a token to
// check. It is back to normal when do returns false.
func (w *town) on(do func(http.ResponseWriter, *http.Request)) {
	w.s.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if !oauthtest.IsRefresh(r) && !strings.HasSuffix(r.URL.Path, "/token") || strings.Contains(r.PostFormValue("grant_type"), "code") {
			return false
		}
		do(rw, r)
		return true
	})
}

func says(status int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

var kinds = []string{"oidc", "google", "gitlab", "gitea", "github"}

func everyKind(t *testing.T, test func(*town)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { test(newTown(t, kind)) })
	}
}

// TestLeave: a person who is there stays, with providers that renew refresh tokens and
// with those that do not. One whose account is gone is suspended at the next sweep, and
// comes back with a login.
func TestLeave(t *testing.T) {
	everyKind(t, func(w *town) {
		for n, keeps := range []bool{false, true} {
			w.s.Keeps = keeps
			a := person(n)
			w.logIn(a)
			for range 3 {
				w.pass(time.Hour)
				w.sweep()
				w.restart()
			}
			w.want(n, storage.UserActive)
			if g := w.known(a); g.Asked != w.clock().UnixMilli() || g.Answered != g.Asked {
				w.Errorf("got asked %d, answered %d, want %d", g.Asked, g.Answered, w.clock().UnixMilli())
			}
			if got := len(w.s.Refreshes(a)); got > 1 {
				w.Errorf("%d refresh tokens were taken, want one", got)
			}
			w.s.Leave(a)
			w.sweep()
			w.want(n, storage.UserSuspended)
			w.s.Asked()
			w.sweep() // is not asked about again
			w.logIn(a)
			w.want(n, storage.UserActive)
			w.sweep()
			w.want(n, storage.UserActive)
			w.wantUnverified(a, false)
		}
	})
}

// TestStopped: Gitea and GitLab give blocked people a new access token, too. Nobody is
// stopped for a reason that the person can put right.
func TestStopped(t *testing.T) {
	for _, c := range []struct {
		kind string
		set  func(*oauthtest.Account, bool)
		want storage.UserState
	}{
		{"gitea", func(a *oauthtest.Account, on bool) { a.Blocked = on }, storage.UserSuspended},
		{"gitea", func(a *oauthtest.Account, on bool) { a.Inactive = on }, storage.UserSuspended},
		{"gitea", func(a *oauthtest.Account, on bool) { a.NewPassword = on }, storage.UserActive},
		{"gitlab", func(a *oauthtest.Account, on bool) { a.Blocked = on }, storage.UserSuspended},
	} {
		w := newTown(t, c.kind)
		a := person(0)
		w.logIn(a)
		c.set(a, true)
		w.sweep()
		w.want(0, c.want)
		c.set(a, false)
		w.sweep()
		w.want(0, storage.UserActive)
	}
}

// TestSilent: answers that say nothing of the person change nothing, however often. An
// account that is gone afterwards is found if no refresh token can have been spent.
func TestSilent(t *testing.T) {
	elsewhere := oauthtest.New(t, "oidc")
	cases := []struct {
		name  string
		do    func(http.ResponseWriter, *http.Request)
		spent bool // the refresh token may be spent
	}{
		{"down", says(503, `{}`), true},
		{"error", says(500, `{"error":"invalid_grant"}`), true},
		{"page", says(200, `<html>Sign in</html>`), true},
		{"nothing", says(200, `{}`), true},
		{"bad token", says(200, `{"access_token":"a b"}`), true},
		{"huge", says(200, `{"access_token":"`+strings.Repeat("x", 2<<20)+`"}`), true},
		{"limited", says(429, `{}`), false},
		{"wrong secret", says(401, `{"error":"invalid_client"}`), false},
		{"client", says(400, `{"error":"unauthorized_client"}`), false},
		{"request", says(400, `{"error":"invalid_request"}`), false},
		{"not found", says(403, `{}`), false},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/token", http.StatusTemporaryRedirect)
		}, true},
		{"broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
	}
	everyKind(t, func(w *town) {
		for n, c := range cases {
			a := person(n)
			w.logIn(a)
			w.on(c.do)
			for range 3 {
				w.pass(time.Hour)
				w.all.People["corp"].Sweep(w.Context())
				w.want(n, storage.UserActive)
			}
			w.restart()
			w.s.Intercept(nil)
			w.s.Leave(a)
			w.sweep()
			want := storage.UserSuspended
			if c.spent && w.s.Kind != "github" {
				want = storage.UserActive
				w.wantUnverified(a, true)
			}
			if u, err := w.store.User(uid(n)); err != nil || u.State != want {
				w.Errorf("%s: got the state %v, %v, want %v", c.name, u.State, err, want)
			}
		}
	})
	if got := elsewhere.Asked(); len(got) > 0 {
		t.Errorf("another host was asked %q", got)
	}
}

// TestNobodyThere: a provider that can't be reached has spent nothing.
func TestNobodyThere(t *testing.T) {
	w := newTown(t, "oidc")
	w.s.Config.SetKeepAlivesEnabled(false) // on a connection that breaks, a request may have arrived
	a := person(0)
	w.logIn(a)
	w.sweep()
	url := w.s.URL
	w.s.Close()
	w.sweep()
	w.want(0, storage.UserActive)
	if !strings.Contains(w.log.String(), "gives no answer about some users") {
		t.Errorf("%s: the log does not say that nobody answers: %s", url, &w.log)
	}
	g, _, err := w.store.Grants().Get(storage.Identity{Source: "corp", Subject: "100"})
	if err != nil || g.Sent || !g.Usable() {
		t.Errorf("got %v, sent %t, usable %t: the token is as good as before", err, g.Sent, g.Usable())
	}
}

// TestLost: a refusal after a lost answer proves nothing. The person goes on until
// recheck_grace is over, and a login ends it all.
func TestLost(t *testing.T) {
	for _, kind := range kinds[:4] {
		for step, lose := range map[string]func(w *town){
			"the answer": func(w *town) { w.on(func(_ http.ResponseWriter, r *http.Request) { w.s.Lose(r) }) },
			"storing it": func(w *town) {
				w.store.Grants().Fault = func(g grants.Grant) error {
					if g.Asked != 0 && !g.Sent {
						return errors.New("killed")
					}
					return nil
				}
			},
		} {
			t.Run(kind+"/"+step, func(t *testing.T) {
				w := newTown(t, kind)
				a := person(0)
				w.logIn(a)
				w.pass(time.Hour)
				lose(w)
				w.all.People["corp"].Sweep(w.Context())
				w.s.Intercept(nil)
				w.store.Grants().Fault = nil
				w.restart()
				w.sweep()
				w.want(0, storage.UserActive)
				w.wantUnverified(a, true)
				w.pass(7*24*time.Hour - time.Minute)
				w.sweep()
				w.want(0, storage.UserActive)
				w.pass(2 * time.Minute)
				w.sweep()
				w.want(0, storage.UserSuspended)
				w.logIn(a)
				w.want(0, storage.UserActive)
				w.sweep()
				w.wantUnverified(a, false)
			})
		}
	}
}

// TestNotSent: nothing is asked unless it is on the disk that it will be.
func TestNotSent(t *testing.T) {
	w := newTown(t, "oidc")
	a := person(0)
	w.logIn(a)
	before := w.s.Refreshes(a)
	w.s.Asked()
	w.store.Grants().Fault = func(grants.Grant) error { return errors.New("the disk is full") }
	w.sweep()
	if got := w.s.Asked(); len(got) > 0 {
		t.Errorf("asked %q", got)
	}
	w.store.Grants().Fault = nil
	w.sweep()
	if after := w.s.Refreshes(a); len(after) != 1 || after[0] == before[0] {
		t.Errorf("got %q, then %q", before, after)
	}
	w.want(0, storage.UserActive)
}

// TestLoginMeanwhile: a refusal of what a login has replaced proves nothing.
func TestLoginMeanwhile(t *testing.T) {
	everyKind(t, func(w *town) {
		a := person(0)
		w.logIn(a)
		again := w.claims(a)
		w.on(func(rw http.ResponseWriter, r *http.Request) {
			w.admit(again)
			if w.s.Kind == "github" {
				says(404, `{}`)(rw, r)
				return
			}
			says(400, `{"error":"invalid_grant"}`)(rw, r)
		})
		w.sweep()
		w.s.Intercept(nil)
		w.want(0, storage.UserActive)
		w.sweep()
		w.want(0, storage.UserActive)
		w.wantUnverified(a, false)
	})
}

// TestLoginBeforeReload: so it is if the server that takes the login is no longer in force.
func TestLoginBeforeReload(t *testing.T) {
	w := newTown(t, "oidc")
	a := person(0)
	w.logIn(a)
	again, before := w.claims(a), w.all
	w.restart()
	w.all.Inherit(before)
	admitted, swept, taken := make(chan struct{}), make(chan struct{}), make(chan error)
	w.on(func(rw http.ResponseWriter, r *http.Request) {
		go func() {
			_, err := before.Admit(w.provider, again, func() (storage.User, error) {
				close(admitted)
				select { // a sweep does what it can while it waits
				case <-swept:
				case <-time.After(100 * time.Millisecond):
				}
				return w.store.User(uid(0))
			})
			taken <- err
		}()
		<-admitted
		says(400, `{"error":"invalid_grant"}`)(rw, r)
	})
	w.sweep()
	close(swept)
	must.Do(t, <-taken)
	w.want(0, storage.UserActive)
}

// TestGiteaSpent: what another login of the person has used up says nothing.
func TestGiteaSpent(t *testing.T) {
	w := newTown(t, "gitea")
	a := person(0)
	w.logIn(a)
	w.on(says(400, `{"error":"unauthorized_client","error_description":"token was already used"}`))
	w.sweep()
	w.want(0, storage.UserActive)
	w.wantUnverified(a, true)
}

// TestPosted: a person who only posts tokens leaves nothing to ask with, and is unverified
// from the login on. Another login begins the time again.
func TestPosted(t *testing.T) {
	w := newTown(t, "oidc")
	a := person(0)
	post := func() {
		c := w.claims(a)
		c.Grant = oauth.Grant{}
		w.admit(c)
	}
	post()
	w.sweep()
	w.wantUnverified(a, true)
	for range 3 {
		w.pass(6 * 24 * time.Hour)
		post()
		w.sweep()
		w.want(0, storage.UserActive)
	}
	w.pass(8 * 24 * time.Hour)
	w.sweep()
	w.want(0, storage.UserSuspended)
	w.logIn(a) // by browser
	post()     // does not replace it
	w.pass(30 * 24 * time.Hour)
	w.sweep()
	w.want(0, storage.UserActive)
	w.wantUnverified(a, false)
}

// TestBrake: more than five of a few at once are held, until somebody confirms it.
func TestBrake(t *testing.T) {
	w := newTown(t, "google")
	const people = 6
	for n := range people {
		w.logIn(person(n))
	}
	w.on(says(400, `{"error":"invalid_grant"}`))
	w.sweep()
	for n := range people {
		w.want(n, storage.UserActive)
	}
	p := w.all.People["corp"]
	if held := p.Held(); len(held.Changes) != people || held.Asked != people || p.Holding() != people {
		t.Fatalf("got %+v", held)
	}
	w.logIn(person(0)) // who can't have left
	must.Do(t, p.Confirm(t.Context(), storage.Actor{Name: "root"}))
	w.want(0, storage.UserSuspended) // the provider still says so
	for n := range people {
		w.want(n, storage.UserSuspended)
	}
}

// TestSecrets: what is kept is nowhere to be read: not in the files, the log, a backup or
// what is shown.
func TestSecrets(t *testing.T) {
	everyKind(t, func(w *town) {
		a := person(0)
		c := w.claims(a)
		secrets := append(w.s.Refreshes(a), string(c.Grant.Refresh), string(c.Grant.Access))
		w.admit(c)
		w.sweep()
		w.on(func(rw http.ResponseWriter, r *http.Request) {
			says(400, `{"error":"x","message":"`+r.PostFormValue("refresh_token")+`"}`)(rw, r)
		})
		w.sweep()
		secrets = append(secrets, w.s.Refreshes(a)...)
		var backup bytes.Buffer
		must.Get(w.store.Snapshot(w.Context(), &backup))(w)
		places := map[string]string{"the log": w.log.String(), "the backup": backup.String(), "what is known": fmt.Sprintf("%+v %#v", w.known(a), w.known(a)), "claims": fmt.Sprintf("%+v %#v", c, c)}
		files := 0
		filepath.WalkDir(w.dir, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				b, err := os.ReadFile(path)
				if err != nil {
					w.Error(err)
				}
				places[path] = string(b)
				if info, _ := e.Info(); strings.Contains(path, "/grants/") && info.Mode().Perm() != 0o600 {
					w.Errorf("%s has mode %v", path, info.Mode())
				}
				files++
			}
			return nil
		})
		if _, err := os.Stat(filepath.Join(w.dir, "grants")); err != nil || files < 5 {
			w.Fatalf("%d files, %v", files, err)
		}
		for place, text := range places {
			for _, s := range secrets {
				if s != "" && strings.Contains(text, s) {
					w.Errorf("%s holds a token", place)
				}
			}
		}
	})
}

// TestForget: what is not needed is deleted: of people who are not asked about, and of
// providers that are not asked.
func TestForget(t *testing.T) {
	w := newTown(t, "oidc")
	w.logIn(person(0))
	w.logIn(person(1))
	w.sweep()
	must.Do(t, w.store.RemoveUser(storage.Actor{Name: "root"}, uid(0)))
	kept := func(want int) {
		t.Helper()
		list, err := os.ReadDir(filepath.Join(w.dir, "grants"))
		if err != nil || len(list) != want {
			t.Errorf("%d are kept, %v; want %d", len(list), err, want)
		}
	}
	w.pass(48 * time.Hour)
	w.sweep()
	kept(1)
	w.cfg.Recheck = config.Interval{}
	w.restart()
	w.all.Run(t.Context(), nil)
	kept(0)
}

// TestOtherClient: what was given to another client is not sent.
func TestOtherClient(t *testing.T) {
	w := newTown(t, "oidc")
	a := person(0)
	w.logIn(a)
	w.cfg.ClientID = "another"
	w.restart()
	w.s.Asked()
	w.sweep()
	w.want(0, storage.UserActive)
	w.wantUnverified(a, true)
	for _, asked := range w.s.Asked() {
		if strings.Contains(asked, "/token") {
			t.Errorf("got %s", asked)
		}
	}
}

// TestDex: a real provider, which renews refresh tokens.
func TestDex(t *testing.T) {
	storagetest.Slow(t)
	d := oauthtest.StartDex(t, callback, "")
	w := newTown(t, "oidc")
	secret := filepath.Join(t.TempDir(), "secret")
	must.Do(t, os.WriteFile(secret, []byte("gatehouse-secret\n"), 0o600))
	w.cfg.URL, w.cfg.ClientID, w.cfg.ClientSecretFile = d.Issuer, "gatehouse", secret
	w.restart()
	logIn := func() {
		t.Helper()
		l, address := must.Get2(w.provider.Begin(t.Context(), callback))(t)
		back := must.Get(url.Parse(d.LogIn(address, "ada@example.com")))(t)
		c, err := w.provider.Finish(t.Context(), l, back.Query())
		if err != nil || c.Grant.Refresh == "" {
			t.Fatalf("got the grant %q, %v", string(c.Grant.Refresh), err)
		}
		w.admit(c)
	}
	want := func(state storage.UserState) {
		t.Helper()
		if u, err := w.store.User("ada@example.com"); err != nil || u.State != state {
			t.Errorf("got the state %v, %v, want %v\n%s", u.State, err, state, &w.log)
		}
	}
	unverified := func(n int) {
		t.Helper()
		if f, _ := w.all.Figures("corp"); f.Unverified != n {
			t.Errorf("%d are unverified, want %d\n%s", f.Unverified, n, &w.log)
		}
	}
	logIn()
	for range 3 {
		w.sweep()
		w.restart()
	}
	want(storage.UserActive)
	if f, err := w.provider.Check(t.Context()), error(nil); err != nil || len(f) != 4 {
		t.Errorf("got the steps %+v", f)
	} else {
		for _, s := range f {
			if !s.OK || s.Warning {
				t.Errorf("got %+v", s)
			}
		}
	}

	// The answer is lost, and Dex has spent the token.
	w.store.Grants().Fault = func(g grants.Grant) error {
		if !g.Sent {
			return errors.New("killed")
		}
		return nil
	}
	w.all.People["corp"].Sweep(t.Context())
	w.store.Grants().Fault = nil
	w.restart()
	w.sweep()
	want(storage.UserActive)
	unverified(1)

	logIn()
	w.sweep()
	want(storage.UserActive)
	unverified(0)
	d.Leave("ada@example.com")
	w.sweep()
	want(storage.UserSuspended)
}
