package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"gatehouse/server"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

const scimUser = "urn:ietf:params:scim:schemas:core:2.0:User"

// scimHouse is a house with two providers, and a token of each for SCIM.
type scimHouse struct {
	*house
	corp         *oauthtest.Server
	okta, others string // the tokens: for corp, and for the other provider
	robot        api.NewToken
}

func newSCIMHouse(t *testing.T, change ...func(*config.Config)) *scimHouse {
	t.Helper()
	s := oauthtest.New(t, "oidc")
	h := &scimHouse{house: newHouse(t, append([]func(*config.Config){public, withProvider(s, "corp"), withProvider(s, "other")}, change...)...), corp: s}
	s.Now = h.clock.Now
	h.service("okta", alice, "")
	h.robot = h.serviceToken("okta@service", "okta", "scim:corp")
	h.okta, h.others = h.robot.Secret, h.serviceToken("okta@service", "other", "scim:other").Secret
	return h
}

// join logs the person n in by the provider, and returns a token.
func (h *scimHouse) join(n int) string {
	h.Helper()
	v := h.byCorp(h.corp, &oauthtest.Account{ID: int64(n), Emails: oauthtest.Verified(h.mail(n))})
	return h.ask("POST", "/api/token").cookie(v.cookies[h.cookieName()]).send().newToken().Secret
}

func (h *scimHouse) mail(n int) string { return fmt.Sprintf("p%d@example.com", n) }

// scim sends a request as the provider does.
func (h *scimHouse) scim(method, path, body string) answer {
	h.Helper()
	a := h.ask(method, "/scim/v2"+path).header("Authorization", "Bearer "+h.okta)
	if body != "" {
		a.body("application/scim+json; charset=utf-8", body)
	}
	return a.send()
}

// scimBody is what tests look at in a reply.
type scimBody struct {
	Schemas                      []string
	ID, ExternalID, UserName     string
	DisplayName                  string
	Active                       bool
	Meta                         struct{ Location, ResourceType string }
	TotalResults, StartIndex     int
	ItemsPerPage                 int
	Resources                    []scimBody
	Status, ScimType, Detail     string
	Patch, Filter                struct{ Supported bool }
	Endpoint, Name, Schema, Type string
}

// is checks the status, the form of the reply and, of an error, the keyword.
func (h *scimHouse) is(a answer, code int, scimType ...string) (b scimBody) {
	h.Helper()
	if a.code != code {
		h.Fatalf("%s: got %d %s, want %d", a.what, a.code, a.text, code)
	}
	a.wantHeader("Cache-Control", "no-store")
	if code == http.StatusNoContent {
		return b
	}
	a.wantHeader("Content-Type", "application/scim+json").into(&b)
	if len(b.Schemas) == 0 {
		h.Errorf("%s: no schemas in %s", a.what, a.text)
	}
	if code >= 400 {
		if b.Schemas[0] != "urn:ietf:params:scim:api:messages:2.0:Error" || b.Status != fmt.Sprint(code) || b.Detail == "" || strings.Join(scimType, "") != b.ScimType {
			h.Errorf("%s: got the error %s, want the type %q", a.what, a.text, scimType)
		}
	}
	return b
}

// id returns the id of a person, as providers find it.
func (h *scimHouse) id(uid string) string {
	h.Helper()
	b := h.is(h.scim("GET", "/Users?filter="+url.QueryEscape(`userName eq "`+uid+`"`), ""), http.StatusOK)
	if len(b.Resources) != 1 || !strings.EqualFold(b.Resources[0].UserName, uid) || b.Resources[0].Meta.Location != publicURL+"/scim/v2/Users/"+b.Resources[0].ID {
		h.Fatalf("%s: got %+v", uid, b)
	}
	return b.Resources[0].ID
}

func patchOf(operations string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operations + `]}`
}

