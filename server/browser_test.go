package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// TestBrowser is a visit in a real browser: every page and state, everything that can be
// done, and what the pages say about it.
func TestBrowser(t *testing.T) {
	h := newHouse(t)
	url := h.serve()
	h.create(`{"name":"nightly backup","expiresIn":"30d","scopes":["files"],"addresses":["10.0.0.0/8"]}`)
	h.clock.Move(40 * 24 * time.Hour)
	h.alive(h.create(`{"name":"build server","expiresIn":"365d"}`).Secret)
	c := newChromium(t)
	c.run(chromedp.Navigate(url))
	c.looksWell("log in")
	c.login(alice, "wrong")
	c.wantText("Invalid credentials")
	c.looksWell("wrong password")
	if got := c.eval(`document.activeElement.name`); got != "password" {
		t.Errorf("the focus is on %s, want it where to go on", got)
	}
	c.login(alice, password)
	c.wantText("Manage API tokens")
	c.looksWell("tokens")

	c.run(c.click("summary"))
	c.fill("addresses", "nowhere")
	c.fill("scopes", "read, write?")
	c.run(c.choose("expiresIn", "date"))
	c.fill("name", "laptop")
	c.press("Create token")
	c.wantText("No token was made. See the marked fields.")
	c.looksWell("a form with errors")
	if got := c.eval(`document.activeElement.name`); got != "date" {
		t.Errorf("the focus is on %s, want it on the first field that is wrong", got)
	}
	for _, name := range []string{"date", "scopes", "addresses"} {
		if got := c.eval(`(e => e.checkVisibility() && document.getElementById(e.getAttribute("aria-describedby")).checkVisibility())(document.querySelector("[name=` + name + `]"))`); got != "true" {
			t.Errorf("the field %s and its error are to be seen: %s", name, got)
		}
	}
	c.run(c.click(`[name="scope:tokens:read"]`), c.choose("expiresIn", "7d"))
	if got := c.eval(`document.querySelector("[name=date]").checkVisibility()`); got != "false" {
		t.Error("a date is asked for although a span is chosen")
	}
	c.fill("addresses", "127.0.0.0/8\n192.0.2.0/24")
	c.fill("scopes", "read write")
	c.press("Create token")
	c.looksWell("a new token")
	secret := c.eval(`document.getElementById("new-token").innerText`)
	h.alive(secret)
	c.run(browser.SetPermission(&browser.PermissionDescriptor{Name: "clipboard-read"}, browser.PermissionSettingGranted))
	c.run(c.click(button("Copy")), chromedp.Poll(`document.getElementById("copied").textContent`, nil))
	if got := c.eval(`navigator.clipboard.readText()`); got != secret {
		t.Errorf("got %q in the clipboard, want the token", got)
	}
	c.looksWell("copied")

	c.awaitPage(c.click(`a[href="/?sort=ends"]`))
	if got := c.eval(`document.querySelector("tbody .name").innerText + document.querySelector("[aria-sort]").innerText`); got != "nightly backupExpires" {
		t.Errorf("sorted by end, first is %s", got)
	}
	c.awaitPage(c.click(`a[href="/"]`), chromedp.WaitVisible("#list"))
	c.press("Rename")
	c.looksWell("rename")
	c.fill("name", "old laptop")
	c.press("Rename")
	c.wantText("The token is now called old laptop.")
	c.looksWell("renamed")
	if got := c.eval(`document.activeElement.getAttribute("role")`); got != "status" {
		t.Errorf("the focus is on the role %s, want it on the status, which is read out", got)
	}
	c.press("Rotate")
	c.wantText("Rotate this token?")
	c.looksWell("rotate")
	c.run(c.choose("overlap", "0"))
	c.press("Rotate")
	c.looksWell("rotated")
	h.dead(secret)
	secret = c.eval(`document.getElementById("new-token").innerText`)
	h.alive(secret)
	c.press("Back to the tokens")
	c.press("Revoke")
	c.looksWell("revoke")
	h.alive(secret)
	c.press("Revoke")
	h.dead(secret)
	c.wantText("The token old laptop is revoked")
	c.looksWell("revoked")

	c.awaitPage(c.click(".uid"))
	c.wantText("Where you are logged in 2") // with the login that made a token
	c.looksWell("account")
	c.changePassword("wrong", "another")
	c.wantText("The current password is wrong.")
	c.looksWell("account, wrong password")
	if got := c.eval(`document.activeElement.name`); got != "current" {
		t.Errorf("the focus is on %s, want it where to go on", got)
	}
	c.press("Log out everywhere else")
	c.wantText("Where you are logged in 1")
	c.changePassword(password, "another")
	c.wantText("Your password is changed.")
	c.looksWell("account, new password")
	c.press("Log out")
	c.wantText("You are logged out.")
	c.looksWell("logged out")
	c.back()
	c.run(chromedp.WaitVisible(`[name=password]`))
}

