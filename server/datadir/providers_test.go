package datadir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest"
)

// gate is the program beside a provider called corp, which it asks every second.
type gate struct {
	*testing.T
	file, dir, listen string
	log               bytes.Buffer // of all runs, once they have ended
	cmd               *exec.Cmd
	agree             func(address, mail string) (back string) // a person at the provider
}

func newGate(t *testing.T, file, issuer, client, secret string, more ...string) *gate {
	t.Helper()
	g := &gate{T: t, file: file, dir: t.TempDir(), listen: storagetest.FreePort(t)}
	config := []string{
		fmt.Sprintf("listen = %q\n[oauth.corp]\ntype = \"oidc\"\nurl = %q\nclient_id = %q\nclient_secret_file = %q\ninsecure = true\nrecheck = \"1s\"",
			g.listen, issuer, client, filepath.Join(g.dir, "secret")),
	}
	write(t, filepath.Join(g.dir, "config.toml"), strings.Join(append(config, more...), "\n")+"\n", 0o600)
	write(t, filepath.Join(g.dir, "secret"), secret, 0o600)
	return g
}

// callback is where browsers come back to.
func (g *gate) callback() string { return "http://" + g.listen + "/login/corp/callback" }

func (g *gate) command(args ...string) *exec.Cmd {
	cmd := exec.Command(g.file, append(args, "--data", filepath.Join(g.dir, "data"), "--config", filepath.Join(g.dir, "config.toml"))...)
	cmd.Env = append(os.Environ(), "GATEHOUSE_CONFIG=", "GATEHOUSE_DATA=", "CREDENTIALS_DIRECTORY=")
	return cmd
}

// start starts the server, and waits until it is ready.
func (g *gate) start() {
	g.Helper()
	log, err := os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.Fatal(err)
	}
	defer log.Close()
	cmd := g.command("serve")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		g.Fatal(err)
	}
	g.cmd = cmd
	g.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	g.await("the server is ready", func() bool {
		resp, err := http.Get("http://" + g.listen + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill is what a power failure, or the kernel without memory, does to the server.
func (g *gate) kill() {
	g.cmd.Process.Signal(syscall.SIGKILL)
	g.cmd.Wait()
}

func (g *gate) await(what string, ok func() bool) {
	g.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(g.dir, "log"))
			g.Fatalf("not seen: %s\n%s", what, log)
		}
	}
}

