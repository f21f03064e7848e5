package oauth

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest/must"
)

// answers are what a provider may say instead of what is documented. Each says who is at
// fault, unless faults says otherwise. If it is the client, that is a refusal. If it is the
// provider or we, there is no verdict.
var answers = []struct {
	name   string
	refuse bool
	serve  http.HandlerFunc
}{
	{"400", true, says(http.StatusBadRequest, `{"error":"invalid_request"}`)},
	{"400 without JSON", true, says(http.StatusBadRequest, "Bad Request")},
	{"401", true, says(http.StatusUnauthorized, `{"message":"no"}`)},
	{"401 invalid_token", true, says(http.StatusUnauthorized, `{"error":"invalid_token"}`)},
	{"403", true, says(http.StatusForbidden, `{"message":"no"}`)},
	{"404", false, says(http.StatusNotFound, `{"message":"Not Found"}`)},
	{"405", false, says(http.StatusMethodNotAllowed, "")},
	{"413", true, says(http.StatusRequestEntityTooLarge, "")},
	{"414", true, says(http.StatusRequestURITooLong, "")},
	{"422", true, says(http.StatusUnprocessableEntity, `{"message":"Validation Failed"}`)},
	{"429", false, says(http.StatusTooManyRequests, `{"message":"slow down"}`)},
	{"431", true, says(http.StatusRequestHeaderFieldsTooLarge, "")},
	{"403 with Retry-After", false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusForbidden)
	}},
	{"500", false, says(http.StatusInternalServerError, `{"error":"invalid_token"}`)},
	{"502", false, says(http.StatusBadGateway, "<html>")},
	{"503", false, says(http.StatusServiceUnavailable, "")},
	{"HTML", false, says(http.StatusOK, "<!DOCTYPE html><title>Log in</title>")},
	{"truncated JSON", false, says(http.StatusOK, `{"active":tr`)},
	{"an empty body", false, says(http.StatusOK, "")},
	{"a body that ends early", false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"active":`)
	}},
	{"no answer", false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{"a time-out", false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// faults lists the endpoints that mean something else by an answer. With the client's own
// credentials, 401 and 403 are about these, unless the answer says that it is the token.
var faults = map[string]map[string]bool{
	"POST /api/v3/applications/" + oauthtest.Client + "/token": {"401": false, "401 invalid_token": false, "403": false, "404": true},
	"GET /api/v3/user/emails":                                  {"404": true},
	"POST /login/oauth/introspect":                             {"401": false, "403": false},
	"POST /introspect":                                         {"401": false, "403": false},
	"GET /.well-known/openid-configuration": { // no token is sent there
		"400": false, "400 without JSON": false, "401": false, "401 invalid_token": false, "403": false, "413": false, "414": false, "422": false, "431": false,
	},
}

// TestWhoseFault: each answer of each endpoint of each type is the client's fault, or it
// is not. Only an answer that is not makes the provider look unwell.
func TestWhoseFault(t *testing.T) {
	seen := map[string]bool{}
	everyKind(t, func(t *testing.T, s *oauthtest.Server, scopes []string) {
		token := s.Issue(oauthtest.Client, ada(), scopes...)
		must.Get(open(t, s).Verify(t.Context(), token))(t)
		endpoints := slices.Compact(slices.Sorted(slices.Values(s.Asked())))
		if len(endpoints) < 2 {
			t.Fatalf("got endpoints %q", endpoints)
		}
		for _, endpoint := range endpoints {
			seen[endpoint] = true
			for _, a := range answers {
				refuse := a.refuse
				if other, ok := faults[endpoint][a.name]; ok {
					refuse = other
				}
				p := open(t, s, func(c *Config) {
					if a.name == "a time-out" {
						c.Timeout = 50 * time.Millisecond
					}
				})
				s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method+" "+r.URL.Path != endpoint {
						return false
					}
					a.serve(w, r)
					return true
				})
				t.Logf("%s answers with %s", endpoint, a.name)
				_, err := p.Verify(t.Context(), token)
				if refuse {
					wantRefused(t, err, "", token)
				} else {
					wantUnavailable(t, err, "", token)
				}
				if failed := !p.Status().LastFailure.IsZero(); failed == refuse {
					t.Errorf("%s: got status %+v", a.name, p.Status())
				}
			}
		}
	})
	for endpoint := range faults {
		if !seen[endpoint] {
			t.Errorf("no type asks %s", endpoint)
		}
	}
}

// TestIntrospectionErrors: for every status, an OAuth error says who is at fault.
func TestIntrospectionErrors(t *testing.T) {
	for _, kind := range []string{OIDC, Gitea} {
		t.Run(kind, func(t *testing.T) {
			s := oauthtest.New(t, kind)
			token := s.Issue(oauthtest.Client, ada(), kinds[kind]...)
			for _, c := range []struct {
				status int
				body   string
				refuse bool
			}{
				{400, `{"error":"invalid_client"}`, false},
				{400, `{"error":"unauthorized_client"}`, false},
				{400, `{"error":"invalid_request","error_description":"an ID token"}`, true},
				{400, `{"error":"unsupported_token_type"}`, true},
				{401, `{"error":"invalid_client"}`, false},
				{401, `{"error":"invalid_token"}`, true},
				{401, `{"active":false}`, true},
				{403, `{"error":"access_denied"}`, false},
				{200, `{"error":"invalid_token"}`, true},
				{200, `{}`, true},
			} {
				p := open(t, s)
				s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.URL.Path, "/introspect") {
						return false
					}
					says(c.status, c.body)(w, r)
					return true
				})
				t.Logf("%d %s", c.status, c.body)
				_, err := p.Verify(t.Context(), token)
				if c.refuse {
					wantRefused(t, err, "", token)
				} else {
					wantUnavailable(t, err, "", token)
				}
			}
		})
	}
}

// TestForbidden: the cause of a 403 is reported, in our own words.
func TestForbidden(t *testing.T) {
	for message, want := range map[string]string{
		"This account is not activated.": "the account is not activated",
		"This account is prohibited from signing in, please contact your site administrator.":             "the account may not log in",
		"You must change your password. Change it at: https://gitea.example.com/user/change_password":     "the account must change its password first",
		"token does not have at least one of required scope(s), required=[read:user], token scope=public": "the token lacks a scope that is needed",
		"token does not have at least one of required scope(s): [read:user]":                              "the token lacks a scope that is needed",
		"Sorry. Your account was suspended.":                                                              "the account is suspended",
		"403 Forbidden - Your account has been blocked.":                                                  "the account is blocked",
		"Your account has been BANNED":                                                                    "the account is banned",
		"":                                                                                                "the token lacks a scope that is needed, or its owner may not log in",
		"\x1b[31m something new ":                                                                         "the token lacks a scope that is needed, or its owner may not log in",
	} {
		if got := (complaint{Message: message}).forbidden().text; got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
	if got := (complaint{Error: "insufficient_scope"}).forbidden().text; got != "the token lacks a scope that is needed" {
		t.Errorf("got %q", got)
	}
}
