package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
)

// made returns the token that a page has just shown.
func (h *house) made(a answer) api.DocumentedToken {
	h.Helper()
	secret := a.secret()
	for _, t := range h.listed(secret) {
		if t.APIToken == secret {
			return t
		}
	}
	h.Fatal("the new token is not in the list")
	return api.DocumentedToken{}
}

// TestCreateWithLimits: the form makes what the API makes.
func TestCreateWithLimits(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	h.home(cookie).page(http.StatusOK).shows(`name="scope:files"`, `name="scope:introspect"`, `name="scope:tokens:read"`, `name="scopes"`, `You come from <span class="address">192.0.2.1</span> now.`, `<details class="more">`)
	got := h.made(h.post("/tokens", cookie, "name", "deploy", "expiresIn", "7d", "scope:tokens:read", "on", "scope:files", "on",
		"scopes", " deploy,reports:read\n", "addresses", "192.0.2.0/24\r\n2001:db8::/32, 10.1.2.3").page(http.StatusOK))
	scopes, addresses := strings.Join(got.Scopes, " "), strings.Join(got.Addresses, " ")
	if got.Name != "deploy" || got.ExpiresOn != "2026-03-08T12:00:00.000Z" || scopes != "deploy reports:read files tokens:read" || addresses != "192.0.2.0/24 2001:db8::/32 10.1.2.3/32" {
		t.Errorf("got %+v", got)
	}
	h.home(cookie).page(http.StatusOK).shows(
		`<code>deploy</code>, <code>reports:read</code>, <code>files</code>, <code>tokens:read</code>`,
		`from <code>192.0.2.0/24</code>, <code>2001:db8::/32</code>, <code>10.1.2.3/32</code>`)
	h.post("/tokens", cookie, "name", "x", "scopes", "flies").page(http.StatusOK).shows("did you mean &#34;files&#34;?")

	// Without any limit, and without an end if the form names none, as in the API.
	got = h.made(h.post("/tokens", cookie).page(http.StatusOK))
	if got.ExpiresOn != api.Never || len(got.Scopes)+len(got.Addresses) != 0 {
		t.Errorf("got %+v", got)
	}
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("s:%d", i)
	}
	h.post("/tokens", cookie, "name", "many", "scopes", strings.Join(many, " ")).page(http.StatusOK).
		shows(`<code>s:2</code><details><summary>27 more</summary><code>s:3</code>`)
}

// TestCreateOnADate: the token works until the end of the day, in UTC.
func TestCreateOnADate(t *testing.T) {
	for _, c := range []struct {
		most       time.Duration
		date, want string // the end, or what is wrong
	}{
		{0, "2026-03-01", "2026-03-01T23:59:00.000Z"},
		{0, " 2026-12-31 ", "2026-12-31T23:59:00.000Z"},
		{0, "2126-02-28", "2126-02-28T23:59:00.000Z"},
		{0, "2026-02-28", "The first possible date is 2026-03-01"},
		{0, "0001-01-01", "The first possible date is 2026-03-01"},
		{0, "2126-03-01", "The last possible date is 2126-02-28"},
		{0, "9999-12-31", "The last possible date is 2126-02-28"},
		{0, "", "Choose the date too"},
		{0, "2026-02-30", "Write the date as year, month and day, such as 2026-05-30"},
		{0, "31.12.2026", "Write the date as year, month and day, such as 2026-05-30"},
		{10 * day, "2026-03-10", "2026-03-10T23:59:00.000Z"},
		{10 * day, "2026-03-11", "The last possible date is 2026-03-10"},
	} {
		h := newHouse(t, func(cfg *config.Config) { cfg.Tokens.MaxLifetime.Duration = c.most })
		cookie := h.login(alice, password)
		got := h.post("/tokens", cookie, "name", "a", "expiresIn", "date", "date", c.date)
		if strings.HasSuffix(c.want, "Z") {
			if made := h.made(got.page(http.StatusOK)); made.ExpiresOn != c.want {
				t.Errorf("%v, %q: got the end %s, want %s", c.most, c.date, made.ExpiresOn, c.want)
			}
			continue
		}
		got.page(http.StatusBadRequest).shows(`id="date-wrong">`+c.want+"<", `<option value="date" selected>`, `value="`+c.date+`" min="2026-03-01"`).lacks("new-token")
	}
}

