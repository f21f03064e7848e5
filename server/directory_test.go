package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/ldap"
	"gatehouse/ldap/ldaptest"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// withDirectory has a house ask a slapd, and counts failures of accounts only.
func withDirectory(s *ldaptest.Slapd) func(*config.Config) {
	return func(c *config.Config) {
		roomy(c)
		c.LDAP = &config.LDAP{
			URLs: []string{"ldaps://" + s.TLSAddr}, CAFile: s.CA,
			BindDN: ldaptest.Reader, BindPasswordFile: s.File("reader", ldaptest.ReaderPassword+"\n"),
			BaseDN: ldaptest.People, Timeout: config.Interval{Duration: unhurried},
		}
	}
}

// unhurried is the longest time-out there is. A directory that answers at all does so
// within it.
const unhurried = time.Minute

// hurry changes the time-out for the directory.
func (h *house) hurry(timeout time.Duration) {
	h.Helper()
	h.close()
	h.cfg.LDAP.Timeout = config.Interval{Duration: timeout}
	h.open()
}

// newDirectoryHouse opens a house beside a real slapd.
func newDirectoryHouse(t testing.TB, change ...func(*config.Config)) (*house, *ldaptest.Slapd) {
	t.Helper()
	s := ldaptest.Start(t)
	h := newHouse(t, append([]func(*config.Config){withDirectory(s)}, change...)...)
	t.Cleanup(func() { h.Directory().Close() })
	return h, s
}

const ldapPath = "/api/authenticate/ldap"

// ldap logs in at the directory for a token.
func (h *house) ldap(username, password string) answer {
	return h.ask("POST", ldapPath).json(toJSON(map[string]string{"username": username, "password": password})).send()
}

// ldapToken logs one of the people of testdata in and returns a token.
func (h *house) ldapToken(uid string) string {
	h.Helper()
	return h.ldap(uid, uid+"-secret").newToken().Secret
}

// ldapCookie does the same for a cookie.
func (h *house) ldapCookie(uid string) string {
	h.Helper()
	return h.ask("POST", "/api/login").form("method=ldap&username=" + uid + "&password=" + uid + "-secret").send().
		want(http.StatusNoContent).session()
}

// owner returns the uid of a token's owner.
func (h *house) owner(token string) string {
	h.Helper()
	var t api.Token
	h.ask("GET", "/api/token").token(token).send().want(http.StatusOK).into(&t)
	return t.UID
}

// users lists the users, as "uid source state", except for the house's own.
func (h *house) users() (list []string) {
	h.Helper()
	for u := range must.All(h.admin.Users(h.Context(), api.UserQuery{}))(h) {
		if u.UID != alice {
			list = append(list, u.UID+" "+u.Source+" "+u.State)
		}
	}
	return list
}

func (h *house) wantUsers(want ...string) {
	h.Helper()
	if got := h.users(); !slices.Equal(got, want) {
		h.Errorf("got users %q, want %q", got, want)
	}
}

// told lists the events of one action, as "actor uid detail".
func (h *house) told(action string) (list []string) {
	h.Helper()
	for e := range must.All(h.admin.Events(h.Context(), api.EventQuery{}))(h) {
		if e.Action == action {
			list = append(list, strings.TrimSpace(e.Actor+" "+e.UID+" "+e.Detail))
		}
	}
	return list
}

func (h *house) wantTold(action string, want ...string) {
	h.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // some events are written behind the request
		if slices.Equal(h.told(action), want) {
			return
		}
	}
	h.Errorf("got events %s %q, want %q", action, h.told(action), want)
}

