package datadir

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// gate is the program beside a provider called corp, which it asks every second.
type gate struct {
	*testing.T
	file, dir, listen string
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

func (g *gate) command(args ...string) *exec.Cmd {
	cmd := exec.Command(g.file, append(args, "--data", filepath.Join(g.dir, "data"), "--config", filepath.Join(g.dir, "config.toml"))...)
	cmd.Env = append(os.Environ(), "GATEHOUSE_CONFIG=", "GATEHOUSE_DATA=", "CREDENTIALS_DIRECTORY=")
	return cmd
}

// start starts the server, and waits until it is ready.
func (g *gate) start() {
	g.Helper()
	log := must.Get(os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))(g)
	defer log.Close()
	cmd := g.command("serve")
	cmd.Stderr = log
	must.Do(g, cmd.Start())
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
	jar := must.Get(cookiejar.New(nil))(g)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(address string, status int) string {
		g.Helper()
		resp := must.Get(browser.Get(address))(g)
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != status {
			g.Fatalf("%s: got %s %s", address, resp.Status, b)
		}
		return resp.Header.Get("Location")
	}
	visit(g.agree(visit("http://"+g.listen+"/login/corp", http.StatusFound), mail), http.StatusFound)
	resp := must.Get(browser.Post("http://"+g.listen+"/api/token", "", nil))(g)
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
	r := must.Get(http.NewRequest("GET", "http://"+g.listen+"/api/verify", nil))(g)
	r.Header.Set("X-Auth-Token", token)
	resp := must.Get(http.DefaultClient.Do(r))(g)
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
	storagetest.Slow(t)
	file := program(t)
	t.Run("killed while asking", func(t *testing.T) { killedWhileAsking(t, file) })
	t.Run("killed often", func(t *testing.T) { killedOften(t, file) })
	t.Run("config check", func(t *testing.T) { configCheck(t, file) })
	t.Run("logout tokens", func(t *testing.T) { logoutTokens(t, file) })
	t.Run("hostile logouts", func(t *testing.T) { hostileLogouts(t, file) })
	t.Run("hostile provider", func(t *testing.T) { hostileProvider(t, file) })
	t.Run("Dex", func(t *testing.T) { besideDex(t, file) })
}

