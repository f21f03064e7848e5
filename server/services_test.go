package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

const carol = "carol@example.com"

// service makes a service account.
func (h *house) service(name, owner, successor string) {
	h.Helper()
	must.Get(h.admin.AddService(h.Context(), api.NewService{Name: name, Owner: owner, Successor: successor, Description: "<i>deploys"}))(h)
}

// serviceToken makes a token of a service account, as an administrator does.
func (h *house) serviceToken(uid, name string, scopes ...string) api.NewToken {
	h.Helper()
	t := must.Get(h.admin.CreateToken(h.Context(), api.TokenRequest{UID: uid, Name: name, Scopes: scopes, ExpiresIn: "90d"}))(h)
	return t
}

func (h *house) transfer(name, owner string) {
	h.Helper()
	must.Get(h.admin.TransferService(h.Context(), name, api.Transfer{Owner: owner}))(h)
}

// TestOwnersAPI: an owner sees a service account and its tokens, and renames, rotates and
// revokes these with a session.
func TestOwnersAPI(t *testing.T) {
	h := newHouse(t)
	h.addUser(carol, password)
	h.service("deploy", alice, carol)
	h.service("report", carol, "")
	one, two := h.serviceToken("deploy@service", "ci", "deploy"), h.serviceToken("deploy@service", "old")
	h.ask("GET", verifyPath).token(one.Secret).send().want(http.StatusOK).wantHeader("X-Auth-User", "deploy@service").wantHeader("X-Auth-Scopes", "deploy")
	cookie := h.login(alice, password)

	var services []api.OwnService
	h.ask("GET", "/api/services").cookie(cookie).send().want(http.StatusOK).wantHeader("Cache-Control", "no-store").into(&services)
	if len(services) != 1 || services[0].UID != "deploy@service" || services[0].Successor != carol || services[0].State != "active" || services[0].Tokens != 2 || services[0].LastUsed == 0 {
		t.Errorf("got %+v", services)
	}
	var list []api.ServiceToken
	got := h.ask("GET", "/api/services/deploy/tokens").cookie(cookie).send().want(http.StatusOK).into(&list)
	if len(list) != 2 || list[0].ID != one.ID || list[0].UID != "deploy@service" || list[0].CreatedBy != "tester" || list[0].State != "live" || strings.Join(list[0].Scopes, " ") != "deploy" {
		t.Errorf("got %+v", list)
	}
	if strings.Contains(got.text, one.Secret) || strings.Contains(got.text, "apiToken") {
		t.Error("a list of another's tokens has secrets")
	}
	h.ask("GET", "/api/services/Deploy/tokens").cookie(cookie).send().want(http.StatusOK)
	h.ask("GET", "/api/services/deploy@service/tokens").cookie(cookie).send().want(http.StatusOK)

	h.ask("PATCH", "/api/token/"+one.ID).cookie(cookie).json(`{"name":"nightly"}`).send().want(http.StatusNoContent)
	rotated := h.ask("POST", "/api/token/"+one.ID+"/rotate").cookie(cookie).json(`{"overlap":"1h"}`).send().newToken()
	if rotated.UID != "deploy@service" || rotated.ID != one.ID || rotated.Name != "nightly" || rotated.ExpiresOn != one.ExpiresOn {
		t.Errorf("got %+v", rotated)
	}
	h.ask("GET", verifyPath).token(one.Secret).send().want(http.StatusOK)
	h.ask("GET", verifyPath).token(rotated.Secret).send().want(http.StatusOK).wantHeader("X-Auth-Scopes", "deploy")
	h.ask("GET", verifyPath).token(one.Secret).send().want(http.StatusUnauthorized) // the new one is used
	h.ask("DELETE", "/api/token/"+two.ID).cookie(cookie).send().want(http.StatusNoContent)
	h.dead(two.Secret)
	for _, action := range []string{"token.rename", "token.rotate", "token.revoke"} {
		if n := h.happened(action); n != 1 {
			t.Errorf("got %d events %s, want 1", n, action)
		}
	}
	// The lists of the owner's own tokens do not have them.
	for _, path := range []string{"/api/tokens", "/api/getApiTokens"} {
		if got := h.ask("GET", path).cookie(cookie).send().want(http.StatusOK); strings.Contains(got.text, one.ID) {
			t.Errorf("%s has the token of a service account", path)
		}
	}
}