// TestSCIMShapes: what Okta and Entra ID are documented to send stops a person's tokens and
// sessions at once, and brings the tokens back.
func TestSCIMShapes(t *testing.T) {
	h := newSCIMHouse(t)
	whole := func(active string) string {
		return `{"schemas":["` + scimUser + `"],"id":"x","externalId":"00u1","userName":"p17@example.com","name":{"givenName":"Ada","familyName":"Backus"},` +
			`"emails":[{"primary":true,"value":"p17@example.com","type":"work"}],"displayName":"Ada","locale":"en-US","groups":[],"password":"t1meMa$heen","active":` + active +
			`,"meta":{"resourceType":"User"}}`
	}
	replace := func(value string) string { return patchOf(`{"op":"Replace","path":"active","value":` + value + `}`) }
	for _, c := range []struct {
		what, method, stop, start string
	}{
		{"Okta, PUT", "PUT", whole("false"), whole("true")},
		{"Okta, PATCH", "PATCH", patchOf(`{"op":"replace","value":{"active":false}}`), patchOf(`{"op":"replace","value":{"active":true}}`)},
		{"Entra", "PATCH", replace(`"False"`), replace(`"True"`)},
		{"Entra, aadOptscim062020", "PATCH", patchOf(`{"op":"replace","path":"active","value":false}`), patchOf(`{"op":"replace","path":"active","value":true}`)},
		{"Entra, in a list", "PATCH", replace(`[{"$ref":null,"value":"False"}]`), replace(`[{"$ref":null,"value":"True"}]`)},
		{"Entra, without path", "PATCH", patchOf(`{"op":"Replace","value":{"active":"False"}}`), patchOf(`{"op":"Add","value":{"active":"True"}}`)},
		{"Entra, with more", "PATCH",
			patchOf(`{"op":"Add","path":"name.formatted","value":"A"},{"op":"Replace","path":"emails[type eq \"work\"].value","value":"new@example.com"},{"op":"Remove","path":"title"},` +
				`{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"x"},{"op":"Replace","path":"active","value":"False"}`),
			replace(`true`)},
		{"by the URN", "PATCH", patchOf(`{"op":"replace","path":"` + scimUser + `:active","value":false}`), patchOf(`{"op":"replace","value":{"` + scimUser + `:ACTIVE":true}}`)},
	} {
		token := h.join(17)
		v := h.byCorp(h.corp, &oauthtest.Account{ID: 17, Emails: oauthtest.Verified(h.mail(17))})
		id := h.id("P17@example.com")
		if b := h.is(h.scim(c.method, "/Users/"+id, c.stop), http.StatusOK); b.Active || b.ID != id || b.UserName != "p17@example.com" {
			t.Errorf("%s: got %+v", c.what, b)
		}
		h.dead(token)
		if got := v.sessionCode(); got != http.StatusUnauthorized {
			t.Errorf("%s: the session goes on: %d", c.what, got)
		}
		h.is(h.scim(c.method, "/Users/"+id, c.stop), http.StatusOK) // again
		if b := h.is(h.scim("GET", "/Users/"+id, ""), http.StatusOK); b.Active {
			t.Errorf("%s: got %+v", c.what, b)
		}
		if b := h.is(h.scim(c.method, "/Users/"+id, c.start), http.StatusOK); !b.Active {
			t.Errorf("%s: got %+v, want it active", c.what, b)
		}
		h.alive(token)
	}
	if text := h.eventText(); !strings.Contains(text, "user.scim okta@service inactive at corp, token "+h.robot.ID) || !strings.Contains(text, "user.suspend provider corp deactivated by okta@service, token "+h.robot.ID) {
		t.Errorf("the events do not name the token:\n%s", text)
	}
	b := h.is(h.scim("GET", "/Users?filter=externalId+eq+%2200u1%22", ""), http.StatusOK)
	if b.TotalResults != 1 || b.Resources[0].ExternalID != "00u1" {
		t.Errorf("by externalId: got %+v", b)
	}
}

// eventText returns the events, a line each: action, actor, detail.
func (h *scimHouse) eventText() string {
	h.Helper()
	var out strings.Builder
	for e := range must.All(h.admin.Events(h.Context(), api.EventQuery{}))(h) {
		fmt.Fprintln(&out, e.Action, e.Actor, e.Detail)
	}
	return out.String()
}