// TestBrowserOverHTTP is the same with and without JavaScript, over plain http to a name.
// There browsers send no Sec-Fetch headers, and let no page write to the clipboard.
func TestBrowserOverHTTP(t *testing.T) {
	h := newHouse(t)
	url := h.serve()
	port := url[strings.LastIndex(url, ":"):]
	for _, script := range []bool{false, true} {
		c := newChromium(t, "MAP gate.example 127.0.0.1")
		c.run(emulation.SetScriptExecutionDisabled(!script), chromedp.Navigate("http://gate.example"+port))
		c.login(alice, "wrong")
		c.login(alice, password)
		c.fill("name", "laptop")
		c.press("Create token")
		secret := c.eval(`document.getElementById("new-token").innerText`)
		h.alive(secret)
		c.wantText("curl -H \"X-Auth-Token: $TOKEN\" http://gate.example" + port + "/api/token")
		if got, want := c.eval(`document.getElementById("copy").checkVisibility()`), fmt.Sprint(script); got != want {
			t.Errorf("a button to copy is there: %s, want %s", got, want)
		}
		if script {
			c.copiesByKey(secret)
		}
		c.press("Rename")
		c.fill("name", "old laptop")
		c.press("Rename")
		c.wantText("The token is now called old laptop.")
		c.press("Revoke")
		c.press("Revoke")
		h.dead(secret)
		c.awaitPage(c.click(".uid"))
		h.login(alice, password)
		c.changePassword(password, password)
		c.wantText("Your password is changed.")
		c.wantText("Where you are logged in 1")
		c.press("Log out")
		c.wantText("You are logged out.")
		c.quiet("over http")
	}
}

// TestBrowserOverHTTPS: the cookie is bound to the host and to https there. After the logout,
// the button that goes back shows nothing of what was there.
func TestBrowserOverHTTPS(t *testing.T) {
	h := newHouse(t, withTLS(t, "gate.example"))
	url := h.serve()
	c := newChromium(t, "MAP gate.example 127.0.0.1")
	c.run(security.SetIgnoreCertificateErrors(true), chromedp.Navigate("https://gate.example"+url[strings.LastIndex(url, ":"):]+"/api/createApiToken"))
	c.login(alice, password)
	c.wantText(`{"token":"`)
	c.run(chromedp.ActionFunc(func(ctx context.Context) error {
		cookies, err := network.GetCookies().Do(ctx)
		if err == nil && (len(cookies) != 1 || cookies[0].Name != "__Host-gatehouse" || !cookies[0].Secure || !cookies[0].HTTPOnly || cookies[0].SameSite != network.CookieSameSiteStrict) {
			err = fmt.Errorf("got cookies %+v", cookies)
		}
		return err
	}))
	home := "https://gate.example" + url[strings.LastIndex(url, ":"):]
	c.awaitPage(chromedp.Navigate(home))
	c.fill("name", "laptop")
	c.press("Create token")
	secret := c.eval(`document.getElementById("new-token").innerText`)
	c.awaitPage(c.click(".mark"))
	c.wantText("laptop")
	c.press("Rotate")
	c.press("Rotate")
	c.wantText("The new secret of laptop")
	other := c.eval(`document.getElementById("new-token").innerText`)
	c.press("Back to the tokens")
	c.quiet("over https")
	c.press("Log out")
	for n := range 6 {
		c.back()
		seen := c.eval(`document.documentElement.outerHTML`)
		for _, gone := range []string{secret[:40], other[:40], "laptop", alice} {
			if strings.Contains(seen, gone) {
				t.Errorf("%d pages back it still has %s: %s", n+1, gone, c.eval(`document.body.innerText`))
			}
		}
	}
}

