package server_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/web"
)

// page checks that the reply is a page with that status, and the headers that keep a page
// safe.
func (a answer) page(code int) answer {
	a.Helper()
	if a.code != code {
		a.Fatalf("%s: got status %d (%.300s), want %d", a.what, a.code, a.text, code)
	}
	a.wantHeader("Content-Type", "text/html; charset=utf-8").
		wantHeader("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'").
		wantHeader("X-Content-Type-Options", "nosniff").
		wantHeader("X-Frame-Options", "DENY").
		wantHeader("Referrer-Policy", "same-origin").
		wantHeader("Cache-Control", "no-store")
	for _, inline := range []string{"<style", " style=", "<script>", "javascript:", " onclick="} {
		if strings.Contains(a.text, inline) {
			a.Errorf("%s: the page has %q, which its policy forbids", a.what, inline)
		}
	}
	return a
}

// shows checks that the page has all the texts, as HTML.
func (a answer) shows(texts ...string) answer {
	a.Helper()
	for _, text := range texts {
		if !strings.Contains(a.text, text) {
			a.Errorf("%s: the page lacks %q:\n%s", a.what, text, a.text)
		}
	}
	return a
}

func (a answer) lacks(texts ...string) answer {
	a.Helper()
	for _, text := range texts {
		if strings.Contains(a.text, text) {
			a.Errorf("%s: the page has %q", a.what, text)
		}
	}
	return a
}

// goesTo checks that the reply sends the browser to a path.
func (a answer) goesTo(path string) answer {
	a.Helper()
	if a.code != http.StatusSeeOther || a.header.Get("Location") != path {
		a.Fatalf("%s: got %d to %q (%.300s), want 303 to %q", a.what, a.code, a.header.Get("Location"), a.text, path)
	}
	return a.wantHeader("Cache-Control", "no-store")
}

// post fills in a form as a browser does that has the page.
func (h *house) post(path, cookie string, fields ...string) answer {
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	a := h.ask("POST", path).form(v.Encode()).header("Origin", "http://example.com").header("Sec-Fetch-Site", "same-origin")
	if cookie != "" {
		a.cookie(cookie)
	}
	return a.send()
}

func (h *house) home(cookie string) answer { return h.ask("GET", "/").cookie(cookie).send() }

var newTokenElement = regexp.MustCompile(`<code id="new-token">([0-9a-f]{256})</code>`)

// secret finds the new token on the page.
func (a answer) secret() string {
	a.Helper()
	m := newTokenElement.FindStringSubmatch(a.text)
	if m == nil {
		a.Fatalf("%s: no new token on the page: %s", a.what, a.text)
	}
	return m[1]
}

