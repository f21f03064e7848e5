package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gatehouse/server/config"
	"gatehouse/server/login"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const publicURL = "https://tokens.example.com"

func public(c *config.Config) { c.PublicURL = publicURL }

// visitor is a browser: it keeps its cookies, and follows nothing by itself.
type visitor struct {
	h       *house
	from    string
	site    string // what it says in Sec-Fetch-Site, if anything
	cookies map[string]string
}

func (h *house) visitor() *visitor {
	return &visitor{h: h, from: "192.0.2.1:1234", cookies: map[string]string{}}
}

// visit sends the browser to an address of this server.
func (v *visitor) visit(address string) answer {
	v.h.Helper()
	a := v.h.ask("GET", strings.TrimPrefix(address, publicURL)).from(v.from)
	for name, value := range v.cookies {
		a.header("Cookie", name+"="+value)
	}
	if v.site != "" {
		a.header("Sec-Fetch-Site", v.site)
	}
	got := a.send()
	for _, c := range (&http.Response{Header: got.header}).Cookies() {
		if v.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	return got
}

// begin begins a login, and returns the address at the provider.
func (v *visitor) begin(path string) string {
	v.h.Helper()
	return v.visit(path).want(http.StatusFound, "").wantHeader("Cache-Control", "no-store").header.Get("Location")
}

// in checks that the browser is logged in.
func (v *visitor) in(uid string) {
	v.h.Helper()
	token := v.h.ask("POST", "/api/token").cookie(v.cookies[v.h.cookieName()]).send().newToken()
	if token.UID != uid {
		v.h.Errorf("got a session of %s, want %s", token.UID, uid)
	}
}

func (v *visitor) out() {
	v.h.Helper()
	if v.cookies[v.h.cookieName()] != "" {
		v.h.Error("the browser got the login cookie")
	}
}

// TestBrowserLogin is a whole login, at each type of provider.
func TestBrowserLogin(t *testing.T) {
	for kind, authorize := range map[string]string{
		"github": "/login/oauth/authorize", "gitlab": "/oauth/authorize", "google": "/o/oauth2/v2/auth", "gitea": "/login/oauth/authorize", "oidc": "/authorize",
	} {
		t.Run(kind, func(t *testing.T) {
			s := oauthtest.New(t, kind)
			if kind == "oidc" {
				s.Issuer = s.URL
			}
			h := newHouse(t, public, withProvider(s, "corp"))
			v := h.visitor()
			got := v.visit("/login/corp").want(http.StatusFound, "")
			u, err := url.Parse(got.header.Get("Location"))
			if err != nil || !strings.HasPrefix(u.String(), s.URL+authorize+"?") || u.Query().Get("redirect_uri") != publicURL+"/login/corp/callback" {
				t.Fatalf("got sent to %s", u)
			}
			set := got.header.Get("Set-Cookie")
			for _, want := range []string{"__Host-gatehouse-login=", "; Path=/", "; Max-Age=600", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
				if !strings.Contains(set, want) {
					t.Errorf("got cookie %s, want %s", set, want)
				}
			}
			back := s.Agree(u.String(), ada())
			done := v.visit(back).want(http.StatusFound, "").wantHeader("Location", "/").wantHeader("Referrer-Policy", "no-referrer").wantHeader("Cache-Control", "no-store")
			cookies := strings.Join(done.header.Values("Set-Cookie"), "\n")
			for _, want := range []string{"__Host-gatehouse-login=; Path=/; Max-Age=0", "__Host-gatehouse=", "; HttpOnly; Secure; SameSite=Lax"} {
				if !strings.Contains(cookies, want) {
					t.Errorf("got cookies %s, want %s", cookies, want)
				}
			}
			v.in("Ada@Example.com")
			h.wantUsers("Ada@Example.com corp active")
			h.wantTold(storage.ActionLogin, "Ada@Example.com Ada@Example.com corp")
			if got := h.figures()[`gatehouse_logins_total{method="corp",outcome="accepted"}`]; got != 1 {
				t.Errorf("got %v accepted logins in the metrics, want 1", got)
			}
			code, _ := url.Parse(back)
			h.log.Write([]byte("refused a login")) // none was
			h.wantNoSecrets(code.Query().Get("code"), code.Query().Get("state"), oauthtest.Secret, v.cookies[h.cookieName()])
		})
	}
}

// TestBrowserState: a login comes back once, soon, in the browser and from the provider
// that it began with.
func TestBrowserState(t *testing.T) {
	gitHub, gitLab := oauthtest.New(t, "github"), oauthtest.New(t, "gitlab")
	h := newHouse(t, public, withProvider(gitHub, "github"), withProvider(gitLab, "gitlab"))

	t.Run("replay", func(t *testing.T) {
		v := h.visitor()
		back := gitHub.Agree(v.begin("/login/github"), ada())
		cookie := v.cookies["__Host-gatehouse-login"]
		v.visit(back).want(http.StatusFound)
		again := h.visitor()
		again.cookies["__Host-gatehouse-login"] = cookie
		again.visit(back).want(http.StatusBadRequest)
		again.out()
	})
	t.Run("another browser", func(t *testing.T) { // mallory has the victim follow her own link
		mallory, victim := h.visitor(), h.visitor()
		back := gitHub.Agree(mallory.begin("/login/github"), &oauthtest.Account{ID: 66, Emails: oauthtest.Verified("mallory@example.com")})
		victim.visit(back).want(http.StatusBadRequest)
		victim.out()
		back = gitHub.Agree(mallory.begin("/login/github"), ada())
		victim.begin("/login/github")
		victim.visit(back).want(http.StatusBadRequest)
		victim.out()
	})
	t.Run("another provider", func(t *testing.T) {
		v := h.visitor()
		back := gitHub.Agree(v.begin("/login/github"), ada())
		gitLab.Asked()
		v.visit(strings.Replace(back, "/github/", "/gitlab/", 1)).want(http.StatusBadRequest)
		v.out()
		if asked := gitLab.Asked(); len(asked) != 0 {
			t.Errorf("the code was sent to another provider: %q", asked)
		}
	})
	t.Run("too late", func(t *testing.T) {
		v := h.visitor()
		first, late := gitHub.Agree(v.begin("/login/github"), ada()), ""
		h.clock.Move(login.PendingLife - time.Millisecond)
		v.visit(first).want(http.StatusFound)
		late = gitHub.Agree(v.begin("/login/github"), ada())
		h.clock.Move(login.PendingLife)
		v.visit(late).want(http.StatusBadRequest)
	})
	t.Run("two windows", func(t *testing.T) { // the later one counts
		v := h.visitor()
		first := gitHub.Agree(v.begin("/login/github"), ada())
		second := gitHub.Agree(v.begin("/login/github"), ada())
		v.visit(second).want(http.StatusFound)
		v.visit(first).want(http.StatusBadRequest)
	})
	t.Run("two cookies", func(t *testing.T) {
		v := h.visitor()
		back := gitHub.Agree(v.begin("/login/github"), ada())
		a := h.ask("GET", strings.TrimPrefix(back, publicURL))
		a.header("Cookie", "__Host-gatehouse-login=planted", "__Host-gatehouse-login="+v.cookies["__Host-gatehouse-login"])
		a.send().want(http.StatusBadRequest)
	})
	t.Run("forged", func(t *testing.T) {
		v := h.visitor()
		v.begin("/login/github")
		for _, query := range []string{"", "?", "?code=x", "?code=x&state=", "?code=x&state=x", "?state=a&state=b&code=x", "?code=a&code=b&state=x", "?error=access_denied", "?state=%zz", "?error=a&error=b&state=x"} {
			v.visit("/login/github/callback" + query).want(http.StatusBadRequest)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		v := h.visitor()
		back := gitHub.Agree(v.begin("/login/github"), ada())
		h.ask("HEAD", strings.TrimPrefix(back, publicURL)).header("Cookie", "__Host-gatehouse-login="+v.cookies["__Host-gatehouse-login"]).
			send().want(http.StatusMethodNotAllowed).wantHeader("Allow", "GET")
		v.visit(back).want(http.StatusFound)
	})
	h.wantUsers("Ada@Example.com github active")
}

// TestBrowserRefused: what can go wrong at the provider.
func TestBrowserRefused(t *testing.T) {
	h, s := newGitHubHouse(t, public)
	refused := func(query string) answer {
		v := h.visitor()
		u, _ := url.Parse(v.begin("/login/github"))
		got := v.visit("/login/github/callback?state=" + u.Query().Get("state") + query)
		v.out()
		return got
	}
	refused("&error=access_denied&error_description=The+user+has+denied").want(http.StatusForbidden, `{"error":"The login was cancelled at the provider: log in again"}`)
	// An error that a browser reports about the provider is only the browser's word.
	for _, said := range []string{"temporarily_unavailable", "server_error"} {
		refused("&error="+said).want(http.StatusServiceUnavailable, `{"error":"The provider is not available: try again later"}`)
	}
	if st, err := h.admin.Status(t.Context()); err != nil || st.Providers[0].LastFailure != 0 || strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("got status %+v, %v, and the log %s", st.Providers, err, h.log)
	}
	refused("&error=%1b[31m%0ainvalid_scope").want(http.StatusUnauthorized)
	refused("").want(http.StatusUnauthorized)
	refused("&code=").want(http.StatusUnauthorized)
	refused("&code=a%0d%0ab").want(http.StatusUnauthorized)
	refused("&code=never-given-out").want(http.StatusUnauthorized, invalidCredentials)

	login := func(person *oauthtest.Account) answer {
		v := h.visitor()
		return v.visit(s.Agree(v.begin("/login/github"), person))
	}
	unverified, mallory := ada(), ada()
	unverified.Emails[0].Verified = false
	login(unverified).want(http.StatusForbidden)
	mallory.Emails = oauthtest.Verified(alice)
	login(mallory).want(http.StatusConflict)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, r.PostFormValue("code")+r.PostFormValue("client_secret"), http.StatusBadGateway)
		return true
	})
	login(ada()).want(http.StatusServiceUnavailable)
	h.wantUsers()
	h.wantNoSecrets("never-given-out", oauthtest.Secret, "\x1b")
}