// TestSCIMAccess: only a token that an administrator made for a provider counts, and it
// reaches the people of that provider alone.
func TestSCIMAccess(t *testing.T) {
	h := newSCIMHouse(t)
	token := h.join(17)
	id := h.id("p17@example.com")
	all := h.token()
	plain := h.create(`{"scopes":["scim"]}`).Secret // of old: a scope of some service behind the gate
	forbidden := h.ask("POST", "/api/token").cookie(h.login(alice, password)).json(`{"scopes":["scim:corp"]}`).send()
	forbidden.want(http.StatusForbidden)
	older, secret := must.Get2(h.store.CreateToken(storage.Actor{Name: alice}, h.user(alice).ID, storage.TokenSpec{Scopes: []string{"scim:corp"}}))(t)
	h.ask("POST", "/api/token/"+older.ID.String()+"/rotate").cookie(h.login(alice, password)).send().want(http.StatusForbidden)
	// The owner of the service account, by session, and another token of the account.
	h.ask("POST", "/api/token/"+h.robot.ID+"/rotate").cookie(h.login(alice, password)).send().want(http.StatusForbidden)
	unlimited := must.Get(h.admin.CreateToken(t.Context(), api.TokenRequest{UID: "okta@service"}))(t)
	for _, one := range h.listed(unlimited.Secret) {
		if len(one.Scopes) > 0 && len(one.APIToken) > 20 {
			t.Errorf("a token for SCIM is shown in full: %+v", one)
		}
	}
	for _, one := range map[string]struct {
		token string
		code  int
	}{
		"nothing": {"", 401}, "no token": {"x", 401}, "an ordinary token": {all, 403}, "a user's scope scim": {plain, 403},
		"a user's scope scim:corp": {secret.Reveal(), 403}, "a service without scopes": {unlimited.Secret, 403},
		"introspect": {h.serviceToken("okta@service", "x", "introspect").Secret, 403},
	} {
		for _, path := range []string{"/Users", "/Users/" + id, "/ServiceProviderConfig", "/Schemas", "/ResourceTypes"} {
			a := h.ask("GET", "/scim/v2"+path)
			if one.token != "" {
				a.header("Authorization", "Bearer "+one.token)
			}
			if h.is(a.send(), one.code); one.code == 401 {
				a.send().wantHeader("WWW-Authenticate", `Bearer realm="gatehouse"`)
			}
		}
	}
	// The other provider's token, and people of nobody.
	h.okta, h.others = h.others, h.okta
	for _, path := range []string{"/Users/" + id, "/Users/" + h.user(alice).ID.Opaque(), "/Users/" + h.user("okta@service").ID.Opaque(), "/Users/0000000000000000", "/Users/x", "/Nothing"} {
		h.is(h.scim("GET", path, ""), http.StatusNotFound)
	}
	h.is(h.scim("PATCH", "/Users/"+id, patchOf(`{"op":"replace","value":{"active":false}}`)), http.StatusNotFound)
	h.is(h.scim("DELETE", "/Users/"+id, ""), http.StatusNotFound)
	for _, query := range []string{"", "?filter=" + url.QueryEscape(`userName eq "p17@example.com"`), "?filter=" + url.QueryEscape(`userName eq "`+alice+`"`), "?filter=" + url.QueryEscape(`externalId eq "17"`)} {
		if b := h.is(h.scim("GET", "/Users"+query, ""), http.StatusOK); b.TotalResults != 0 || len(b.Resources) != 0 {
			t.Errorf("%s: got %+v", query, b)
		}
	}
	h.is(h.scim("POST", "/Users", `{"userName":"p17@example.com"}`), http.StatusConflict, "uniqueness")
	h.alive(token)
	// What an administrator may ask for.
	for scopes, uid := range map[string]string{"scim:corp": alice, "scim:": "okta@service", "scim:nobody": "okta@service", "scim:corp scim:other": "okta@service"} {
		if _, err := h.admin.CreateToken(t.Context(), api.TokenRequest{UID: uid, Scopes: strings.Fields(scopes)}); err == nil {
			t.Errorf("a token for %s with %s is made", uid, scopes)
		}
	}
	// The provider is taken out of the configuration.
	h.okta, h.others = h.others, h.okta
	newer := h.cfg
	newer.OAuth = map[string]config.OAuth{"other": h.cfg.OAuth["other"]}
	if !h.Reload(newer) {
		t.Fatal(h.log)
	}
	h.is(h.scim("GET", "/Users/"+id, ""), http.StatusForbidden)
}