// The user appears at the first login, in every way to log in, and stays one.
func TestDirectoryLogin(t *testing.T) {
	h, _ := newDirectoryHouse(t)
	for _, a := range []*ask{
		h.ask("POST", ldapPath).form("username=alice&password=alice-secret"),
		h.ask("POST", ldapPath).json(`{"username":"alice","password":"alice-secret"}`),
	} {
		token := a.send().newToken()
		if token.ExpiresOn != api.Never || len(token.Secret) != 256 {
			t.Errorf("got %+v", token)
		}
		if got := h.owner(token.Secret); got != "alice@example.org" {
			t.Errorf("got the token of %s, want alice@example.org", got)
		}
	}
	for _, a := range []*ask{
		h.ask("POST", "/api/login").form("method=ldap&username=bob&password=bob-secret"),
		h.ask("POST", "/api/login").json(`{"method":"ldap","username":"bob","password":"bob-secret"}`),
	} {
		cookie := a.send().want(http.StatusNoContent).session()
		h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	}
	h.wantUsers("alice@example.org ldap active", "bob@example.org ldap active")
	h.wantTold(storage.ActionUserAdd, "tester "+alice, "alice@example.org alice@example.org ldap", "bob@example.org bob@example.org ldap")
	h.wantTold(storage.ActionLogin, "bob@example.org bob@example.org ldap", "bob@example.org bob@example.org ldap")

	u, err := h.admin.User(t.Context(), "alice@example.org")
	if err != nil || u.Name != "Alice Liddell" {
		t.Errorf("got %+v, %v", u, err)
	}
	if _, err := h.admin.SetPassword(t.Context(), "alice@example.org", "x"); err == nil {
		t.Error("a user of the directory got a password here")
	}
	h.userpass("alice@example.org", "alice-secret").want(http.StatusUnauthorized, invalidCredentials)
	h.userpass("alice", "alice-secret").want(http.StatusUnauthorized, invalidCredentials)
	h.ldap(alice, password).want(http.StatusUnauthorized, invalidCredentials) // of the house, not of the directory
}

// A person who is not let in learns no more than that, and leaves no user behind.
func TestDirectoryRefuses(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 1000 })
	staff := newHouse(t, withDirectory(s), func(c *config.Config) { c.LDAP.RequiredGroup = ldaptest.Staff })
	t.Cleanup(func() { staff.Directory().Close() })
	for _, test := range []struct{ why, username, password string }{
		{"wrong password", "alice", "wrong"},
		{"unknown name", "nobody", "alice-secret"},
		{"outside base_dn", "outsider", "outsider-secret"},
		{"must change", "carol", "carol-secret"},
		{"locked", "dave", "dave-secret"},
		{"two of that name", "frank", "frank-secret"},
		{"grace logins", "grace", "grace-secret"},
		{"password expired", "heidi", "heidi-secret"},
		{"account expired", "ivan", "ivan-secret"},
		{"empty password", "alice", ""},
		{"blank password", "alice", " "},
		{"password with a NUL", "alice", "alice-secret\x00"},
		{"long password", "alice", strings.Repeat("a", 257)},
		{"empty name", "", "alice-secret"},
		{"star", "*", "alice-secret"},
		{"filter", "alice)(|(uid=*", "alice-secret"},
		{"DN", ldaptest.Person("alice"), "alice-secret"},
		{"the service account", ldaptest.Reader, ldaptest.ReaderPassword},
	} {
		s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime") // slapd counts too
		form := url.Values{"username": {test.username}, "password": {test.password}}.Encode()
		for _, a := range []*ask{
			h.ask("POST", ldapPath).form(form),
			h.ask("POST", ldapPath).json(toJSON(map[string]string{"username": test.username, "password": test.password})),
			h.ask("POST", "/api/login").form(form + "&method=ldap"),
		} {
			if got := a.send(); got.code != http.StatusUnauthorized || got.text != invalidCredentials || got.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: got %d %s", test.why, got.code, got.text)
			}
		}
	}
	s.Modify(ldaptest.Person("alice"), "pwdAccountLockedTime")
	staff.ldap("bob", "bob-secret").want(http.StatusUnauthorized, invalidCredentials)
	staff.ldapToken("alice")
	h.wantUsers()
	if log := h.log.String(); strings.Contains(log, "-secret") {
		t.Errorf("a password is in the log: %s", log)
	}
	for line := range strings.Lines(h.log.String()) {
		if strings.Contains(line, "the directory refused a login") && !strings.Contains(line, "address=192.0.2.1") {
			t.Errorf("the log does not say from where: %s", line)
		}
	}
	for _, reason := range []string{"must change password", "locked", "expired", "name matches more than one entry"} {
		if !strings.Contains(h.log.String(), reason) {
			t.Errorf("the log does not say %q", reason)
		}
	}
	h.ask("POST", ldapPath).form("username=alice").send().want(http.StatusBadRequest)
	h.ask("GET", ldapPath).send().want(http.StatusMethodNotAllowed)
}