// TestBrowserPage: a person sees the error on the page where one can try again.
func TestBrowserPage(t *testing.T) {
	h, s := newGitHubHouse(t, public)
	for path, want := range map[string]string{
		"/login/github/callback?state=x&code=y": "begin it again",
		"/login/github?next=//evil.example":     "write a path on this server",
		"/login/gitlab":                         "is not configured",
	} {
		got := h.ask("GET", path).header("Accept", "text/html,*/*;q=0.8").send()
		if got.code < 400 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") || !strings.Contains(got.text, want) || !strings.Contains(got.text, "/login/github") {
			t.Errorf("%s: got %d %.300s", path, got.code, got.text)
		}
	}
	v := h.visitor()
	u, _ := url.Parse(v.begin("/login/github"))
	got := h.ask("GET", "/login/github/callback?error=access_denied&state="+u.Query().Get("state")).header("Accept", "text/html").
		header("Cookie", "__Host-gatehouse-login="+v.cookies["__Host-gatehouse-login"]).send()
	if got.code != http.StatusForbidden || !strings.Contains(got.text, "was cancelled") || got.header.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("got %d %v %.300s", got.code, got.header, got.text)
	}
	if asked := s.Asked(); len(asked) != 0 {
		t.Errorf("the provider was asked: %q", asked)
	}
}

