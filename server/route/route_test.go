package route_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// TestHandler: each request gets its route, or the status and the Allow header that say
// why there is none.
func TestHandler(t *testing.T) {
	routes := []route.Route{
		{Pattern: "GET /{$}"}, {Pattern: "GET /a/{id}"}, {Pattern: "POST /a/{id}"}, {Pattern: "GET /once/{id}/back", GetOnly: true}, {Pattern: "/any"},
	}
	h := route.Handler(routes, func(rt route.Route) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Route", rt.Pattern)
			w.Header().Set("Noted", r.Pattern)
		})
	}, func(w http.ResponseWriter, _ *http.Request, err error) {
		status, _ := reply.Status(err)
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		method, path string
		status       int
		route, allow string
	}{
		{"GET", "/a/1", 200, "GET /a/{id}", ""},
		{"HEAD", "/a/1", 200, "GET /a/{id}", ""},
		{"POST", "/a/1", 200, "POST /a/{id}", ""},
		{"PUT", "/a/1", 405, "", "GET, HEAD, POST"},
		{"GET", "/once/1/back", 200, "GET /once/{id}/back", ""},
		{"HEAD", "/once/1/back", 405, "", "GET"},
		{"POST", "/once/1/back", 405, "", "GET"},
		{"EVIL", "/any", 200, "/any", ""},
		{"GET", "/a//1", 404, "", ""},
		{"GET", "/a/../any", 404, "", ""},
		{"GET", "/a/1/", 404, "", ""},
		{"POST", "/", 405, "", "GET, HEAD"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		got := w.Header()
		if w.Code != c.status || got.Get("Route") != c.route || got.Get("Noted") != c.route || got.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d by %q (%q), Allow %q; want %d by %q, Allow %q",
				c.method, c.path, w.Code, got.Get("Route"), got.Get("Noted"), got.Get("Allow"), c.status, c.route, c.allow)
		}
	}
}
