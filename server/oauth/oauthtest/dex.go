package oauthtest

import (
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// Dex is a real provider of OpenID Connect: Dex, with the clients and people of
// testdata/dex.
type Dex struct {
	testing.TB
	Issuer  string
	program string
	args    []string
	process *os.Process
	ended   chan error                // of the process
	log     string                    // the file with what it says
	jars    map[string]http.CookieJar // of people's browsers, by mail
}

// StartDex builds Dex and starts it. Its clients' browsers come back to callback, and
// logout tokens go to logout, unless it is empty.
func StartDex(t testing.TB, callback, logout string) *Dex {
	t.Helper()
	program := buildDex(t) // which takes long: the port is chosen after it
	listen := storagetest.FreePort(t)
	d := &Dex{
		TB: t, Issuer: "http://" + listen, program: program, jars: map[string]http.CookieJar{},
		args: []string{"-listen", listen, "-callback", callback, "-logout", logout},
	}
	d.log = d.program + ".log"
	d.Start()
	return d
}

// buildDex makes the program. That needs its modules, from the network when it
// is the first time.
func buildDex(t testing.TB) string {
	t.Helper()
	root := must.Get(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "gatehouse").Output())(t)
	program := filepath.Join(t.TempDir(), "dex")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "testdata", "dex")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("build dex: %v\n%s", err, out)
		}
		t.Skipf("Dex can't be built (%v): run `go build` in testdata/dex once, with a network\n%s", err, out)
	}
	return program
}

// Start starts Dex again, which then has its people, but no tokens and other keys.
func (d *Dex) Start() {
	d.Helper()
	log := must.Get(os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))(d)
	defer log.Close()
	cmd := exec.Command(d.program, d.args...)
	cmd.Stdout, cmd.Stderr = log, log
	must.Do(d, cmd.Start())
	ended := make(chan error, 1)
	d.process, d.ended = cmd.Process, ended
	go func() { ended <- cmd.Wait() }()
	d.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for {
		resp, err := http.Get(d.Issuer + "/.well-known/openid-configuration")
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			d.Fatalf("dex ended: %v\n%s", err, d.says())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Signal sends Dex a signal: SIGSTOP makes it hang, SIGCONT goes on.
func (d *Dex) Signal(s os.Signal) {
	d.Helper()
	must.Do(d, d.process.Signal(s))
}

// Stop ends Dex after it has answered what it was asked. A refresh token whose answer is
// lost could not be used again.
func (d *Dex) Stop() {
	d.Helper()
	d.Signal(syscall.SIGTERM)
	err := <-d.ended
	d.ended <- err // for the end of the test
	must.Do(d, err)
}

// LogOut logs a person out at Dex, in the browser of the last LogIn.
func (d *Dex) LogOut(mail string) {
	d.Helper()
	browser := &http.Client{Jar: d.jars[mail]}
	resp := must.Get(browser.PostForm(d.Issuer+"/logout", url.Values{}))(d)
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		d.Fatalf("dex does not log out: %s %s, %v\n%s", resp.Status, b, err, d.says())
	}
}

// says returns what Dex says about a failure.
func (d *Dex) says() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tokens returns what a client gets for the password of one of the people: the
// answer of the token endpoint.
func (d *Dex) Tokens(client, mail string) (access, refresh string) {
	d.Helper()
	form := url.Values{
		"grant_type": {"password"}, "username": {mail}, "password": {"secret"}, "scope": {"openid email profile offline_access"},
		"client_id": {client}, "client_secret": {client + "-secret"},
	}
	resp := must.Get(http.PostForm(d.Issuer+"/token", form))(d)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.Fatalf("dex gives no token: %s %s, %v\n%s", resp.Status, b, err, d.says())
	}
	field := func(name string) string {
		m := regexp.MustCompile(`"` + name + `":"([^"]+)"`).FindSubmatch(b)
		if m == nil {
			d.Fatalf("dex gives no %s: %s", name, b)
		}
		return string(m[1])
	}
	return field("access_token"), field("refresh_token")
}

var errCameBack = errors.New("came back")

// LogIn acts as a browser that was sent to an address at Dex, where a person fills in the
// form. It returns where Dex sends the browser back to.
func (d *Dex) LogIn(address, mail string) string {
	d.Helper()
	jar := must.Get(cookiejar.New(nil))(d)
	d.jars[mail] = jar
	var back string
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), d.Issuer+"/") {
			return nil
		}
		back = r.URL.String()
		return errCameBack
	}}
	resp := must.Get(browser.Get(address))(d)
	defer resp.Body.Close()
	page := must.Get(io.ReadAll(resp.Body))(d)
	form := regexp.MustCompile(`<form[^>]* action="([^"]*)"`).FindSubmatch(page)
	if form == nil {
		d.Fatalf("dex shows no form: %s\n%.3000s\n%s", resp.Status, page, d.says())
	}
	action := must.Get(resp.Request.URL.Parse(html.UnescapeString(string(form[1]))))(d)
	resp, err := browser.PostForm(action.String(), url.Values{"login": {mail}, "password": {"secret"}})
	if err == nil { // a page that asks for consent
		defer resp.Body.Close()
		if page, err = io.ReadAll(resp.Body); err != nil {
			d.Fatal(err)
		}
		form := url.Values{"approval": {"approve"}}
		for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllSubmatch(page, -1) {
			if name := string(m[1]); name != "approval" {
				form.Set(name, html.UnescapeString(string(m[2])))
			}
		}
		_, err = browser.PostForm(resp.Request.URL.String(), form)
	}
	if !errors.Is(err, errCameBack) {
		d.Fatalf("dex does not send the browser back: %v\n%s\n%.3000s", err, d.says(), page)
	}
	return back
}

// Leave deletes a person at Dex.
func (d *Dex) Leave(mail string) {
	d.Helper()
	resp := must.Get(http.PostForm(d.Issuer+"/test/leave", url.Values{"mail": {mail}}))(d)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		d.Fatalf("dex does not delete %s: %s", mail, resp.Status)
	}
}