// TestBrowserNext: a login leads to pages of this server, and nowhere else.
func TestBrowserNext(t *testing.T) {
	h, s := newGitHubHouse(t, public)
	for next, want := range map[string]string{
		"/": "/", "": "/", "/?x=1&y=%2F": "/?x=1&y=%2F", "/tokens/17#top": "/tokens/17#top", "/a/../b": "/a/../b", "/%C3%A4": "/%C3%A4",
		"/api/createApiToken": "/", "/API/createApiToken": "/", "/x/../api/createApiToken": "/", "/%61pi/createApiToken": "/", "/./api/token": "/", "/api": "/",
		"/login/github": "/", "/login": "/", "/logout": "/", "/login/github/callback?code=x": "/",
	} {
		v := h.visitor()
		v.visit(s.Agree(v.begin("/login/github?next="+url.QueryEscape(next)), ada())).want(http.StatusFound).wantHeader("Location", want)
	}
	// From our own login page, a person may go on to the API, through a page: a request
	// that comes from the provider's site makes no token.
	for next, want := range map[string]string{"/api/createApiToken": "/api/createApiToken", "/api/getApiTokens": "/api/getApiTokens", "/login/github": "", "/?x=1": ""} {
		v := h.visitor()
		v.site = "same-origin"
		address := v.begin("/login/github?next=" + url.QueryEscape(next))
		v.site = "cross-site"
		got := v.visit(s.Agree(address, ada()))
		v.in("Ada@Example.com")
		if want == "" {
			got.want(http.StatusFound)
			continue
		}
		got.page(http.StatusOK).shows(`content="0; url=` + want + `"`)
	}
	for _, site := range []string{"cross-site", "same-site", "none"} {
		v := h.visitor()
		v.site = site
		v.visit(s.Agree(v.begin("/login/github?next=/api/createApiToken"), ada())).want(http.StatusFound).wantHeader("Location", "/")
	}
	for _, next := range []string{
		"//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example", "https:evil.example", "javascript:alert(1)",
		"evil", "?x", "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " /x", "/x y", "/x\x00", "/x\r\nSet-Cookie: a=b",
		"/ä", "/%zz", "/" + strings.Repeat("a", 2048), "//api/x",
	} {
		got := h.ask("GET", "/login/github?next="+url.QueryEscape(next)).send().want(http.StatusBadRequest)
		if got.header.Get("Set-Cookie")+got.header.Get("Location") != "" {
			t.Errorf("%q: got %v", next, got.header)
		}
	}
	h.ask("GET", "/login/github?next=/a&next=/b").send().want(http.StatusBadRequest)
	h.ask("GET", "/login/github?next=%zz").send().want(http.StatusBadRequest)
}