// TestPageStory is a visit without JavaScript, from the login to the logout.
func TestPageStory(t *testing.T) {
	h := newHouse(t)
	h.ask("GET", "/").send().page(http.StatusOK).
		shows(`<h1>Log in</h1>`, `name="username"`, `name="password"`, `>Log in</button>`).
		lacks("Directory (LDAP)", "Log out", "/login/")
	cookie := h.post("/login", "", "username", "Alice@Example.com", "password", password).goesTo("/").session()
	h.home(cookie).page(http.StatusOK).
		shows(alice, "<h1>Manage API tokens</h1>", "You have no tokens yet.", ">Create token</button>", ">Log out</button>", `curl -H "X-Auth-Token: $TOKEN" http://example.com/api/token`)

	made := h.post("/tokens", cookie, "name", "nightly", "expiresIn", "30d").page(http.StatusOK)
	secret := made.secret()
	made.shows(`<bdi class="name">nightly</bdi>`, "2026-03-31")
	var id string
	for id = range h.listed(secret) {
		h.clock.Move(3 * time.Hour)
		h.ask("GET", "/api/token").token(secret).from("198.51.100.7:4").send().want(http.StatusOK)
	}
	h.clock.Move(5 * time.Minute)
	h.home(cookie).page(http.StatusOK).lacks(secret, "new-token").
		shows(`<time datetime="2026-03-01T15:00:00Z" title="2026-03-01 15:00:00 UTC">5 minutes ago</time>`, "198.51.100.7", "<span>in 30 days</span>", "2026-03-31 12:00 UTC</time>", `<span class="state live">live</span>`)

	h.ask("GET", "/tokens/"+id+"/rename").cookie(cookie).send().page(http.StatusOK).shows(`value="nightly"`)
	h.post("/tokens/"+id+"/rename", cookie, "nmae", "weekly").page(http.StatusBadRequest)
	to := h.post("/tokens/"+id+"/rename", cookie, "name", "weekly").goesTo("/?renamed=" + id).header.Get("Location")
	h.ask("GET", to).cookie(cookie).send().page(http.StatusOK).shows(`role="status"`, `The token is now called <bdi class="name">weekly</bdi>.`)

	h.ask("GET", "/tokens/"+id+"/revoke").cookie(cookie).send().page(http.StatusOK).shows("Revoke this token?", "weekly", id, ">Revoke</button>")
	h.alive(secret)
	to = h.post("/tokens/"+id+"/revoke", cookie).goesTo("/?revoked=" + id).header.Get("Location")
	h.dead(secret)
	h.ask("GET", to).cookie(cookie).send().page(http.StatusOK).shows(`<bdi class="name">weekly</bdi> is revoked`, "You have no tokens yet.")
	h.post("/tokens/"+id+"/revoke", cookie).page(http.StatusNotFound)

	h.post("/logout", cookie).goesTo("/?out").wantHeader("Set-Cookie", "gatehouse=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
	h.ask("GET", "/?out").cookie(cookie).send().page(http.StatusOK).shows("You are logged out.", "<h1>Log in</h1>")
	h.post("/tokens", cookie, "name", "x").page(http.StatusUnauthorized).shows("<h1>Log in</h1>")
}

// TestLoginPageRefuses: a login on the page has the same limits as any login.
func TestLoginPageRefuses(t *testing.T) {
	h := newHouse(t)
	wrong := []string{"username", alice, "password", "<i>wrong"}
	got := h.post("/login", "", wrong...).page(http.StatusUnauthorized)
	got.shows("Invalid credentials", `value="alice@example.com"`).lacks("wrong&lt;", "&lt;i&gt;").wantHeader("Set-Cookie", "")
	unknown := h.post("/login", "", "username", "nobody@example.com", "password", "x").page(http.StatusUnauthorized)
	if a, b := strings.ReplaceAll(got.text, alice, ""), strings.ReplaceAll(unknown.text, "nobody@example.com", ""); a != b {
		t.Errorf("an unknown user gets another page:\n%s\n%s", a, b)
	}
	h.post("/login", "", "username", alice, "password", password, "method", "ldap").page(http.StatusBadRequest).shows("is not configured")
	h.post("/login", "", "username", alice).page(http.StatusBadRequest)
	h.ask("POST", "/login").form("username=a&username=b&password=c").send().page(http.StatusBadRequest)
	h.ask("POST", "/login").body("text/plain", "x").send().page(http.StatusUnsupportedMediaType)
	h.ask("POST", "/login").form("username=" + strings.Repeat("a", 70_000)).send().page(http.StatusRequestEntityTooLarge)
	for range h.cfg.Logins.AccountFailures - 1 {
		h.post("/login", "", wrong...).page(http.StatusUnauthorized)
	}
	h.post("/login", "", "username", alice, "password", password).page(http.StatusTooManyRequests).wantHeader("Retry-After", "1").shows("Too many failed logins")
	h.ask("POST", "/api/login").form("username=" + alice + "&password=x").send().want(http.StatusTooManyRequests)
	if log := h.ask("GET", "/metrics").send(); !strings.Contains(log.text, `gatehouse_logins_total{method="userpass",outcome="rejected"} 6`) {
		t.Error("the figures lack the logins of the page")
	}
}

// TestPageOrigins: another site can't post any of the forms, not even the login.
func TestPageOrigins(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	id := h.create(`{"name":"a"}`).ID
	for _, sent := range []credentials{
		{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
	} {
		for _, path := range []string{"/login", "/logout", "/tokens", "/tokens/" + id + "/rename", "/tokens/" + id + "/rotate", "/tokens/" + id + "/revoke"} {
			a := h.ask("POST", path).cookie(cookie).form("username=alice@example.com&password=correct+horse+battery+staple&name=b")
			sent.on(a).send().page(http.StatusForbidden).wantHeader("Set-Cookie", "").lacks(alice)
		}
	}
	h.home(cookie).page(http.StatusOK).shows(">a</bdi>", `<span class="count">1</span>`)
}

// TestOthersTokens: only the owner can open the page of a token.
func TestOthersTokens(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", password)
	theirs := h.create(`{"name":"secret project"}`)
	bob := h.login("bob@example.com", password)
	for _, id := range []string{theirs.ID, "x", strings.Repeat("0", 28), "..", "%2e%2e"} {
		for _, what := range []string{"rename", "revoke"} {
			for _, method := range []string{"GET", "POST"} {
				got := h.ask(method, "/tokens/"+id+"/"+what).cookie(bob).form("name=mine").send()
				if got.code != http.StatusNotFound || strings.Contains(got.text, "secret project") {
					t.Errorf("%s: got %d %s", got.what, got.code, got.text)
				}
			}
		}
	}
	h.alive(theirs.Secret)
	h.ask("GET", "/?renamed="+theirs.ID+"&revoked="+theirs.ID).cookie(bob).send().page(http.StatusOK).lacks("secret project", `role="status"`)
	mine := h.ask("POST", "/api/token").cookie(bob).send().newToken()
	h.ask("GET", "/?revoked="+mine.ID).cookie(bob).send().page(http.StatusOK).lacks("is revoked")
	h.ask("GET", "/").cookie(bob).token(mine.Secret).send().page(http.StatusOK).shows("<h1>Log in</h1>")
}

// TestHostileNames: what people write is shown as text on every page, and invisible
// characters are written out.
func TestHostileNames(t *testing.T) {
	h := newHouse(t)
	person := `"'<i>&{{.}}@example.com`
	h.addUser(person, password)
	h.post("/login", h.post("/login", "", "username", person, "password", password).goesTo("/").session(), "username", person, "password", "x").
		page(http.StatusUnauthorized).lacks("<i>", person)
	h.home(h.login(person, password)).page(http.StatusOK).shows(`<bdi>&#34;&#39;&lt;i&gt;&amp;{{.}}@example.com</bdi>`)
	cookie := h.login(alice, password)
	for name, want := range map[string]string{
		`<script>alert(1)</script>`:        `&lt;script&gt;alert(1)&lt;/script&gt;`,
		`"><img src=x onerror=alert(1)>`:   `&#34;&gt;&lt;img src=x onerror=alert(1)&gt;`,
		`{{.}} ${x} </bdi></title>`:        `{{.}} ${x} &lt;/bdi&gt;&lt;/title&gt;`,
		"\u05d0\u05d1\u05d2 (revoked)":     "<bdi class=\"name\">\u05d0\u05d1\u05d2 (revoked)</bdi>",
		"Z" + strings.Repeat("\u0335", 40): `\u0335\u0335`,
		"\u3164\u2800":                     `\u3164`,
		strings.Repeat("W", 200):           strings.Repeat("W", 200),
	} {
		made := h.post("/tokens", cookie, "name", name).page(http.StatusOK).shows(want)
		made.lacks("<script>alert", "<img src=x", "</bdi></title>")
		for id := range h.listed(made.secret()) {
			if h.listed(made.secret())[id].Name == name {
				h.ask("GET", "/tokens/"+id+"/revoke").cookie(cookie).send().page(http.StatusOK).shows(want)
				h.ask("GET", "/tokens/"+id+"/rename").cookie(cookie).send().page(http.StatusOK).shows(`value="` + html.EscapeString(name) + `"`)
			}
		}
	}
	for _, name := range []string{"a\x1b[31mb", "a\u202eb", "a\nb", "\xff", strings.Repeat("a", 1000), "a\x00b"} {
		got := h.post("/tokens", cookie, "name", name).page(http.StatusBadRequest)
		got.shows("A name is one line of at most 200 characters").lacks("new-token")
		id := h.create(`{"name":"kept"}`).ID
		h.post("/tokens/"+id+"/rename", cookie, "name", name).page(http.StatusBadRequest).shows("A name is one line")
		h.ask("GET", "/tokens/"+id+"/rename").cookie(cookie).send().page(http.StatusOK).shows(`value="kept"`)
	}
	h.post("/login", "", "username", `"><script>alert(1)</script>`, "password", "x", "next", "/\"><script>").
		page(http.StatusUnauthorized).lacks("<script>alert", `"><script>`)
}

// TestManyTokens: a page has fifty, and the others are a link away.
func TestManyTokens(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	for i := range 120 {
		h.clock.Move(time.Second)
		h.ask("POST", "/api/token").cookie(cookie).json(fmt.Sprintf(`{"name":"number %d."}`, i)).send().want(http.StatusOK)
	}
	for _, c := range []struct {
		query       string
		first, last int
		links       []string
	}{
		{"", 119, 70, []string{"/?page=2", "/?page=3"}},
		{"?page=2", 69, 20, []string{"/", "/", "/?page=3", "/?page=3"}},
		{"?page=3", 19, 0, []string{"/", "/?page=2"}},
		{"?page=99", 19, 0, []string{"/", "/?page=2"}},
		{"?page=-1", 119, 70, []string{"/?page=2", "/?page=3"}},
		{"?page=x", 119, 70, []string{"/?page=2", "/?page=3"}},
		{"?page=99999999999999999999", 19, 0, []string{"/", "/?page=2"}},
	} {
		got := h.ask("GET", "/"+c.query).cookie(cookie).send().page(http.StatusOK).shows(`<span class="count">120</span>`)
		rows := regexp.MustCompile(`number (\d+)\.`).FindAllStringSubmatch(got.text, -1)
		if len(rows) != c.first-c.last+1 || rows[0][1] != fmt.Sprint(c.first) || rows[len(rows)-1][1] != fmt.Sprint(c.last) {
			t.Errorf("%q: got %d rows from %v to %v, want %d to %d", c.query, len(rows), rows[0], rows[len(rows)-1], c.first, c.last)
		}
		var links []string
		_, nav, _ := strings.Cut(got.text, `<nav class="pages"`)
		for _, m := range regexp.MustCompile(`<a href="(/[^"]*)"[^>]*>(?:First|Previous|Next|Last)<`).FindAllStringSubmatch(nav, -1) {
			links = append(links, m[1])
		}
		if fmt.Sprint(links) != fmt.Sprint(c.links) {
			t.Errorf("%q: got links %v, want %v", c.query, links, c.links)
		}
	}
	var list []struct{ ID string }
	h.ask("GET", "/api/tokens").cookie(cookie).send().into(&list)
	// The pages about a token lead back to the page and the order that they came from.
	for _, at := range []string{"page=3", "page=2&sort=name", "sort=-used"} {
		shown := strings.ReplaceAll(at, "&", "&amp;")
		own := "/tokens/" + list[0].ID
		h.ask("GET", "/?"+at).cookie(cookie).send().page(http.StatusOK).shows(`/rename?` + shown + `"`)
		for _, verb := range []string{"rename", "rotate", "revoke"} {
			path := own + "/" + verb + "?" + at
			h.ask("GET", path).cookie(cookie).send().page(http.StatusOK).
				shows(`action="`+own+"/"+verb+"?"+shown+`"`, `href="/?`+shown+`">Cancel`)
		}
		q := url.Values{"renamed": {list[0].ID}}
		for _, pair := range strings.Split(at, "&") {
			name, value, _ := strings.Cut(pair, "=")
			q.Set(name, value)
		}
		h.post(own+"/rename?"+at, cookie, "name", "x").goesTo("/?" + q.Encode())
	}
	h.post("/tokens/"+list[0].ID+"/revoke?page=3&sort=//evil.example", cookie).goesTo("/?page=3&revoked=" + list[0].ID)
}

// TestFullHouse: a user who holds as many tokens as allowed is told so on the page.
func TestFullHouse(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Tokens.MaxPerUser = 1 })
	cookie := h.login(alice, password)
	h.post("/tokens", cookie, "name", "a").page(http.StatusOK).secret()
	h.post("/tokens", cookie, "name", "b").page(http.StatusForbidden).shows(`role="alert"`, `value="b"`).lacks("new-token")
}