// If a directory answers, but not who may log in, the log says so once, and once more
// when that ends. The status of its servers does not show it.
func TestDirectoryInDoubt(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.LDAP.RequiredGroup = ldaptest.Staff })
	h.ldapToken("alice")
	const moved = "cn=moved,ou=groups," + ldaptest.Base
	s.Move(ldaptest.Staff, moved)
	for range 3 {
		h.ldap("bob", "bob-secret").want(http.StatusServiceUnavailable)
	}
	said := func(what string) int { return strings.Count(h.log.String(), what) }
	if said("can't say who may log in") != 1 || said(ldaptest.Staff) == 0 || said("request failed") != 0 {
		t.Errorf("the log says %s", h.log)
	}
	h.ldap("bob", "wrong").want(http.StatusUnauthorized)
	s.Move(moved, ldaptest.Staff)
	h.ldap("bob", "bob-secret").want(http.StatusUnauthorized)
	if said("says again who may log in") == 0 {
		t.Errorf("the log says %s", h.log)
	}
}

// Without the directory tokens still work, and a login gets its answer in time.
func TestDirectoryDown(t *testing.T) {
	h, s := newDirectoryHouse(t)
	token := h.ldapToken("alice")
	cookie := h.ldapCookie("alice")
	const unavailable = `{"error":"The directory is not available: try again later"}`
	for name, down := range map[string]func(){
		"halted": func() { s.Signal(syscall.SIGSTOP) },
		"gone":   s.Stop,
	} {
		down()
		h.hurry(200 * time.Millisecond)
		for range 7 { // not counted as failures
			start := time.Now()
			h.ldap("alice", "alice-secret").want(http.StatusServiceUnavailable, unavailable)
			t.Logf("%s: a login took %v with a time-out of 200 ms", name, time.Since(start))
		}
		h.alive(token)
		h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusOK)
		h.ask("GET", "/readyz").send().want(http.StatusOK)
		st, err := h.admin.Status(t.Context())
		if err != nil || len(st.Directory) != 1 || st.Directory[0].Reachable || st.Directory[0].LastError == "" || st.Directory[0].LastFailure == 0 {
			t.Errorf("%s: got status %+v, %v", name, st.Directory, err)
		}
		s.Stop()
		s.Start()
		h.hurry(unhurried)
		h.ldapToken("alice")
	}
}

func TestDirectoryHealth(t *testing.T) {
	h, s := newDirectoryHouse(t)
	st, err := h.admin.Status(t.Context())
	want := api.Health{Name: "ldaps://" + s.TLSAddr}
	if err != nil || st.Held != 0 || len(st.Directory) != 1 || st.Directory[0] != want {
		t.Errorf("before any use: got %+v, %v, want %+v", st.Directory, err, want)
	}
	h.ldapToken("alice")
	st, err = h.admin.Status(t.Context())
	if d := st.Directory[0]; err != nil || !d.Reachable || d.Latency <= 0 || d.LastSuccess == 0 || d.LastFailure != 0 {
		t.Errorf("in good health: got %+v, %v", d, err)
	}
	plain := newHouse(t)
	if st, err := plain.admin.Status(t.Context()); err != nil || st.Directory == nil || len(st.Directory) != 0 || st.Held != 0 {
		t.Errorf("without a directory: got %+v, %v", st.Directory, err)
	}
}

func TestNoDirectory(t *testing.T) {
	h := newHouse(t)
	const notConfigured = `{"error":"The login method \"ldap\" is not configured"}`
	h.ldap("alice", "alice-secret").want(http.StatusNotFound, notConfigured)
	h.ask("POST", "/api/login").form("method=ldap&username=alice&password=x").send().want(http.StatusBadRequest, notConfigured)
	if held, err := h.admin.Offboard(t.Context()); err != nil || len(held.Changes) != 0 {
		t.Errorf("off-boarding: got %v and %v held, want nothing held", err, held.Changes)
	}
	if err := h.admin.ConfirmOffboard(t.Context()); err == nil {
		t.Error("off-boarding: confirmed without a directory")
	}
}

const otherAccount = `{"error":"This address belongs to another account"}`