// TestBrowserHost: without public_url, the provider sends browsers back to an address of
// this machine, never to a name that a client may claim.
func TestBrowserHost(t *testing.T) {
	h, _ := newGitHubHouse(t)
	for host, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080/login/github/callback",
		"localhost:8080": "http://localhost:8080/login/github/callback",
		"localhost":      "http://localhost/login/github/callback",
		"[::1]:8080":     "http://[::1]:8080/login/github/callback",

		"evil.example":           "",
		"tokens.example.com":     "",
		"198.51.100.7":           "",
		"localhost.evil.example": "",
		"localhost@evil.example": "",
		"127.0.0.1/x":            "",
		"127.0.0.1#x":            "",
		"":                       "",
	} {
		a := h.ask("GET", "/login/github")
		a.r.Host = host
		got := a.send()
		if want == "" {
			got.want(http.StatusBadRequest)
			continue
		}
		u, err := url.Parse(got.want(http.StatusFound).header.Get("Location"))
		if err != nil || u.Query().Get("redirect_uri") != want {
			t.Errorf("%s: got sent to %s, %v, want %s", host, u, err, want)
		}
		if set := got.header.Get("Set-Cookie"); !strings.HasPrefix(set, "gatehouse-login=") || strings.Contains(set, "Secure") {
			t.Errorf("%s: got cookie %s", host, set)
		}
	}
	for _, path := range []string{"/login/gitlab", "/login/userpass", "/login/gitlab/callback?state=x&code=y", "/login/GITHUB"} {
		h.ask("GET", path).send().want(http.StatusNotFound)
	}
}