// copiesByKey copies the token on a page that may not write to the clipboard, and pastes
// it into the field of a name.
func (c *chromium) copiesByKey(secret string) {
	c.Helper()
	c.run(c.click(button("Copy")), chromedp.Poll(`document.getElementById("copied").textContent`, nil), chromedp.Focus("#name"),
		input.DispatchKeyEvent(input.KeyDown).WithKey("v").WithModifiers(input.ModifierCtrl).WithCommands([]string{"paste"}))
	if got := c.eval(`document.getElementById("name").value`); got != secret {
		c.Errorf("got %q pasted, want the token", got)
	}
}

// TestBrowserKeyboard logs in and makes a token without a mouse.
func TestBrowserKeyboard(t *testing.T) {
	h := newHouse(t)
	c := newChromium(t)
	c.run(chromedp.Navigate(h.serve()), chromedp.WaitReady("[name=username]:focus"))
	c.awaitPage(chromedp.KeyEvent(alice + kb.Tab + password + kb.Enter))
	c.wantText("Manage API tokens")
	var stops []string
	for range 7 {
		c.run(chromedp.KeyEvent(kb.Tab))
		stops = append(stops, c.eval(`(e => e.name || e.innerText || e.tagName)(document.activeElement)`))
		if outline := c.eval(`getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
			t.Errorf("the focus can't be seen on %s", stops[len(stops)-1])
		}
	}
	if got, want := strings.Join(stops, ", "), "Gatehouse, alice@example.com, Log out, name, expiresIn, Limit what it may do, and from where, Create token"; got != want {
		t.Errorf("got the order %s, want %s", got, want)
	}
	c.run(chromedp.Focus("#name"))
	c.awaitPage(chromedp.KeyEvent("laptop" + kb.Enter))
	h.alive(c.eval(`document.getElementById("new-token").innerText`))
	c.quiet("by keyboard")
}

// TestBrowserTypedIn goes to createApiToken as the documents have it.
func TestBrowserTypedIn(t *testing.T) {
	h := newHouse(t)
	url := h.serve()
	c := newChromium(t)
	c.awaitPage(chromedp.Navigate(url + "/api/createApiToken"))
	c.wantText("Log in")
	c.login(alice, "wrong")
	c.login(alice, password)
	for range 2 {
		var made struct{ Token string }
		must.Do(t, json.Unmarshal([]byte(c.eval(`document.body.innerText`)), &made))
		h.alive(made.Token)
		c.awaitPage(chromedp.Navigate(url + "/api/createApiToken"))
	}
	if got := c.eval(`fetch("/api/logout", {method: "POST"}).then(() => fetch("/api/createApiToken")).then(r => r.status + " " + r.url)`); got != "401 "+url+"/api/createApiToken" {
		t.Errorf("a script that is not logged in gets %s, want 401", got)
	}
}

// TestBrowserOtherSite: what another site can make a logged-in browser do, and what a
// person who follows its links can do.
func TestBrowserOtherSite(t *testing.T) {
	h := newHouse(t)
	url := h.serve()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a id="home" href="%[1]s/">home</a> <a id="create" href="%[1]s/api/createApiToken">create</a>
			<iframe src="%[1]s/"></iframe><img src="%[1]s/api/createApiToken"><link rel="prefetch" href="%[1]s/api/createApiToken">`, url)
		for _, path := range []string{"/login", "/logout", "/tokens"} {
			fmt.Fprintf(w, `<form method="post" action="%s%s"><input name="username" value="bob@example.com"><input name="password" value="%s"><button>%[2]s</button></form>`, url, path, password)
		}
	}))
	defer evil.Close()
	h.addUser("bob@example.com", password)
	c := newChromium(t, "MAP evil.example:80 "+evil.Listener.Addr().String())
	c.run(chromedp.Navigate(url))
	c.login(alice, password)
	for path, answer := range map[string]string{
		"/login":  "Requests from another site are refused",
		"/logout": "Log in to go on", // the browser sends no cookie
		"/tokens": "Log in to go on",
	} {
		c.run(chromedp.Navigate("http://evil.example/"))
		c.press(path)
		c.wantText(answer)
	}
	c.run(chromedp.Navigate("http://evil.example/"))
	c.awaitPage(c.click("#create"))
	c.wantText(`{"error":`)
	c.run(chromedp.Navigate("http://evil.example/"), c.click("#home"), chromedp.WaitVisible("#list, #password"))
	c.wantText(alice)
	c.wantText("You have no tokens yet.")
}