// TestCreateSaysWhatIsWrong: each error is next to its field, all of them are shown at once,
// and what was typed and chosen is still there.
func TestCreateSaysWhatIsWrong(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	got := h.post("/tokens", cookie, "name", "two\nlines", "expiresIn", "date", "date", "soon", "scope:files", "on",
		"scopes", "<i>", "addresses", "10.0.0.0/8\nnowhere").page(http.StatusBadRequest)
	got.shows(`role="alert" id="error">No token was made. See the marked fields.<`, `<details class="more" open>`,
		`value="two`+"\n"+`lines"`, `<option value="date" selected>`, `value="soon"`, `name="scope:files" checked`, `value="&lt;i&gt;"`, "10.0.0.0/8\nnowhere</textarea>").lacks("<i>", "new-token")
	for field, why := range map[string]string{
		"name": "A name is one line", "date": "Write the date", "scopes": "A scope is 1 to 64", "addresses": "&#34;nowhere&#34; is not an address or prefix",
	} {
		got.shows(`aria-describedby="`+field+`-wrong"`, `<p class="wrong" id="`+field+`-wrong">`+why)
	}
	if n := strings.Count(got.text, " autofocus"); n != 1 || !strings.Contains(got.text, `aria-describedby="name-wrong" autofocus`) {
		t.Errorf("%d elements ask for the focus, want the first wrong field", n)
	}
	if n := strings.Count(h.home(cookie).text, `role="rowheader"`); n != 0 {
		t.Errorf("%d tokens were made", n)
	}
	h.post("/tokens", cookie, "name", "kept", "scopes", strings.Repeat("a", 65)).page(http.StatusBadRequest).shows(`id="scopes-wrong"`, `value="kept"`)
	addresses := strings.Builder{}
	for i := range 65 {
		fmt.Fprintf(&addresses, "10.0.0.%d ", i)
	}
	h.post("/tokens", cookie, "name", "kept", "addresses", addresses.String()).page(http.StatusBadRequest).shows("at most 32 scopes and 64 addresses", `value="kept"`, "10.0.0.64 </textarea>")
	h.post("/tokens", cookie, "name", "kept", "expiresIn", "soon").page(http.StatusBadRequest).shows(`id="expiresIn-wrong"`, `<option value="90d" selected>`)
	h.ask("POST", "/tokens").cookie(cookie).form("name=" + strings.Repeat("a", 70_000)).send().page(http.StatusRequestEntityTooLarge)
	h.ask("POST", "/tokens").cookie(cookie).form("name=a&name=b").send().page(http.StatusBadRequest)
}

// TestCreateKnownScopes: if the configuration names the scopes, they are there to choose and
// no other can be given.
func TestCreateKnownScopes(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Tokens.KnownScopes = []string{"deploy", "files", "repo:read", "deploy"} })
	cookie := h.login(alice, password)
	h.home(cookie).page(http.StatusOK).shows(`name="scope:files"`, `name="scope:deploy"`, `name="scope:repo:read"`).lacks(`name="scopes"`)
	for _, scope := range []string{"files", "deploy"} { // a form with a name twice is refused
		if n := strings.Count(h.home(cookie).text, `name="scope:`+scope+`"`); n != 1 {
			t.Errorf("%s can be chosen %d times", scope, n)
		}
	}
	got := h.made(h.post("/tokens", cookie, "scope:repo:read", "on", "scope:tokens:read", "on").page(http.StatusOK))
	if !slices.Equal(got.Scopes, []string{"repo:read", "tokens:read"}) {
		t.Errorf("got the scopes %q", got.Scopes)
	}
	for _, fields := range [][]string{{"scope:admin", "on"}, {"scopes", "admin"}, {"scope:", "on"}} {
		h.post("/tokens", cookie, append(fields, "scope:deploy", "on")...).page(http.StatusBadRequest).
			shows(`id="scopes-wrong"`, `name="scope:deploy" checked`).lacks("new-token")
	}
}

// TestCreateTooOften: what was typed is also there if the hour's changes are used up.
func TestCreateTooOften(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 1 })
	cookie := h.login(alice, password)
	id := h.made(h.post("/tokens", cookie, "name", "a").page(http.StatusOK)).ID
	const why = "changes"
	got := h.post("/tokens", cookie, "name", "kept", "expiresIn", "7d", "addresses", "10.0.0.0/8").page(http.StatusTooManyRequests)
	got.shows(`role="alert"`, why, `value="kept"`, `<option value="7d" selected>`, ">10.0.0.0/8</textarea>").lacks("new-token")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.post("/tokens/"+id+"/rename", cookie, "name", "kept").page(http.StatusTooManyRequests).shows(why, `value="kept"`)
	h.post("/tokens/"+id+"/rotate", cookie, "overlap", "0").page(http.StatusTooManyRequests).shows(why, "Rotate this token?")
	h.post("/tokens/"+id+"/revoke", cookie).goesTo("/?revoked=" + id) // what ends something is never refused
}

// TestNoSecretsInURLs: no address of the page has a secret in it, so neither a Referer nor a
// proxy's log has.
func TestNoSecretsInURLs(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	for _, form := range []url.Values{{"name": {"a"}}, {"name": {"b"}, "expiresIn": {"7d"}}} {
		made := h.ask("POST", "/tokens").cookie(cookie).form(form.Encode()).header("Origin", "http://example.com").send().page(http.StatusOK)
		secret := made.secret()
		if n := strings.Count(made.text, secret); n != 1 || made.header.Get("Location") != "" {
			t.Errorf("the secret is on the page %d times, and it leads to %q", n, made.header.Get("Location"))
		}
		h.home(cookie).page(http.StatusOK).lacks(secret, secret[:100])
	}
}