// TestLifetimeChoices: the choices are those that the policy allows.
func TestLifetimeChoices(t *testing.T) {
	for _, c := range []struct {
		usual, most time.Duration
		want        string
	}{
		{0, 0, "in 7 days, in 30 days, [in 90 days*] in 1 year, on a date, never"},
		{30 * day, 0, "in 7 days, [in 30 days*] in 90 days, in 1 year, on a date, never"},
		{0, 90 * day, "in 7 days, in 30 days, [in 90 days*] on a date"},
		{0, 30 * day, "in 7 days, [in 30 days*] on a date"},
		{7 * day, 45 * day, "[in 7 days*] in 30 days, in 45 days, on a date"},
		{0, 12 * time.Hour, "[in 12 hours*] on a date"}, // until 23:59 of the same day
		{0, 90 * time.Minute, "[in 1h30m0s*]"},
		{0, 5 * 365 * day, "in 7 days, in 30 days, [in 90 days*] in 1 year, in 5 years, on a date"},
	} {
		h := newHouse(t, func(cfg *config.Config) {
			cfg.Tokens.DefaultLifetime.Duration, cfg.Tokens.MaxLifetime.Duration = c.usual, c.most
		})
		var got []string
		cookie := h.login(alice, password)
		for _, l := range h.Site().Lifetimes("") {
			words := l.Words + ","
			if l.Chosen {
				words = "[" + l.Words + "*]"
			}
			got = append(got, words)
			h.post("/tokens", cookie, "expiresIn", l.Value, "date", "2026-03-01").page(http.StatusOK).secret()
		}
		if got := strings.TrimSuffix(strings.Join(got, " "), ","); got != c.want {
			t.Errorf("%v at most %v: got %s, want %s", c.usual, c.most, got, c.want)
		}
		h.post("/tokens", cookie, "expiresIn", "x").page(http.StatusBadRequest).shows(`id="expiresIn-wrong"`, "is not a span of time")
		if c.most > 0 {
			h.post("/tokens", cookie, "expiresIn", "never").page(http.StatusBadRequest).shows("At most")
		}
	}
}