// TestBrowserHostileNames: the content of a name stays in its place.
func TestBrowserHostileNames(t *testing.T) {
	h := newHouse(t)
	uid := strings.Repeat("W", 60) + "@" + strings.Repeat("W", 60) + ".example.com"
	h.addUser(uid, password)
	cookie := h.login(uid, password)
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, strings.Repeat("W", 200), "\u05d0\u05d1\u05d2 / \u0627\u0644",
		"Z" + strings.Repeat("\u0301", 150), strings.Repeat("\U0001f4a3", 200),
	} {
		h.ask("POST", "/api/token").cookie(cookie).json(toJSON(map[string]string{"name": name})).send().newToken()
	}
	c := newChromium(t)
	c.run(chromedp.Navigate(h.serve()))
	c.login(uid, password)
	c.wantText(`<script>alert(1)</script>`)
	c.looksWell("hostile names")
	// Each row is as high as its content: nothing hangs out of it.
	if got := c.eval(`[...document.querySelectorAll("tbody tr")].filter(r => r.scrollHeight > r.clientHeight + 1 || r.scrollWidth > r.clientWidth + 1).length`); got != "0" {
		t.Errorf("%s rows are too small for what is in them", got)
	}
	for range 6 {
		c.press("Revoke")
		c.fits("revoke a hostile name")
		c.press("Revoke")
	}
	c.wantText("You have no tokens yet.")
}

// TestBrowserProvider logs in by a provider, which is another site: the browser
// comes back from there, and is in. The page has all the ways in on it.
func TestBrowserProvider(t *testing.T) {
	h, provider := newGitHubHouse(t, func(c *config.Config) {
		c.LDAP = &config.LDAP{URLs: []string{"ldaps://ldap.example.com"}, BaseDN: "dc=example,dc=com"}
	})
	provider.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/login/oauth/authorize" {
			return false
		}
		http.Redirect(w, r, provider.Agree(r.URL.String(), ada()), http.StatusFound)
		return true
	})
	url := strings.Replace(h.serve(), "127.0.0.1", "localhost", 1)
	c := newChromium(t)
	c.run(chromedp.Navigate(url))
	c.looksWell("log in, by a provider too")
	c.wantText("Log in with GitHub")
	c.run(c.click("ul.providers a"), chromedp.WaitVisible("#list, [role=alert]"))
	c.wantText("Ada@Example.com")
	c.looksWell("logged in by a provider")
	c.press("Log out")

	// A person who went to createApiToken gets the token then, as after a login by
	// password.
	c.awaitPage(chromedp.Navigate(url + "/api/createApiToken"))
	c.wantText("Log in with GitHub")
	c.run(c.click("ul.providers a"))
	c.await(`document.body.innerText.startsWith('{"token":"')`)
	var made struct{ Token string }
	must.Do(t, json.Unmarshal([]byte(c.eval(`document.body.innerText`)), &made))
	h.alive(made.Token)
	c.run(chromedp.Navigate(url), chromedp.WaitVisible("#list"))
	c.press("Log out")

	provider.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/login/oauth/authorize" {
			return false
		}
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?error=access_denied&state="+r.FormValue("state"), http.StatusFound)
		return true
	})
	c.run(c.click("ul.providers a"), chromedp.WaitVisible("[role=alert]"))
	c.looksWell("refused by a provider")
	c.awaitPage(c.click("main a.button"))
	c.run(c.click("[name=method][value=userpass]"))
	c.login(alice, password)
	c.wantText(alice)
	c.quiet("logged in after a refusal")
}