// TestNotTheOwner: nobody else gets at a service account: another user, its successor, a
// former owner's open session, a token of the owner's, an owner who is stopped, or another
// site with the owner's cookie. To them it does not exist.
func TestNotTheOwner(t *testing.T) {
	h := newHouse(t)
	for _, uid := range []string{carol, "eve@example.com", "first@example.com"} {
		h.addUser(uid, password)
	}
	h.service("deploy", "first@example.com", carol)
	made := h.serviceToken("deploy@service", "ci")
	former := h.login("first@example.com", password)
	h.ask("GET", "/api/services/deploy/tokens").cookie(former).send().want(http.StatusOK)
	h.transfer("deploy", alice)
	cookie, own := h.login(alice, password), h.token()
	for who, a := range map[string]string{"another": h.login("eve@example.com", password), "the successor": h.login(carol, password), "the former owner": former} {
		for _, path := range []string{"/api/services/deploy/tokens", "/api/services/nothing/tokens", "/api/services/x%2fy/tokens", "/api/services/Deploy/tokens"} {
			if got := h.ask("GET", path).cookie(a).send(); got.code != http.StatusNotFound || got.text != `{"error":"No such service account"}` {
				t.Errorf("%s: GET %s: got %d %s", who, path, got.code, got.text)
			}
		}
		h.ask("GET", "/api/services").cookie(a).send().want(http.StatusOK, "[]")
		h.ask("PATCH", "/api/token/"+made.ID).cookie(a).json(`{"name":"x"}`).send().want(http.StatusNotFound, `{"error":"No such token"}`)
		h.ask("POST", "/api/token/"+made.ID+"/rotate").cookie(a).send().want(http.StatusNotFound, `{"error":"No such token"}`)
		h.ask("DELETE", "/api/token/"+made.ID).cookie(a).send().want(http.StatusNotFound, `{"error":"No such token"}`)
		for _, verb := range []string{"rotate", "rename", "revoke"} {
			h.ask("GET", "/tokens/"+made.ID+"/"+verb).cookie(a).send().page(http.StatusNotFound).lacks("deploy")
			h.post("/tokens/"+made.ID+"/"+verb, a, "name", "x").page(http.StatusNotFound)
		}
		h.ask("GET", "/services/deploy").cookie(a).send().page(http.StatusNotFound)
		h.ask("GET", "/services").cookie(a).send().page(http.StatusOK).lacks("deploy").shows("You own no service account.")
	}
	for _, path := range []string{"/api/services", "/api/services/deploy/tokens"} {
		h.ask("GET", path).token(own).send().want(http.StatusUnauthorized, credentialsRequired)
		h.ask("GET", path).token(made.Secret).send().want(http.StatusUnauthorized, credentialsRequired)
		h.ask("GET", path).token(own).cookie(cookie).send().want(http.StatusUnauthorized, credentialsRequired)
		h.ask("GET", path).send().want(http.StatusUnauthorized, credentialsRequired)
	}
	h.ask("DELETE", "/api/token/"+made.ID).token(own).send().want(http.StatusNotFound)
	h.ask("POST", "/api/token/"+made.ID+"/rotate").token(own).send().want(http.StatusNotFound)
	h.ask("DELETE", "/api/token/"+made.ID).cookie(cookie).header("Origin", "https://evil.example").send().want(http.StatusForbidden)
	h.ask("POST", "/tokens/"+made.ID+"/rotate").cookie(cookie).header("Origin", "https://evil.example").form("overlap=0").send().page(http.StatusForbidden)
	h.alive(made.Secret)

	// A service account has no way to a session, and its token no way to make another.
	for _, uid := range []string{"deploy@service", "DEPLOY@service"} {
		for _, pw := range []string{"", password, "x"} {
			if got := h.userpass(uid, pw); got.code == http.StatusOK {
				t.Errorf("%s logs in", uid)
			}
		}
	}
	h.ask("POST", "/api/token").token(made.Secret).send().want(http.StatusUnauthorized)

	// The owner is stopped: the account works on, and the session is over.
	must.Do(t, h.admin.DisableUser(t.Context(), alice))
	h.ask("GET", "/api/services").cookie(cookie).send().want(http.StatusUnauthorized)
	h.alive(made.Secret)

	// The owner is removed: the successor's session has the account from then on.
	heir := h.login(carol, password)
	must.Do(t, h.admin.RemoveUser(t.Context(), alice))
	h.ask("GET", "/api/services/deploy/tokens").cookie(heir).send().want(http.StatusOK)
	h.alive(made.Secret)
}

