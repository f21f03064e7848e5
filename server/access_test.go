package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"gatehouse/server/config"
)

// TestAccessLog: with it on there is one record for each request, however it is answered.
// It names the route, the user and the token's id, and nothing that is a secret.
func TestAccessLog(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Log.Access = "on" })
	made := h.create(`{}`)
	cookie := h.login(alice, password)
	const other = "some-path-or-query"
	for _, c := range []struct {
		what   string
		ask    *ask
		status int
		want   string
	}{
		{"the gate", h.ask("GET", "/api/verify").token(made.Secret), 200, "GET /api/verify 200 " + alice + " " + made.ID},
		{"the gate, another method", h.ask("POST", "/api/verify?x="+other).token(made.Secret), 200, "POST /api/verify 200 " + alice + " " + made.ID},
		{"the gate without a token", h.ask("GET", "/api/verify"), 401, "GET /api/verify 401  "},
		{"a token", h.ask("GET", "/api/token").token(made.Secret), 200, "GET GET /api/token 200 " + alice + " " + made.ID},
		{"a cookie", h.ask("GET", "/api/tokens").cookie(cookie), 200, "GET GET /api/tokens 200 " + alice + " "},
		{"no credential", h.ask("GET", "/api/tokens"), 401, "GET GET /api/tokens 401  "},
		{"an id in the path", h.ask("DELETE", "/api/token/"+strings.Repeat("0", 28)).cookie(cookie), 404, "DELETE DELETE /api/token/{id} 404 " + alice + " "},
		{"a login", h.ask("POST", "/api/login").form("username=alice@example.com&password=correct+horse+battery+staple"), 204, "POST POST /api/login 204 " + alice + " "},
		{"a refused login", h.ask("POST", "/api/login").form("username=alice@example.com&password=" + other), 401, "POST POST /api/login 401  "},
		{"the page", h.ask("GET", "/"), 200, "GET GET / 200  "},
		{"no such path", h.ask("GET", "/"+other), 404, "GET none 404  "},
		{"no such method", h.ask("PUT", "/api/login"), 405, "PUT none 405  "},
		{"health", h.ask("GET", "/healthz"), 200, "GET GET /healthz 200  "},
	} {
		before := len(h.log.String())
		got := c.ask.header("X-Request-Id", "id-1").send()
		if got.code != c.status {
			t.Errorf("%s: got %d %.100s, want %d", c.what, got.code, got.text, c.status)
		}
		got.wantHeader("X-Request-Id", "id-1")
		var records []string
		for line := range strings.Lines(h.log.String()[before:]) {
			if strings.Contains(line, " msg=request ") {
				records = append(records, line)
			}
		}
		if len(records) != 1 {
			t.Errorf("%s: got %d records: %q", c.what, len(records), records)
			continue
		}
		r := records[0]
		if s := strings.Join([]string{field(r, "method"), field(r, "route"), field(r, "status"), field(r, "uid"), field(r, "token_id")}, " "); s != c.want {
			t.Errorf("%s: got %q, want %q", c.what, s, c.want)
		}
		if field(r, "address") != "192.0.2.1" || field(r, "request_id") != "id-1" || !regexp.MustCompile(`^\d+$`).MatchString(field(r, "duration_us")) {
			t.Errorf("%s: got %s", c.what, r)
		}
		for _, secret := range []string{made.Secret, cookie, password, other, strings.Repeat("0", 28)} {
			if strings.Contains(r, secret) {
				t.Errorf("%s: %s is in the record: %s", c.what, secret, r)
			}
		}
	}
}

// TestRequestIDs: every reply has an id, with the log off as well. A failure that an
// operator must look at is logged with it.
func TestRequestIDs(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/", "/api/verify", "/healthz", "/api/token", "/nothing", "/api/openapi.json", "/metrics"} {
		if got := h.ask("GET", path).send().header.Values("X-Request-Id"); len(got) != 1 || len(got[0]) != 16 {
			t.Errorf("%s: got %q", path, got)
		}
		if got := h.ask("GET", path).header("X-Request-Id", "two words").send().header.Values("X-Request-Id"); len(got) != 1 || got[0] == "two words" {
			t.Errorf("%s: got %q for one that can't be kept", path, got)
		}
	}
	if strings.Contains(h.log.String(), "msg=request ") {
		t.Error("there are records with the log off")
	}
	h.web = h.AccessLog().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.Fails(w, r, http.ErrLineTooLong) }))
	h.ask("GET", "/").header("X-Request-Id", "id-9").send().want(http.StatusInternalServerError)
	if !strings.Contains(h.log.String(), "request_id=id-9") {
		t.Errorf("the log does not name the request: %s", h.log)
	}
}