// logIn logs a person in by browser, and returns a new token.
func (g *gate) logIn(mail string) string {
	g.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(address string, status int) string {
		g.Helper()
		resp, err := browser.Get(address)
		if err != nil {
			g.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != status {
			g.Fatalf("%s: got %s %s", address, resp.Status, b)
		}
		return resp.Header.Get("Location")
	}
	visit(g.agree(visit("http://"+g.listen+"/login/corp", http.StatusFound), mail), http.StatusFound)
	resp, err := browser.Post("http://"+g.listen+"/api/token", "", nil)
	if err != nil {
		g.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || len(made.Token) != 256 {
		g.Fatalf("got %s, %v", resp.Status, err)
	}
	return made.Token
}

// works reports whether a token is accepted.
func (g *gate) works(token string) bool {
	g.Helper()
	r, err := http.NewRequest("GET", "http://"+g.listen+"/api/verify", nil)
	if err != nil {
		g.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		g.Fatalf("got %s", resp.Status)
	}
	return resp.StatusCode == http.StatusOK
}

// asked is what `user show` says of a person.
type asked struct {
	State    string
	Rechecks []struct {
		Asked, Answered, Since int64
		Doubt, Left            string
	}
}

func (g *gate) show(mail string) (a asked) {
	g.Helper()
	out, err := g.command("user", "show", mail, "--json").Output()
	if err != nil {
		g.Fatalf("user show %s: %v", mail, err)
	}
	if err := json.Unmarshal(out, &a); err != nil || len(a.Rechecks) != 1 {
		g.Fatalf("user show %s: %v, %s", mail, err, out)
	}
	return a
}

func (g *gate) unverified(mail string) bool { g.Helper(); return g.show(mail).Rechecks[0].Doubt != "" }

// answered waits until the provider has said something about a person after now.
func (g *gate) answered(mail string) {
	g.Helper()
	before := g.show(mail).Rechecks[0].Answered
	g.await("an answer about "+mail, func() bool { return g.show(mail).Rechecks[0].Answered > before })
}

// beside is a gate beside a stand-in that renews refresh tokens.
func beside(t *testing.T, file string, more ...string) (*gate, *oauthtest.Server, map[string]*oauthtest.Account) {
	t.Helper()
	s := oauthtest.New(t, "oidc")
	g := newGate(t, file, s.URL, oauthtest.Client, oauthtest.Secret, more...)
	people := map[string]*oauthtest.Account{}
	g.agree = func(address, mail string) string {
		if people[mail] == nil {
			people[mail] = &oauthtest.Account{ID: int64(100 + len(people)), Emails: oauthtest.Verified(mail)}
		}
		return s.Agree(address, people[mail])
	}
	return g, s, people
}

// TestProviders tries the whole program beside providers.
func TestProviders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	file := program(t)
	t.Run("killed while asking", func(t *testing.T) { killedWhileAsking(t, file) })
	t.Run("killed often", func(t *testing.T) { killedOften(t, file) })
	t.Run("Dex", func(t *testing.T) { besideDex(t, file) })
}

// killedWhileAsking kills the server when the provider has spent a refresh token, and
// before it answers. The refusals afterwards are no verdict, until recheck_grace is over.
func killedWhileAsking(t *testing.T, file string) {
	g, s, people := beside(t, file, `recheck_grace = "10s"`)
	g.start()
	ada, bob := g.logIn("ada@example.com"), g.logIn("bob@example.com")
	g.answered("bob@example.com") // and so a renewed token is stored

	var once sync.Once
	spent, gone := make(chan bool), make(chan bool)
	s.Meanwhile(func(_ http.ResponseWriter, r *http.Request) bool {
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
	s.Meanwhile(nil)
	g.start()
	g.await("ada is unverified", func() bool { return g.unverified("ada@example.com") })
	g.answered("bob@example.com")
	worked := g.works(ada)
	a := g.show("ada@example.com")
	if early := time.Now().Before(time.UnixMilli(a.Rechecks[0].Since).Add(10 * time.Second)); early && (a.State != "active" || !worked) || a.Rechecks[0].Left != "" {
		t.Errorf("after the kill: got %+v, and the token works: %t", a, worked)
	}
	if out, err := g.command("events", "--action", "user.unverified").Output(); err != nil || !strings.Contains(string(out), "ada@example.com") || strings.Contains(string(out), "bob") {
		t.Errorf("got the events %s, %v", out, err)
	}
	g.await("the grace is over", func() bool { return !g.works(ada) })
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
		s.Meanwhile(func(w http.ResponseWriter, r *http.Request) bool {
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
		s.Meanwhile(nil)
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

// besideDex is a person's whole life at a real provider, which renews refresh tokens
// and sends logout tokens: logged in, logged out, hung up on, removed, and the provider
// installed again.
func besideDex(t *testing.T, file string) {
	listen := storagetest.FreePort(t)
	d := oauthtest.StartDex(t, "http://"+listen+"/login/corp/callback", "http://"+listen+"/api/backchannel-logout/corp")
	g := newGate(t, file, d.Issuer, "gatehouse", "gatehouse-secret\n")
	settings := filepath.Join(g.dir, "config.toml")
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, settings, strings.Replace(string(text), g.listen, listen, 1), 0o600)
	g.listen, g.agree = listen, d.LogIn
	g.start()
	tokens := map[string]string{}
	logIn := func(mail string) { t.Helper(); tokens[mail] = g.logIn(mail) }
	all := []string{"ada@example.com"}
	for n := range 7 {
		all = append(all, fmt.Sprintf("p%d@example.com", n))
	}
	everybody := func(what string) {
		t.Helper()
		for _, mail := range all {
			if !g.works(tokens[mail]) {
				t.Errorf("%s: the token of %s is refused", what, mail)
			}
		}
	}
	for _, mail := range all {
		logIn(mail)
	}
	g.answered(all[7])
	g.answered(all[7])
	everybody("asked twice")

	// A logout there ends the sessions here, and no token.
	d.LogOut("p0@example.com")
	g.await("an event about the logout", func() bool {
		out, err := g.command("events", "--action", "user.logout").Output()
		return err == nil && strings.Contains(string(out), "p0@example.com")
	})
	everybody("logged out there")

	// A provider that hangs, and then one that is not there, says nothing.
	logged := func(n int, what string) {
		t.Helper()
		g.await(what, func() bool {
			log, err := os.ReadFile(filepath.Join(g.dir, "log"))
			return err == nil && strings.Count(string(log), what) >= n
		})
	}
	const doubt = "does not tell what has become of some users"
	d.Signal(syscall.SIGSTOP)
	logged(1, doubt)
	everybody("hung")
	d.Signal(syscall.SIGCONT)
	logged(1, "tells again what has become")
	everybody("goes on")
	for _, mail := range all { // those whose answer was lost are unverified
		logIn(mail)
	}
	g.answered(all[7])
	d.Signal(syscall.SIGKILL)
	logged(2, doubt)
	everybody("not there")

	// Installed again, it knows nobody's token. That is too much to be believed.
	d.Start()
	var held string
	g.await("the sweep is held", func() bool {
		out, err := g.command("user", "offboard").Output()
		held = string(out)
		return err == nil && strings.Contains(held, "p1@example.com")
	})
	if n := strings.Count(held, "suspend"); n < 6 {
		t.Errorf("%d are held: %s", n, held)
	}
	everybody("held")
	for _, mail := range all {
		logIn(mail)
	}
	g.await("nothing is held", func() bool {
		out, err := g.command("user", "offboard").CombinedOutput()
		return err == nil && strings.Contains(string(out), "Nothing is held")
	})

	// One who is gone is stopped.
	d.Leave("ada@example.com")
	left := time.Now()
	g.await("ada's token is refused", func() bool { return !g.works(tokens["ada@example.com"]) })
	t.Logf("refused after %v, with recheck = 1s", time.Since(left).Round(time.Millisecond))
	all = all[1:]
	everybody("ada has left")
	if a := g.show("ada@example.com"); a.State != "suspended" {
		t.Errorf("got %+v", a)
	}
}