func (h *scimHouse) user(uid string) storage.User {
	h.Helper()
	u := must.Get(h.store.User(uid))(h)
	return u
}

// TestSCIMBad: what can't be understood gets an error with a keyword, and changes nothing.
func TestSCIMBad(t *testing.T) {
	h := newSCIMHouse(t)
	token := h.join(17)
	id := "/Users/" + h.id("p17@example.com")
	for _, c := range []struct {
		method, path, body string
		code               int
		scimType           string
	}{
		{"GET", "/Users?filter=userName", "", 400, "invalidFilter"},
		{"GET", "/Users?filter=userName+eq+%22a;b%22", "", 400, "invalidSyntax"}, // all users would be found
		{"GET", "/Users?filter=" + url.QueryEscape(`userName sw "a"`), "", 400, "invalidFilter"},
		{"GET", "/Users?filter=" + url.QueryEscape(`userName eq "a" or userName eq "b"`), "", 400, "invalidFilter"},
		{"GET", "/Users?filter=" + url.QueryEscape(`password eq "a"`), "", 400, "invalidFilter"},
		{"GET", "/Users?filter=" + url.QueryEscape(`userName eq "\x"`), "", 400, "invalidFilter"},
		{"GET", "/Users?startIndex=one", "", 400, "invalidValue"},
		{"GET", "/Users?count=1.5", "", 400, "invalidValue"},
		{"PATCH", id, `{`, 400, "invalidSyntax"},
		{"PATCH", id, `[]`, 400, "invalidSyntax"},
		{"PATCH", id, `{"active":false}`, 400, "invalidSyntax"},
		{"PATCH", id, patchOf(``), 400, "invalidSyntax"},
		{"PATCH", id, patchOf(`{"op":"move","path":"active","value":false}`), 400, "invalidSyntax"},
		{"PATCH", id, patchOf(`{"op":"replace","path":"active"}`), 400, "invalidValue"},
		{"PATCH", id, patchOf(`{"op":"replace","path":"active","value":"maybe"}`), 400, "invalidValue"},
		{"PATCH", id, patchOf(`{"op":"replace","path":"active","value":0}`), 400, "invalidValue"},
		{"PATCH", id, patchOf(`{"op":"replace","value":"False"}`), 400, "invalidValue"},
		{"PATCH", id, patchOf(`{"op":"replace","value":{"active":false,"` + scimUser + `:active":true}}`), 400, "invalidValue"},
		{"PUT", id, `{"active":false,"` + scimUser + `:active":true}`, 400, "invalidSyntax"},
		{"PATCH", id, patchOf(`{"op":"remove"}`), 400, "noTarget"},
		{"PATCH", id, patchOf(`{"op":"remove","path":"active"}`), 400, "mutability"},
		{"PATCH", id, `{"Operations":[{"op":"replace","path":"active","value":true,"value":false}]}`, 400, "invalidSyntax"},
		{"PUT", id, `{"active":"no"}`, 400, "invalidValue"},
		{"PUT", id, `{"active":true,"externalId":"` + strings.Repeat("x", 600) + `"}`, 400, "invalidValue"},
		{"PATCH", id, patchOf(`{"op":"replace","path":"externalId","value":"a\u200d"}`), 400, "invalidValue"},
		{"PUT", id, `{"active":false,"x":"` + strings.Repeat("x", 70<<10) + `"}`, 413, ""},
		{"POST", "/Users", `{"externalId":"1"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"ada"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"robot@service"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"p18@example.com","externalId":"a\u0000"}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"ada@example.com","emails":[{"value":"a.backus@example.com"}]}`, 400, "invalidValue"},
		{"POST", "/Users", `{"userName":"p17@example.com"}`, 409, "uniqueness"},
		{"POST", "/Users", `{"userName":"` + alice + `"}`, 409, "uniqueness"},
		{"POST", id, `{}`, 405, ""},
		{"GET", "/Groups", "", 404, ""},
		{"GET", "/Schemas/urn:nothing", "", 404, ""},
	} {
		b := h.is(h.scim(c.method, c.path, c.body), c.code, c.scimType)
		if strings.Contains(b.Detail, "\n") || c.method != "GET" && c.code == 400 && strings.Contains(c.body, "externalId\":\"xx") && !strings.HasPrefix(b.Detail, "externalId: ") {
			t.Errorf("%s %s: got %q", c.method, c.path, b.Detail)
		}
	}
	a := h.ask("PATCH", "/scim/v2"+id).header("Authorization", "Bearer "+h.okta).form("active=false")
	h.is(a.send(), http.StatusUnsupportedMediaType)
	h.alive(token)
	if b := h.is(h.scim("PUT", id, `{"userName":"other@example.com","externalId":"`+strings.Repeat("x", 600)+`","active":false}`), http.StatusOK); b.Active || b.UserName != "p17@example.com" {
		t.Errorf("a deactivation with a bad externalId: got %+v", b)
	}
	h.dead(token)
}