// An address alone does not make two accounts one (CVE-2023-3128): an
// administrator does.
func TestAddressOfAnother(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.addUser("Bob@Example.ORG", password)
	local := h.userpass("bob@example.org", password).newToken().Secret
	for range 6 { // no failure: the password is right
		h.ldap("bob", "bob-secret").want(http.StatusConflict, otherAccount)
		h.ask("POST", "/api/login").form("method=ldap&username=bob&password=bob-secret").send().want(http.StatusConflict, otherAccount)
	}
	h.ldap("bob", "wrong").want(http.StatusUnauthorized, invalidCredentials)
	h.wantUsers("Bob@Example.ORG local active")
	subject := s.Subject(ldaptest.Person("bob"))
	if !strings.Contains(h.log.String(), subject) {
		t.Error("the log does not say what to link")
	}

	link := func(uid, source, subject string) error {
		_, err := h.admin.LinkUser(t.Context(), uid, api.Link{Identity: api.Identity{Source: source, Subject: subject}})
		return err
	}
	must.Do(t, link("bob@example.org", "LDAP", " "+strings.ToUpper(subject)))
	if err := link(alice, "ldap", subject); err == nil || err.Error() != "The identity belongs to another user: unlink it there first" {
		t.Errorf("link it to somebody else too: got %v", err)
	}
	token := h.ldapToken("bob")
	if got := h.owner(token); got != "Bob@Example.ORG" {
		t.Errorf("got the token of %s", got)
	}
	if n := len(h.listed(local)); n != 2 {
		t.Errorf("got %d tokens, want those of both ways in", n)
	}
	h.userpass("bob@example.org", password).want(http.StatusOK)
	h.wantUsers("Bob@Example.ORG local active") // as the account was made
	h.wantTold(storage.ActionUserLink, "tester Bob@Example.ORG ldap "+subject)

	h.close()
	h.open()
	h.ldapToken("bob")
	h.alive(token)
}

// The subject decides, not the mail.
func TestRenamedInDirectory(t *testing.T) {
	h, s := newDirectoryHouse(t)
	token := h.ldapToken("alice")
	s.Modify(ldaptest.Person("alice"), "mail", "liddell@example.org")
	if got := h.owner(token); got != "alice@example.org" {
		t.Errorf("before a login: got %s", got)
	}
	again := h.ldapToken("alice")
	for _, tok := range []string{token, again} {
		if got := h.owner(tok); got != "liddell@example.org" {
			t.Errorf("got %s, want liddell@example.org", got)
		}
	}
	h.wantUsers("liddell@example.org ldap active")
	h.wantTold(storage.ActionUserRename, "liddell@example.org liddell@example.org was alice@example.org")

	// The name that has become free belongs to the next person with it.
	s.AddPerson("ally", "alice@example.org")
	if got := h.owner(h.ldapToken("ally")); got != "alice@example.org" {
		t.Errorf("ally: got %s", got)
	}
	// A name that is taken is not taken over.
	s.Modify(ldaptest.Person("alice"), "mail", "ALICE@example.org")
	if got := h.owner(h.ldapToken("alice")); got != "liddell@example.org" {
		t.Errorf("a name that is taken: got %s", got)
	}
	h.wantUsers("alice@example.org ldap active", "liddell@example.org ldap active")

	// A person with a new login name is the same person.
	s.Move(ldaptest.Person("alice"), ldaptest.Person("alicia"))
	if got := h.owner(h.ldap("alicia", "alice-secret").newToken().Secret); got != "liddell@example.org" {
		t.Errorf("another login name: got %s", got)
	}
	if n := len(h.listed(token)); n != 4 {
		t.Errorf("got %d tokens, want 4", n)
	}
}

// If there are several addresses, any of them works, in any order: servers promise none
// (RFC 4511, section 4.1.7).
func TestAddressesInAnyOrder(t *testing.T) {
	h, s := newDirectoryHouse(t)
	alice := ldaptest.Person("alice")
	token := h.ldapToken("alice")
	for _, addresses := range [][]string{
		{"alice@example.org", "liddell@example.org"}, {"liddell@example.org", "alice@example.org"}, {"no address", "liddell@example.org", "ALICE@example.org"},
	} {
		s.Modify(alice, "mail", addresses...)
		h.ldapToken("alice")
		if got := h.owner(token); got != "alice@example.org" {
			t.Errorf("with %q: got %s", addresses, got)
		}
	}
	h.wantTold(storage.ActionUserRename)
	s.Modify(alice, "mail", "no address", "liddell@example.org")
	h.ldapToken("alice")
	if got := h.owner(token); got != "liddell@example.org" {
		t.Errorf("with another: got %s", got)
	}
}