// TestTransferDuringRotation: somebody who no longer owns a service account when a new secret
// is made does not get to see it.
func TestTransferDuringRotation(t *testing.T) {
	h := newHouse(t)
	h.addUser(carol, password)
	h.service("deploy", alice, "")
	made := h.serviceToken("deploy@service", "ci")
	a := h.ask("POST", "/api/token/"+made.ID+"/rotate").cookie(h.login(alice, password))
	a.r.SetPathValue("id", made.ID)
	r := &route.Request{Request: a.r}
	var err error
	if r.Caller, err = h.ByCookie(r); err != nil {
		t.Fatal(err)
	}
	own := must.Get(h.Tokens().OwnIn(r))(t)
	h.transfer("deploy", carol)
	if _, secret, err := h.Tokens().Rotate(r, own, 0); !errors.Is(err, storage.ErrNoToken) || secret != "" {
		t.Errorf("got %v and a secret of %d characters, want ErrNoToken", err, len(secret.Reveal()))
	}
}

// TestServicePolicy: what limits the tokens of people limits those of service accounts, and
// an owner's changes count as the owner's.
func TestServicePolicy(t *testing.T) {
	h := newHouse(t, func(c *config.Config) {
		c.Tokens.MaxPerUser, c.Limits.ChangesPerUser = 2, 2
		c.Tokens.MaxLifetime = config.Lifetime{Duration: 100 * day}
	})
	h.service("deploy", alice, "")
	made := h.serviceToken("deploy@service", "1")
	h.serviceToken("deploy@service", "2")
	_, err := h.admin.CreateToken(t.Context(), api.TokenRequest{UID: "deploy@service"})
	if e, _ := err.(*api.Error); e == nil || e.Status != http.StatusForbidden {
		t.Errorf("a third token: got %v, want 403", err)
	}
	_, err = h.admin.CreateToken(t.Context(), api.TokenRequest{UID: "deploy@service", ExpiresIn: "101d"})
	if e, _ := err.(*api.Error); e == nil || e.Status != http.StatusBadRequest {
		t.Errorf("a long life: got %v, want 400", err)
	}
	cookie := h.login(alice, password)
	rotate := func() *ask {
		return h.ask("POST", "/api/token/"+made.ID+"/rotate").cookie(cookie).json(`{"overlap":"0"}`)
	}
	rotate().send().want(http.StatusOK)
	rotate().send().want(http.StatusOK)
	rotate().send().want(http.StatusTooManyRequests)
	h.ask("DELETE", "/api/token/"+made.ID).cookie(cookie).send().want(http.StatusNoContent) // what ends something is never refused
}

