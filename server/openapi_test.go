package server_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"gatehouse/server"
	"gatehouse/server/route"
	"gatehouse/server/scim"
	"gatehouse/storage/storagetest/must"
)

// TestOpenAPI: the document is valid, says what replies look like, and names
// the methods and paths that are served, and no others.
func TestOpenAPI(t *testing.T) {
	h := newHouse(t)
	got := h.ask("GET", "/api/openapi.json").send().want(http.StatusOK).
		wantHeader("Content-Type", "application/json").wantHeader("Cache-Control", "public, max-age=3600")
	doc := must.Get(openapi3.NewLoader().LoadFromData([]byte(got.text)))(t)
	must.Do(t, doc.Validate(t.Context()))
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("got OpenAPI %s, want 3.1", doc.OpenAPI)
	}
	described := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = true
			if op.Security == nil || op.OperationID == "" || op.Responses.Len() == 0 {
				t.Errorf("%s %s says too little", method, path)
			}
			mediaType, schema := "application/json", "Error"
			if strings.HasPrefix(path, scim.Path) {
				mediaType, schema = "application/scim+json", "SCIMError"
			}
			for status, r := range op.Responses.Map() {
				if status >= "400" && r.Value.Content[mediaType].Schema.Ref != "#/components/schemas/"+schema {
					t.Errorf("%s %s, %s: is not an error of the usual form", method, path, status)
				}
			}
		}
	}
	served := map[string]bool{}
	for _, r := range h.Routes() {
		method, path, ok := strings.Cut(r.Pattern, " ")
		if !ok {
			for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
				served[m+" "+method] = true
			}
			continue
		}
		served[method+" "+path] = true
	}
	if got, want := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(served)); !slices.Equal(got, want) {
		t.Errorf("the document and routes differ:\n%q\n%q", got, want)
	}
}

// TestOpenAPISecurity: a route without a credential says so, and the others name those
// that they take.
func TestOpenAPISecurity(t *testing.T) {
	h := newHouse(t)
	doc := must.Get(openapi3.NewLoader().LoadFromData(server.OpenAPI))(t)
	names := map[route.Credential]string{route.Nobody: "", route.ByToken: "bearer token", route.ByCookie: "cookie", route.ByEither: "bearer cookie token", route.ByGate: "basic bearer token"}
	for _, r := range h.Routes() {
		method, path, ok := strings.Cut(r.Pattern, " ")
		if !ok {
			method, path = "GET", method
		}
		var got []string
		for _, one := range *doc.Paths.Value(path).GetOperation(method).Security {
			got = append(got, slices.Collect(maps.Keys(one))...)
		}
		slices.Sort(got)
		if want := names[r.Who]; strings.Join(got, " ") != want && path != "/api/revokeApiToken" {
			t.Errorf("%s: got %q, want %q", r.Pattern, got, want)
		}
	}
}

// TestOpenAPIReplies: real replies match the document.
func TestOpenAPIReplies(t *testing.T) {
	h := newHouse(t)
	doc := must.Get(openapi3.NewLoader().LoadFromData(server.OpenAPI))(t)
	cookie := h.login(alice, password)
	made := h.create(`{"name":"x","scopes":["files"],"addresses":["192.0.2.0/24"]}`)
	token := h.token()
	h.service("robot", alice, "")
	h.serviceToken("robot@service", "ci")
	h.opened(token, `{"id":1,"name":"a","path":"/a"}`).want(http.StatusNoContent)
	for schema, a := range map[string]*ask{
		"LoginToken":        h.ask("POST", userpassPath).form("username=" + alice + "&password=" + strings.ReplaceAll(password, " ", "+")),
		"NewToken":          h.ask("POST", "/api/token").cookie(cookie),
		"OwnToken":          h.ask("GET", "/api/token").token(made.Secret),
		"Introspection":     h.ask("POST", "/api/introspect").token(token).form("token=" + made.Secret),
		"Nothing":           h.ask("POST", "/api/revoke").form("token=x"),
		"Error":             h.ask("GET", "/api/token"),
		"[]DocumentedToken": h.ask("GET", "/api/getApiTokens").token(token),
		"[]OwnToken":        h.ask("GET", "/api/tokens").token(token),
		"[]OwnService":      h.ask("GET", "/api/services").cookie(cookie),
		"[]ServiceToken":    h.ask("GET", "/api/services/robot/tokens").cookie(cookie),
		"[]Session":         h.ask("GET", "/api/sessions").cookie(cookie),
		"[]RecentFile":      h.ask("GET", "/api/getUserRecentFiles").token(token),
	} {
		name, list := strings.CutPrefix(schema, "[]")
		s := doc.Components.Schemas[name].Value
		var one any
		rows := []any{one}
		got := a.send()
		if list {
			got.into(&rows)
		} else {
			got.into(&rows[0])
		}
		if len(rows) == 0 {
			t.Errorf("%s: no rows", schema)
		}
		for _, row := range rows {
			if err := s.VisitJSON(row, openapi3.EnableJSONSchema2020()); err != nil {
				t.Errorf("%s: %v", schema, err)
			}
		}
	}
}