// A user known to two sources keeps one name, whichever of them lets the person in.
func TestSecondIdentityNeverRenames(t *testing.T) {
	hub := oauthtest.New(t, "github")
	h, s := newDirectoryHouse(t, withProvider(hub, "github"))
	bob, adas := s.Subject(ldaptest.Person("bob")), hub.Issue(oauthtest.Client, ada(), gitHubScopes...)
	h.addUser("robert@home.example", password)
	byHub := h.postToken("github", "ada@example.com", adas).newToken().Secret
	byPassword := h.userpass("robert@home.example", password).newToken().Secret
	for uid, subject := range map[string]string{"robert@home.example": bob, "ada@example.com": s.Subject(ldaptest.Person("alice"))} {
		if _, got := h.link(uid, "ldap", subject, false); got != http.StatusOK {
			t.Fatalf("link %s: got %d", uid, got)
		}
	}
	for range 3 {
		for _, token := range []string{h.ldapToken("bob"), h.userpass("robert@home.example", password).newToken().Secret, byPassword} {
			h.ask("GET", verifyPath).token(token).send().want(http.StatusOK).wantHeader("X-Auth-User", "robert@home.example")
		}
		for _, token := range []string{h.ldapToken("alice"), h.postToken("github", "ada@example.com", adas).newToken().Secret, byHub} {
			h.ask("GET", verifyPath).token(token).send().want(http.StatusOK).wantHeader("X-Auth-User", "Ada@Example.com")
		}
	}
	h.wantUsers("Ada@Example.com github active", "robert@home.example local active")
	h.wantTold(storage.ActionUserRename)
}

// A new person with an old name and an old address inherits nothing.
func TestNewPersonWithOldName(t *testing.T) {
	h, s := newDirectoryHouse(t)
	h.ldapToken("alice") // or nobody else would be left
	old := h.ldapToken("bob")
	h.ask("POST", "/api/userRecentFiles").token(old).json(`{"id":"1","name":"secret plan","revision":1,"path":"/p"}`).send().want(http.StatusNoContent)
	s.Remove(ldaptest.Person("bob"))
	s.AddPerson("bob", "bob@example.org")
	h.ldap("bob", "bob-secret").want(http.StatusConflict, otherAccount)
	h.alive(old) // the next sweeps end that
	h.sweep(2)
	h.dead(old)

	token := h.ldapToken("bob")
	h.dead(old)
	if got := h.listed(token); len(got) != 1 {
		t.Errorf("got %d tokens, want the new one", len(got))
	}
	h.ask("GET", "/api/getUserRecentFiles").token(token).send().want(http.StatusOK, "[]")
	h.sweep(3)
	h.alive(token)
	h.dead(old)
	h.wantUsers("alice@example.org ldap active", "bob@example.org ldap active")
}

// Spellings that slapd takes for one name.
var ldapSpellings = []string{
	"alice", "ALICE", "Alice", "aLiCe", " alice", "alice ", "  alice  ", "ａｌｉｃｅ", "ＡＬＩＣＥ", "ⓐlice", "alIce\u3000",
}

func TestDirectorySpellings(t *testing.T) {
	h, s := newDirectoryHouse(t)
	for _, name := range ldapSpellings {
		if got := h.owner(h.ldap(name, "alice-secret").newToken().Secret); got != "alice@example.org" {
			t.Errorf("%q: got %s", name, got)
		}
	}
	h.wantUsers("alice@example.org ldap active")
	before := s.Binds(ldaptest.Person("alice"))
	for i := range 5 {
		h.ldap(ldapSpellings[2*i], "wrong").want(http.StatusUnauthorized, invalidCredentials)
	}
	for _, name := range ldapSpellings {
		h.ldap(name, "alice-secret").want(http.StatusTooManyRequests)
	}
	if got := s.Binds(ldaptest.Person("alice")) - before; got != 5 {
		t.Errorf("got %d binds, want 5", got)
	}
	h.ldapToken("bob")
	h.userpass("alice", "x").want(http.StatusUnauthorized) // a bucket of its own
	h.userpass(alice, password).want(http.StatusOK)
}