// configCheck reads what `config check --provider` says of providers that are set up well, and
// of each thing that can be wrong.
func configCheck(t *testing.T, file string) {
	page := func(w http.ResponseWriter, _ *http.Request) bool {
		io.WriteString(w, "<html>Sign in</html>")
		return true
	}
	with := func(name string, value any) func(*oauthtest.Server) {
		return func(s *oauthtest.Server) { s.Metadata = func(m map[string]any) { m[name] = value } }
	}
	for _, c := range []struct {
		kind, secret string
		set          func(*oauthtest.Server)
		config       string // replaces insecure
		status       int
		want         string
	}{
		{kind: "oidc", set: with("scopes_supported", []string{"openid", "offline_access"}), want: "the issuer gives refresh tokens"},
		{kind: "google", want: "are accepted"},
		{kind: "gitlab", want: "are accepted"},
		{kind: "gitea", want: "are accepted"},
		{kind: "github", want: "are accepted"},
		{kind: "oidc", secret: "wrong", status: 1, want: "does not take client_id and client_secret_file"},
		{kind: "google", secret: "wrong", status: 1, want: "does not take client_id and client_secret_file"},
		{kind: "gitlab", secret: "wrong", status: 1, want: "does not take client_id and client_secret_file"},
		{kind: "gitea", secret: "wrong", status: 1, want: "does not take client_id and client_secret_file"},
		{kind: "github", secret: "wrong", status: 1, want: "rejected client_id and client_secret_file"},
		{kind: "oidc", set: with("scopes_supported", []string{"openid"}), want: "does not say that it gives refresh tokens (offline_access): recheck needs them"},
		{kind: "oidc", set: with("issuer", "https://other.example"), status: 1, want: `calls itself the issuer "https://other.example": write the url exactly like that`},
		{kind: "oidc", set: with("token_endpoint", "ftp://x"), status: 1, want: `token_endpoint "ftp://x" is not an https URL`},
		{kind: "oidc", set: func(s *oauthtest.Server) { s.Intercept(page) }, status: 1, want: "did not answer /.well-known/openid-configuration with the documented JSON"},
		{kind: "gitea", set: func(s *oauthtest.Server) { s.Intercept(page) }, status: 1, want: "with the documented JSON"},
		{kind: "oidc", set: func(s *oauthtest.Server) { s.Close() }, status: 1, want: "connection refused"},
		{kind: "gitlab", config: "insecure = false", status: 1, want: "would send secrets in the clear: use https://"},
	} {
		s := oauthtest.New(t, c.kind)
		if c.set != nil {
			c.set(s)
		}
		g := newGate(t, file, s.URL, oauthtest.Client, cmp.Or(c.secret, oauthtest.Secret))
		text := must.Get(os.ReadFile(filepath.Join(g.dir, "config.toml")))(t)
		changed := strings.Replace(string(text), `"oidc"`, `"`+c.kind+`"`, 1)
		write(t, filepath.Join(g.dir, "config.toml"), strings.Replace(changed, "insecure = true", cmp.Or(c.config, "insecure = true"), 1), 0o600)
		out, err := g.command("config", "check", "--provider", "corp").CombinedOutput()
		if status := g.status(err); status != c.status || !strings.Contains(string(out), c.want) || strings.Contains(string(out), oauthtest.Secret) {
			t.Errorf("%s %s: got status %d, want %d and %q:\n%s", c.kind, c.secret, status, c.status, c.want, out)
		}
		out, err = g.command("config", "check", "--provider", "crop").CombinedOutput()
		if status := g.status(err); c.config == "" && (status != 1 || !strings.Contains(string(out), "there is no section [oauth.crop] in the configuration")) {
			t.Errorf("another name: got status %d: %s", status, out)
		}
	}
}

// status is the exit status of a command.
func (g *gate) status(err error) int {
	g.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		g.Fatal(err)
	}
	return 0
}

// logoutTokens kills the server as soon as it has answered a logout token. The same token
// then ends no session, even of the person who has logged in since, and stops no token.
func logoutTokens(t *testing.T, file string) {
	g, s, people := beside(t, file, "logout_suspends = true")
	g.start()
	send := func(token string) int {
		t.Helper()
		resp := must.Get(http.PostForm("http://"+g.listen+"/api/backchannel-logout/corp", url.Values{"logout_token": {token}}))(t)
		resp.Body.Close()
		return resp.StatusCode
	}
	token := g.logIn("ada@example.com")
	for range 3 {
		logout := s.LogoutToken(func(claims, _ map[string]any) { claims["sub"] = fmt.Sprint(people["ada@example.com"].ID) })
		got := send(logout)
		g.kill()
		g.start()
		if got != http.StatusOK || g.works(token) {
			t.Errorf("the first time: got %d, and the token works: %t", got, g.works(token))
		}
		g.logIn("ada@example.com")
		if got := send(logout); got != http.StatusBadRequest || !g.works(token) {
			t.Errorf("after a kill: got %d, and the token works: %t", got, g.works(token))
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
	text := must.Get(os.ReadFile(settings))(t)
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
	const doubt = "gives no answer about some users"
	d.Signal(syscall.SIGSTOP)
	logged(1, doubt)
	everybody("hung")
	d.Signal(syscall.SIGCONT)
	logged(1, "answers about all users again")
	everybody("goes on")
	for _, mail := range all { // those whose answer was lost are unverified
		logIn(mail)
	}
	g.answered(all[7])
	d.Stop()
	logged(2, doubt)
	everybody("not there")

	// Installed again, it knows nobody's token. That is too much to be believed.
	d.Start()
	g.await("the sweep is held", func() bool {
		out, err := g.command("user", "offboard").Output()
		return err == nil && strings.Count(string(out), "suspend") >= 6
	})
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