// TestPageAddress: the line to paste names the server as people reach it, and contains
// nothing that a shell would run.
func TestPageAddress(t *testing.T) {
	for _, c := range []struct{ public, host, want string }{
		{"", "tokens.example.com:8080", "http://tokens.example.com:8080/api/token"},
		{"", "[::1]:8080", "http://[::1]:8080/api/token"},
		{"", "x;rm -rf ~", "http://127.0.0.1:8080/api/token"},
		{"", "$(reboot)", "http://127.0.0.1:8080/api/token"},
		{"https://Tokens.example.com/", "evil.example", "https://Tokens.example.com/api/token"},
	} {
		h := newHouse(t, func(cfg *config.Config) { cfg.PublicURL = c.public })
		a := h.ask("GET", "/").cookie(h.login(alice, password))
		a.r.Host = c.host
		a.send().page(http.StatusOK).shows(`$TOKEN" ` + c.want + "<")
	}
}

// TestOnlyHTTPS: every answer over https says that only https is served. Answers over
// http do not, because it would be a lie.
func TestOnlyHTTPS(t *testing.T) {
	for public, want := range map[string]string{"": "", "http://localhost": "", "https://tokens.example.com": "max-age=31536000"} {
		h := newHouse(t, func(cfg *config.Config) { cfg.PublicURL = public })
		for _, path := range []string{"/", "/login", "/login/nobody", "/web/none", "/api/createApiToken", "/none"} {
			h.ask("GET", path).send().wantHeader("Strict-Transport-Security", want)
		}
	}
}