// After account_failures a directory gets one password each 15 minutes, right or wrong:
// it locks for good what is only delayed here.
func TestForwardedFailures(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 3 })
	bob := ldaptest.Person("bob")
	wantBinds := func(want int) {
		t.Helper()
		if got := s.Binds(bob); got != want {
			t.Errorf("got %d binds, want %d", got, want)
		}
	}
	for range 3 {
		h.ldap("bob", "wrong").want(http.StatusUnauthorized, invalidCredentials)
	}
	if got := h.ldap("bob", "bob-secret").retryAfter(); got != 15*time.Minute {
		t.Errorf("got Retry-After %v, want 15m", got)
	}
	h.clock.Move(14 * time.Minute)
	for range 20 {
		h.ldap("BOB", "wrong").want(http.StatusTooManyRequests)
		h.ask("POST", "/api/login").form("method=ldap&username=bob&password=bob-secret").send().want(http.StatusTooManyRequests)
	}
	if got := h.ldap("bob", "bob-secret").retryAfter(); got != time.Minute {
		t.Errorf("got Retry-After %v, want 1m", got)
	}
	wantBinds(3)
	h.close()
	h.open()
	h.ldap("bob", "bob-secret").want(http.StatusTooManyRequests)
	wantBinds(3)
	h.clock.Move(time.Minute)
	h.ldap("bob", "wrong").want(http.StatusUnauthorized, invalidCredentials)
	if got := h.ldap("bob", "bob-secret").retryAfter(); got != 15*time.Minute {
		t.Errorf("got Retry-After %v, want 15m", got)
	}
	wantBinds(4)
	h.clock.Move(15 * time.Minute)
	h.ldapToken("bob") // slapd, which locks at five, has not
	wantBinds(5)
	for range 3 { // all is forgotten
		h.ldap("bob", "wrong").want(http.StatusUnauthorized, invalidCredentials)
	}
	h.ldap("bob", "wrong").want(http.StatusTooManyRequests)

	for range 3 {
		h.ldap("nobody", "wrong").want(http.StatusUnauthorized, invalidCredentials)
	}
	if got := h.ldap("nobody", "wrong").retryAfter(); got != 15*time.Minute {
		t.Errorf("an unknown name: got Retry-After %v, as if it were told apart", got)
	}
}

func TestParallelGuessesAtDirectory(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 3 })
	codes := map[int]int{}
	for code := range together(40, func(i int) int {
		return h.ldap(ldapSpellings[i%len(ldapSpellings)], fmt.Sprint("guess ", i)).code
	}) {
		codes[code]++
	}
	if got := s.Binds(ldaptest.Person("alice")); got != 3 || codes[401] != 3 || codes[429] != 37 {
		t.Errorf("got %d binds and %v, want 3, and 37 of 429", got, codes)
	}
}

// leaving is a client that has gone by the time the password is tried.
type leaving struct {
	directory.LDAP
	leave *context.CancelFunc
}

func (l leaving) Authenticate(ctx context.Context, e ldap.Entry, password string) (ldap.Entry, error) {
	(*l.leave)()
	return l.LDAP.Authenticate(ctx, e, password)
}

// A failure counts even if nobody waits for the answer: the directory counts it too.
func TestClientLeavesDuringBind(t *testing.T) {
	h, s := newDirectoryHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 3 })
	var cancel context.CancelFunc
	h.Directory().LDAP = leaving{h.Directory().LDAP, &cancel}
	for range 10 {
		a := h.ask("POST", ldapPath).form("username=bob&password=wrong")
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		a.r = a.r.WithContext(ctx)
		a.send()
		cancel()
	}
	if got := s.Binds(ldaptest.Person("bob")); got != 3 {
		t.Errorf("got %d binds, want 3", got)
	}
	h.ldap("bob", "bob-secret").want(http.StatusTooManyRequests)
}

// What an administrator decides overrides the directory.
func TestDisabledHere(t *testing.T) {
	h, _ := newDirectoryHouse(t)
	token, cookie := h.ldapToken("alice"), h.ldapCookie("alice")
	must.Do(t, h.admin.DisableUser(t.Context(), "alice@example.org"))
	h.dead(token)
	h.sweep(2)
	for range 5 { // as often as with a wrong password: it looks the same
		h.ldap("alice", "alice-secret").want(http.StatusUnauthorized, invalidCredentials)
	}
	h.ldap("alice", "alice-secret").want(http.StatusTooManyRequests)
	h.dead(token)
	h.wantUsers("alice@example.org ldap disabled")
	must.Do(t, h.admin.EnableUser(t.Context(), "alice@example.org"))
	h.alive(token)
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusUnauthorized)
	h.clock.Move(15 * time.Minute)
	h.ldapToken("alice")
}

// uid_attribute must contain an address, because users are named by it.
func TestUIDWithoutAddress(t *testing.T) {
	h, _ := newDirectoryHouse(t, func(c *config.Config) { c.LDAP.UIDAttribute = "uid" })
	h.ldap("alice", "alice-secret").want(http.StatusForbidden)
	h.wantUsers()
	steps := must.Get(directory.Check(t.Context(), h.cfg, "alice"))(t)
	if last := steps[len(steps)-1]; last.Name != "attributes" || last.OK || !strings.Contains(last.Detail, `"alice"`) {
		t.Errorf("got the last step %+v", last)
	}
}