// TestServicePage is a visit of an owner without JavaScript.
func TestServicePage(t *testing.T) {
	h := newHouse(t)
	h.addUser(carol, password)
	cookie := h.login(alice, password)
	h.home(cookie).page(http.StatusOK).lacks("Service accounts")
	h.service("deploy", alice, carol)
	made := h.serviceToken("deploy@service", "<b>ci")
	h.home(cookie).page(http.StatusOK).shows(`<a href="/services">Service accounts that you own</a> <span class="count">1</span>`).lacks(made.ID)
	h.ask("GET", "/services").cookie(cookie).send().page(http.StatusOK).
		shows(`<a href="/services/deploy"><bdi>deploy@service</bdi></a>`, "&lt;i&gt;", carol, ">active<").lacks("<i>deploys")
	const path = "/services/deploy"
	h.ask("GET", path).cookie(cookie).send().page(http.StatusOK).
		shows("<title>deploy@service", `&lt;b&gt;ci`, "by <bdi>tester</bdi>", "/tokens/"+made.ID+"/rotate", "Its tokens", "When you leave, <bdi>"+carol).
		lacks("Create a token", "<b>ci")

	page := "/tokens/" + made.ID + "/rotate"
	h.ask("GET", page).cookie(cookie).send().page(http.StatusOK).shows("Rotate this token?", `<option value="24h" selected>`, `href="`+path+`"`)
	h.post(page, cookie, "overlap", "soon").page(http.StatusBadRequest).shows("overlap: ")
	secret := h.post(page, cookie, "overlap", "24h").page(http.StatusOK).shows("in 24 hours at the latest, on <time datetime=\"2026-03-02T12:00:00Z\">2026-03-02 12:00 UTC</time>", `href="`+path+`"`).secret()
	h.alive(made.Secret)
	h.alive(secret)
	h.dead(made.Secret)
	last := h.post(page, cookie, "overlap", "0").page(http.StatusOK).shows("The old one no longer works.").secret()
	h.dead(secret)
	h.alive(last)

	h.ask("GET", "/tokens/"+made.ID+"/rename").cookie(cookie).send().page(http.StatusOK).shows(`href="` + path + `"`)
	to := h.post("/tokens/"+made.ID+"/rename", cookie, "name", "nightly").goesTo(path + "?renamed=" + made.ID).header.Get("Location")
	h.ask("GET", to).cookie(cookie).send().page(http.StatusOK).shows(`The token is now called <bdi class="name">nightly</bdi>.`)
	to = h.post("/tokens/"+made.ID+"/revoke", cookie).goesTo(path + "?revoked=" + made.ID).header.Get("Location")
	h.ask("GET", to).cookie(cookie).send().page(http.StatusOK).shows("is revoked and will never work again", "It has no tokens.")
	h.dead(last)
	for range 51 {
		h.serviceToken("deploy@service", "")
	}
	h.ask("GET", path).cookie(cookie).send().page(http.StatusOK).shows(`href="`+path+`?page=2" rel="next"`, "Page 1 of 2")
}

// TestServiceBrowser is the same visit in a real browser.
func TestServiceBrowser(t *testing.T) {
	h := newHouse(t)
	h.addUser(carol, password)
	url := h.serve()
	h.service("deploy", alice, carol)
	made := h.serviceToken("deploy@service", "continuous integration", "deploy")
	c := newChromium(t)
	c.run(chromedp.Navigate(url))
	c.login(alice, password)
	c.wantText("Service accounts that you own 1")
	c.looksWell("tokens, with a service account")
	c.awaitPage(c.click(`a[href="/services"]`))
	c.wantText("deploy@service")
	c.looksWell("service accounts")
	c.awaitPage(c.click(`a[href="/services/deploy"]`))
	c.wantText("continuous integration")
	c.looksWell("a service account")
	c.press("Rotate")
	c.wantText("Rotate this token?")
	c.looksWell("rotate")
	c.press("Rotate")
	c.wantText("Copy it now")
	c.looksWell("rotated")
	secret := c.eval(`document.getElementById("new-token").innerText`)
	h.alive(secret)
	h.dead(made.Secret)
	if got := c.eval(`document.activeElement.id`); got != "made" {
		t.Errorf("the focus is on %s, want it on the heading, which is read out", got)
	}
	for range 50 {
		h.serviceToken("deploy@service", "", "one", "two", "three", "four", "five", "six")
	}
	c.run(chromedp.Navigate(url + "/services/deploy?sort=name&page=2"))
	c.run(c.click("td summary"))
	c.wantText("Page 2 of 2")
	c.wantText("six")
	c.looksWell("many tokens, sorted, with all limits of one")
	c.run(chromedp.Navigate(url + "/nothing"))
	c.wantText("There is nothing at this address.")
	c.looksWell("a failure")
}