// TestSCIMDescribes: a provider can read what is supported.
func TestSCIMDescribes(t *testing.T) {
	h := newSCIMHouse(t)
	if b := h.is(h.scim("GET", "/ServiceProviderConfig", ""), http.StatusOK); !b.Patch.Supported || !b.Filter.Supported {
		t.Errorf("got %+v", b)
	}
	for _, path := range []string{"/Schemas", "/ResourceTypes"} {
		list := h.is(h.scim("GET", path, ""), http.StatusOK)
		if list.TotalResults != 1 || len(list.Resources) != 1 {
			t.Fatalf("%s: got %+v", path, list)
		}
		one := h.is(h.scim("GET", path+"/"+list.Resources[0].ID, ""), http.StatusOK)
		if one.Name != "User" || one.Meta.Location != publicURL+"/scim/v2"+path+"/"+one.ID {
			t.Errorf("%s: got %+v", path, one)
		}
	}
}

// TestSCIMList: pages, as Okta and Entra ID ask for them.
func TestSCIMList(t *testing.T) {
	h := newSCIMHouse(t)
	for n := range 7 {
		h.is(h.scim("POST", "/Users", fmt.Sprintf(`{"userName":%q}`, h.mail(n))), http.StatusCreated)
	}
	h.is(h.scim("DELETE", "/Users/"+h.id(h.mail(6)), ""), http.StatusNoContent)
	for query, want := range map[string]string{
		"":                                        "6 1 6 p0 p1 p2 p3 p4 p5",
		"?count=100&startIndex=1":                 "6 1 6 p0 p1 p2 p3 p4 p5",
		"?startIndex=1&count=2":                   "6 1 2 p0 p1",
		"?startIndex=5&count=5":                   "6 5 2 p4 p5",
		"?startIndex=-3&count=1":                  "6 1 1 p0",
		"?startIndex=7&count=5":                   "6 7 0",
		"?count=0":                                "6 1 0",
		"?count=2147483647":                       "6 1 6 p0 p1 p2 p3 p4 p5",
		"?startIndex=2147483647":                  "6 2147483647 0",
		"?count=" + strings.Repeat("9", 30):       "6 1 6 p0 p1 p2 p3 p4 p5",
		"?startIndex=-" + strings.Repeat("9", 30): "6 1 6 p0 p1 p2 p3 p4 p5",
		"?count=-1":                               "6 1 0",
		"?attributes=userName":                    "6 1 6 p0 p1 p2 p3 p4 p5",
		"?filter=userName+eq+%22P3%40example.com%22&startIndex=1&count=100": "1 1 1 p3",
		"?filter=userName+eq+%22p3%40example.com%22&startIndex=2":           "1 2 0",
		"?filter=userName+eq+%22p6%40example.com%22":                        "0 1 0",
		"?filter=username+EQ+%22p1%40example.com%22":                        "1 1 1 p1",
		"?filter=" + scimUser + ":userName+eq+%22p1%40example.com%22":       "1 1 1 p1",
	} {
		b := h.is(h.scim("GET", "/Users"+query, ""), http.StatusOK)
		got := fmt.Sprint(b.TotalResults, b.StartIndex, b.ItemsPerPage)
		for _, u := range b.Resources {
			got += " " + strings.TrimSuffix(u.UserName, "@example.com")
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// TestSCIMAnnounced: a person whom the provider creates is a user without a login of its own.
// The first login by that provider meets it, by the subject or by the address.
func TestSCIMAnnounced(t *testing.T) {
	h := newSCIMHouse(t)
	post := func(body string) scimBody {
		t.Helper()
		return h.is(h.scim("POST", "/Users", body), http.StatusCreated)
	}
	byAddress := post(`{"schemas":["` + scimUser + `"],"externalId":"other-than-the-subject","userName":"p1@example.com","name":{"givenName":"Ada","familyName":"B"},"emails":[{"value":"P1@example.com"}],"active":true}`)
	bySubject := post(`{"externalId":"2","userName":"old@example.com","displayName":"Two"}`)
	inactive := post(`{"externalId":"3","userName":"p3@example.com","active":false}`)
	if !byAddress.Active || byAddress.DisplayName != "Ada B" || byAddress.Meta.ResourceType != "User" || inactive.Active {
		t.Errorf("got %+v and %+v", byAddress, inactive)
	}
	h.userpass("p1@example.com", "").want(http.StatusUnauthorized)
	tokens := []string{h.join(1), h.join(2)}
	for n, made := range []scimBody{byAddress, bySubject} {
		u := h.user(h.mail(n + 1))
		if u.ID.Opaque() != made.ID || u.Source != "corp" || u.Identities[0] != (storage.Identity{Source: "corp", Subject: fmt.Sprint(n + 1)}) {
			t.Errorf("got %+v, want that of %+v", u, made)
		}
		h.is(h.scim("PATCH", "/Users/"+made.ID, patchOf(`{"op":"Replace","path":"active","value":"False"}`)), http.StatusOK)
		h.dead(tokens[n])
	}
	// A login of somebody who is inactive, or with the address of an announced user of
	// another provider, or of one who holds a token, gets nothing.
	login := func(provider string, n int) int {
		v := h.visitor()
		v.visit(h.corp.Agree(v.begin("/login/"+provider), &oauthtest.Account{ID: int64(n), Emails: oauthtest.Verified(h.mail(n))}))
		return v.sessionCode()
	}
	if got := login("corp", 3); got != http.StatusUnauthorized {
		t.Errorf("an inactive person is in: %d", got)
	}
	post(`{"userName":"p4@example.com"}`)
	if got := login("other", 4); got != http.StatusUnauthorized {
		t.Errorf("another provider's person has the user: %d", got)
	}
	must.Get(h.admin.CreateToken(t.Context(), api.TokenRequest{UID: "p4@example.com"}))(t)
	if got := login("corp", 4); got != http.StatusUnauthorized {
		t.Errorf("a login has the token of an announced user: %d", got)
	}
	for n := range 12 {
		h.okta, h.others = h.others, h.okta
		h.is(h.scim("POST", "/Users", fmt.Sprintf(`{"userName":"p1@example.com","externalId":"%d"}`, n)), http.StatusConflict, "uniqueness")
	}
	h.is(h.scim("POST", "/Users", `{"userName":"new@example.com","externalId":"2"}`), http.StatusConflict, "uniqueness")
}

// TestSCIMDelete: who is deleted is stopped at once, and removed a day later by two sweeps,
// unless the provider has created the person again.
func TestSCIMDelete(t *testing.T) {
	h := newSCIMHouse(t)
	tokens := []string{h.join(1), h.join(2), h.join(3)}
	local := h.user(alice)
	must.Do(t, h.store.Link(storage.Actor{}, h.mail(3), storage.Identity{Source: "other", Subject: "9"}))
	sweep := func(n int) {
		t.Helper()
		for range n {
			must.Do(t, h.SCIM().Sweeps()[0].Sweep(t.Context()))
		}
	}
	ids := map[int]string{}
	for n := 1; n <= 3; n++ {
		ids[n] = h.id(h.mail(n))
		h.is(h.scim("DELETE", "/Users/"+ids[n], ""), http.StatusNoContent)
		h.dead(tokens[n-1])
		for _, method := range []string{"GET", "DELETE"} {
			h.is(h.scim(method, "/Users/"+ids[n], ""), http.StatusNotFound)
		}
		h.is(h.scim("PATCH", "/Users/"+ids[n], patchOf(`{"op":"replace","value":{"active":true}}`)), http.StatusNotFound)
	}
	sweep(3)
	b := h.is(h.scim("POST", "/Users", `{"userName":"p1@example.com","externalId":"again"}`), http.StatusCreated)
	if b.ID != ids[1] || !b.Active {
		t.Errorf("created again: got %+v", b)
	}
	h.alive(tokens[0])
	// Somebody new has got the address: the old tokens are not theirs.
	h.is(h.scim("DELETE", "/Users/"+ids[1], ""), http.StatusNoContent)
	h.is(h.scim("POST", "/Users", `{"userName":"p1@example.com","externalId":"somebody else"}`), http.StatusConflict, "uniqueness")
	h.dead(tokens[0])
	h.is(h.scim("POST", "/Users", `{"userName":"p1@example.com","externalId":"again"}`), http.StatusCreated)
	h.alive(tokens[0])
	h.close()
	h.clock.Pass(23 * time.Hour)
	h.open()
	h.recallSCIM()
	sweep(3)
	h.user(h.mail(2))
	h.clock.Pass(2 * time.Hour)
	sweep(1)
	h.user(h.mail(2))
	sweep(1)
	if _, err := h.store.User(h.mail(2)); err == nil {
		t.Error("who was deleted a day ago is not removed")
	}
	if u := h.user(h.mail(3)); u.State != storage.UserSuspended {
		t.Errorf("whom another provider knows too: got %+v", u)
	}
	h.alive(tokens[0])
	if now := h.user(alice); now.State != local.State {
		t.Errorf("got %+v", now)
	}
	// The address is free: a person who comes back is new.
	if b := h.is(h.scim("POST", "/Users", `{"userName":"p2@example.com"}`), http.StatusCreated); b.ID == ids[2] {
		t.Error("a removed user is back")
	}
	h.dead(tokens[1])
}

// recallSCIM does what the server does at its start.
func (h *scimHouse) recallSCIM() {
	h.Helper()
	h.SCIM().Recall(h.Context())
}

// TestSCIMBrake: more than five and more than a tenth within an hour are held, one by one as
// they come, until an administrator confirms it; also over a restart and an hour later.
func TestSCIMBrake(t *testing.T) {
	h := newSCIMHouse(t)
	var tokens []string
	for n := range 8 {
		tokens = append(tokens, h.join(n))
	}
	stop := func(n int, active bool) bool {
		t.Helper()
		return h.is(h.scim("PATCH", "/Users/"+h.id(h.mail(n)), patchOf(fmt.Sprintf(`{"op":"replace","value":{"active":%v}}`, active))), http.StatusOK).Active
	}
	for n := range 8 {
		if active := stop(n, false); active != (n >= 5) {
			t.Errorf("person %d: active %v", n, active)
		}
		h.clock.Pass(time.Minute)
	}
	if held := h.held(); len(held.Changes) != 3 || held.Asked != 8 || !strings.Contains(held.Changes[0].Why, "deactivated by okta@service") {
		t.Fatalf("got %+v", held)
	}
	for _, step := range []func(){
		func() { h.clock.Pass(2 * time.Hour) },
		func() { h.close(); h.open(); h.recallSCIM() },
		func() { stop(0, true); stop(7, true) },
	} {
		step()
		must.Do(t, h.SCIM().Sweeps()[0].Sweep(t.Context()))
		h.alive(tokens[5])
		h.alive(tokens[6])
	}
	h.alive(tokens[7])
	if held := h.held(); len(held.Changes) != 3 || held.Why != "earlier changes wait for a confirmation" { // two to stop, and one to bring back
		t.Fatalf("got %+v", held)
	}
	if !h.Reload(h.cfg) {
		t.Fatal("not taken")
	}
	if n := h.Latest().SCIM().Sweeps()[0].Holding(); n != 3 {
		t.Errorf("after a reload, %d are held, want 3", n)
	}
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	h.alive(tokens[0])
	h.dead(tokens[5])
	h.dead(tokens[6])
	h.alive(tokens[7])
	if !stop(7, true) || stop(7, false) {
		t.Error("after the confirmation, a single person is held")
	}
}

// TestSCIMBack: many were stopped a moment ago, as an administrator confirmed. One of them
// comes back at once.
func TestSCIMBack(t *testing.T) {
	h := newSCIMHouse(t)
	var tokens []string
	for n := range 8 {
		tokens = append(tokens, h.join(n))
	}
	say := func(n int, active bool) bool {
		t.Helper()
		return h.is(h.scim("PATCH", "/Users/"+h.id(h.mail(n)), patchOf(fmt.Sprintf(`{"op":"replace","value":{"active":%v}}`, active))), http.StatusOK).Active
	}
	for n := range 7 {
		say(n, false)
	}
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	h.dead(tokens[6])
	if !say(0, true) || len(h.held().Changes) > 0 {
		t.Errorf("the person does not come back; held: %+v", h.held())
	}
	h.alive(tokens[0])
	if !say(7, false) {
		t.Error("one more stop within the hour is not held")
	}
	h.alive(tokens[7])
}

// TestSCIMOthers: a suspension by SCIM ends only by SCIM or an administrator, and SCIM ends
// no other. What was said holds when another source lets the person in again.
func TestSCIMOthers(t *testing.T) {
	h := newSCIMHouse(t)
	token := h.join(17)
	id := "/Users/" + h.id(h.mail(17))
	say := func(active bool) {
		t.Helper()
		h.is(h.scim("PATCH", id, patchOf(fmt.Sprintf(`{"op":"replace","value":{"active":%v}}`, active))), http.StatusOK)
	}
	u := h.user(h.mail(17))
	by := storage.Actor{Name: "tester"}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	say(false)
	v := h.visitor()
	v.visit(h.corp.Agree(v.begin("/login/corp"), &oauthtest.Account{ID: 17, Emails: oauthtest.Verified(h.mail(17))}))
	h.dead(token)
	try(h.admin.EnableUser(t.Context(), h.mail(17)))
	h.alive(token)
	try(h.SCIM().Sweeps()[0].Sweep(t.Context()))
	h.alive(token) // the administrator's word is the newer one
	try(h.admin.DisableUser(t.Context(), h.mail(17)))
	say(false)
	say(true)
	h.dead(token)
	try(h.admin.EnableUser(t.Context(), h.mail(17)))
	try(h.store.Suspend(by, u.ID, storage.Suspension{Source: "corp"}, "recheck"))
	say(true)
	h.dead(token)
	say(false)
	try(h.store.Resume(by, u.ID, "corp"))
	h.alive(token)
	try(h.SCIM().Sweeps()[0].Sweep(t.Context()))
	h.dead(token)
	say(true)
	h.alive(token)
	// A restore brings a suspension over without its source. What was said before it does
	// not end it.
	h.clock.Pass(time.Minute)
	try(h.store.Suspend(by, u.ID, storage.Suspension{}, "before the restore"))
	h.recallSCIM()
	try(h.SCIM().Sweeps()[0].Sweep(t.Context()))
	h.dead(token)
	say(true)
	h.alive(token)
}

// TestSCIMBudget: what makes something has a budget, and what stops somebody has none.
func TestSCIMBudget(t *testing.T) {
	h := newSCIMHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 2 })
	for n := range 2 {
		h.is(h.scim("POST", "/Users", fmt.Sprintf(`{"userName":%q}`, h.mail(n))), http.StatusCreated)
	}
	got := h.scim("POST", "/Users", `{"userName":"p3@example.com"}`)
	if h.is(got, http.StatusTooManyRequests); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for n := range 2 {
		h.is(h.scim("PUT", "/Users/"+h.id(h.mail(n)), `{"active":false}`), http.StatusOK)
		h.is(h.scim("DELETE", "/Users/"+h.id(h.mail(n)), ""), http.StatusNoContent)
	}
}

// TestSCIMReplies: real replies match the document.
func TestSCIMReplies(t *testing.T) {
	h := newSCIMHouse(t)
	doc := must.Get(openapi3.NewLoader().LoadFromData(server.OpenAPI))(t)
	made := h.scim("POST", "/Users", `{"userName":"p1@example.com","externalId":"1","displayName":"One"}`)
	made.wantHeader("Location", publicURL+"/scim/v2/Users/"+h.id("p1@example.com"))
	for schema, a := range map[string]answer{
		"SCIMUser": made, "SCIMList": h.scim("GET", "/Users", ""), "SCIMError": h.scim("GET", "/Users?filter=x", ""),
	} {
		var row any
		a.into(&row)
		if err := doc.Components.Schemas[schema].Value.VisitJSON(row, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
	}
}