// TestAssets: what a page loads exists, may be kept forever, and has the right type.
func TestAssets(t *testing.T) {
	h := newHouse(t)
	page := h.ask("GET", "/").send().page(http.StatusOK)
	types := map[string]string{}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/web/[^"]+)"`).FindAllStringSubmatch(page.text, -1) {
		got := h.ask("GET", m[1]).send().want(http.StatusOK).wantHeader("Cache-Control", "public, max-age=31536000, immutable").wantHeader("X-Content-Type-Options", "nosniff")
		types[got.header.Get("Content-Type")] = m[1]
		h.ask("HEAD", m[1]).send().want(http.StatusOK)
	}
	for _, want := range []string{"text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"} {
		if types[want] == "" {
			t.Errorf("got %v, which lack %s", types, want)
		}
	}
	for _, name := range []string{"style.css", "x", "..", "%2e%2e%2fpage%2flogin.html", "style-000000000000.css"} {
		if got := h.ask("GET", web.AssetPath+name).send(); got.code != http.StatusNotFound {
			t.Errorf("%s: got %d", name, got.code)
		}
	}
	for _, path := range []string{"/login", "/logout", "/tokens"} {
		h.ask("GET", path).send().goesTo("/")
	}
}

// unread fails a test in which somebody reads it.
type unread struct{ testing.TB }

func (u unread) Read([]byte) (int, error) {
	u.Error("the body of a GET is read")
	return 0, io.EOF
}

// TestPageBodies: a page reads no body of a GET, of any type: it might be of any size,
// and end up on the disk.
func TestPageBodies(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	id := h.create(`{}`).ID
	for _, path := range []string{"/", "/login", "/tokens/" + id + "/revoke", "/tokens/" + id + "/rename", "/web/x"} {
		for _, kind := range []string{"multipart/form-data; boundary=x", "application/x-www-form-urlencoded"} {
			a := h.ask("GET", path).header("Content-Type", kind)
			a.r.Body = io.NopCloser(unread{t})
			a.send()
			a.cookie(cookie).send()
		}
	}
}

// TestPageFails: a page says that something is wrong with the store, and no more.
func TestPageFails(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	h.close()
	for _, a := range []*ask{h.ask("GET", "/").cookie(cookie), h.ask("POST", "/tokens").cookie(cookie).form("name=a"), h.ask("POST", "/login").form("username=a&password=b")} {
		a.send().page(http.StatusServiceUnavailable).shows("The server is stopping.")
	}
	h.open()
}

// TestDirectoryOnPage: where there is a directory, people choose it on the page,
// and find the choice kept when something was wrong.
func TestDirectoryOnPage(t *testing.T) {
	h, s := newDirectoryHouse(t)
	const chosen = `value="ldap" checked>`
	const local = `value="userpass" checked>`
	h.ask("GET", "/").send().page(http.StatusOK).shows(chosen, "Directory (LDAP)", `value="userpass">`).lacks(local)
	cookie := h.post("/login", "", "username", "alice", "password", "alice-secret", "method", "ldap").goesTo("/").session()
	h.home(cookie).page(http.StatusOK).shows("alice@example.org")
	h.post("/login", "", "username", "alice", "password", "x", "method", "ldap").page(http.StatusUnauthorized).shows(chosen, "Invalid credentials")
	h.post("/login", "", "username", "alice", "password", "alice-secret", "method", "userpass").page(http.StatusUnauthorized).shows(local).lacks(chosen)
	h.post("/login", "", "username", "alice", "password", "alice-secret").page(http.StatusUnauthorized).shows(local).lacks(chosen)
	cfg := h.cfg
	cfg.Logins.Local = false
	h.Reload(cfg)
	h.ask("GET", "/").send().page(http.StatusOK).shows(`<input type="hidden" name="method" value="ldap">`).lacks("radio", "userpass")
	h.Reload(h.cfg)
	s.Stop()
	h.post("/login", "", "username", "alice", "password", "alice-secret", "method", "ldap").page(http.StatusServiceUnavailable).
		shows(chosen, "The directory is not available: try again later.")
}

// TestFailuresSayWhoIsLoggedIn: as all pages do, and in the same way.
func TestFailuresSayWhoIsLoggedIn(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	cookie := h.login(alice, password)
	const browser = "text/html,application/xhtml+xml"
	who := `<bdi>` + alice + `</bdi>`
	nothing := func() *ask { return h.ask("GET", "/nothing").header("Accept", browser) }

	nothing().cookie(cookie).send().page(http.StatusNotFound).shows(who, "/logout")
	h.ask("GET", "/tokens/"+strings.Repeat("0", 28)+"/revoke").cookie(cookie).send().page(http.StatusNotFound).shows(who)

	for what, a := range map[string]*ask{
		"nobody":             nothing(),
		"another cookie":     nothing().cookie(strings.Repeat("x", 43)),
		"two cookies":        nothing().header("Cookie", h.cookieName()+"="+cookie+"; "+h.cookieName()+"="+cookie),
		"a token and cookie": nothing().cookie(cookie).token(made.Secret),
		"a token":            nothing().token(made.Secret),
		"another site's form": h.ask("POST", "/nothing").header("Accept", browser).cookie(cookie).
			header("Origin", "https://evil.example").header("Sec-Fetch-Site", "cross-site"),
	} {
		if got := a.send(); got.code != http.StatusNotFound || strings.Contains(got.text, alice) {
			t.Errorf("%s: got %d with %s", what, got.code, got.text)
		}
	}
	h.ask("GET", "/nothing").cookie(cookie).send().want(http.StatusNotFound, `{"error":"There is nothing at this address"}`)
	h.post("/logout", cookie)
	nothing().cookie(cookie).send().page(http.StatusNotFound).lacks(alice)
	if got := adminToken(h, made.ID); got.LastUsed != made.Created {
		t.Errorf("a page that shows nobody counted as a use of the token: %+v", got)
	}
}