// TestPendingCrowd: logins begun from any number of networks keep nobody out, and may go
// on forever. The networks are those of one /56 and many more, at ten times the number
// that once stopped all logins.
func TestPendingCrowd(t *testing.T) {
	h, s := newGitHubHouse(t, public)
	v := h.visitor()
	v.from = "198.51.100.1:1"
	back := s.Agree(v.begin("/login/github"), ada())
	crowd := h.visitor()
	for i := range 1570 {
		crowd.from = fmt.Sprintf("[2001:db8:%x:%x::1]:1", i/256, i%256)
		for range 8 {
			crowd.begin("/login/github")
		}
	}
	v.visit(back).want(http.StatusFound)
	v.in("Ada@Example.com")
	v.visit(s.Agree(v.begin("/login/github"), ada())).want(http.StatusFound)
}

// TestBrowserSession: browsers send the cookie of such a login even when another site
// leads here, so a GET that changes something asks for more.
func TestBrowserSession(t *testing.T) {
	h, s := newGitHubHouse(t, public)
	v := h.visitor()
	v.visit(s.Agree(v.begin("/login/github"), ada())).want(http.StatusFound)
	session := v.cookies[h.cookieName()]
	create := func(site string) *ask {
		a := h.ask("GET", "/api/createApiToken").cookie(session)
		if site != "" {
			a.header("Sec-Fetch-Site", site)
		}
		return a
	}
	create("same-origin").send().newToken()
	create("none").send().newToken()
	create("cross-site").send().want(http.StatusForbidden)
	create("").header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8").send().want(http.StatusForbidden)
	create("").send().newToken() // a script
	h.ask("POST", "/api/token").cookie(session).send().newToken()

	// A new login ends the session that the browser has.
	v.visit(s.Agree(v.begin("/login/github"), ada())).want(http.StatusFound)
	h.ask("POST", "/api/token").cookie(session).send().want(http.StatusUnauthorized)
	v.in("Ada@Example.com")
}

// TestBrowserByProvider is a whole login in a real browser, with a real provider on
// another site: it tests cookies, redirects and the pages' own policy.
func TestBrowserByProvider(t *testing.T) {
	storagetest.Slow(t)
	const gate = "http://gate.example"
	dex := oauthtest.StartDex(t, gate+"/login/dex/callback", "")
	secret := filepath.Join(t.TempDir(), "secret")
	must.Do(t, os.WriteFile(secret, []byte("gatehouse-secret"), 0o600))
	h := newHouse(t, func(c *config.Config) {
		c.PublicURL = gate
		c.OAuth = map[string]config.OAuth{"dex": {Type: "oidc", URL: dex.Issuer, Insecure: true, ClientID: "gatehouse", ClientSecretFile: secret}}
	})
	c := newChromium(t, "MAP gate.example "+strings.TrimPrefix(h.serve(), "http://"))
	c.run(chromedp.Navigate(gate))
	c.awaitPage(c.click(`//a[contains(., "dex")]`))
	c.fill("login", "ada@example.com")
	c.fill("password", "secret")
	c.awaitPage(c.click(`//button[@type="submit"]`))
	c.wantText("Manage API tokens")
	c.wantText("ada@example.com")
	if got := c.eval(`location.href`); got != gate+"/" {
		t.Errorf("got to %s, want %s/", got, gate)
	}
	h.wantUsers("ada@example.com dex active")
	c.run(chromedp.Navigate(gate + "/login/dex/callback?error=access_denied&state=x"))
	c.wantText("begin it again")
}
