// Package oauthtest stands in for the OAuth providers in tests: an HTTP server
// that answers as the provider's documentation says, with its paths, statuses,
// scopes and errors. It has two clients, and people who log in at once.
package oauthtest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
)

// The clients that are registered: ours, and another service's.
const (
	Client  = "gatehouse-client"
	Secret  = "gatehouse-s3cret&+%"
	Foreign = "foreign-client"
)

var secrets = map[string]string{Client: Secret, Foreign: "foreign-s3cret"}

// Account is a person at the provider.
type Account struct {
	ID      int64
	Login   string
	Name    string
	Emails  []Email
	Blocked bool
	// Of accounts at Gitea: one that is not activated yet, and one that has to choose
	// a new password before anything else.
	Inactive, NewPassword bool
}

// Email is an address of theirs.
type Email struct {
	Address           string
	Primary, Verified bool
}

// Verified is the list of one address that is checked.
func Verified(address string) []Email { return []Email{{address, true, true}} }

// primary is the address that providers with one address show.
func (a *Account) primary() Email {
	for _, e := range a.Emails {
		if e.Primary {
			return e
		}
	}
	return Email{}
}

// grant is what a token or a code stands for.
type grant struct {
	client    string
	account   *Account
	scopes    []string
	callback  string
	challenge string
	nonce     string
	offline   bool // the browser was sent with what the type needs to give a refresh token
	expires   time.Time
}

func (g *grant) may(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(g.scopes, s) })
}

// Server is a provider.
type Server struct {
	*httptest.Server
	testing.TB

	Kind string

	// Before sees each request first, and returns true when it has answered it.
	Before func(http.ResponseWriter, *http.Request) bool
	// Issuer is sent as iss to callbacks where it is not empty (RFC 9207).
	Issuer string
	// Changes of what an issuer says, and of its ID tokens' claims.
	Metadata, Claims func(map[string]any)
	// PageSize is how many addresses GitHub sends at a time.
	PageSize int

	mu     sync.Mutex
	tokens map[string]*grant
	codes  map[string]*grant
	lasts  map[string]*grant // refresh tokens
	asked  []string
	keys   keys
	mux    *http.ServeMux

	// Now is the clock of logout tokens.
	Now func() time.Time
	// Keeps makes refresh tokens good for many uses, as some providers do.
	Keeps bool
}

// New starts a provider of a type: github, gitlab, google, gitea or oidc.
func New(t testing.TB, kind string) *Server {
	t.Helper()
	s := &Server{TB: t, Kind: kind, PageSize: 30, tokens: map[string]*grant{}, codes: map[string]*grant{}, lasts: map[string]*grant{}, Now: time.Now}
	mux := http.NewServeMux()
	s.mux = mux
	map[string]func(*http.ServeMux){
		"github": s.gitHub, "gitlab": s.gitLab, "google": s.google, "gitea": s.gitea, "oidc": s.openID,
	}[kind](mux)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // until then, a request's context does not end with its client
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		before := s.Before
		s.mu.Unlock()
		if before == nil || !before(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Intercept sets the function that sees each request first, from now on.
func (s *Server) Intercept(before func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Before = before
}

// Asked returns the requests so far, as "GET /path", and forgets them.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.asked
	s.asked = nil
	return list
}

// SecretFile is a file with our client's secret.
func (s *Server) SecretFile() string {
	s.Helper()
	file := filepath.Join(s.TempDir(), "secret")
	must.Do(s, os.WriteFile(file, []byte(Secret+"\n"), 0o600))
	return file
}

// Issue returns a token that a client got for a person.
func (s *Server) Issue(client string, a *Account, scopes ...string) string {
	return s.issue(&grant{client: client, account: a, scopes: scopes})
}

func (s *Server) issue(g *grant) string {
	token := "tok_" + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	g.expires = time.Now().Add(time.Hour)
	s.tokens[token] = g
	return token
}

// Revoke ends a token.
func (s *Server) Revoke(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

func (s *Server) grant(token string) *grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[token]
}

// bearer is what the token of a request stands for, or nil.
func (s *Server) bearer(r *http.Request) *grant {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return s.grant(token)
}

// client returns the client that a request proves to come from, or "". It accepts both
// ways of RFC 6749, section 2.3.1, but not both at once. An endpoint outside that RFC
// takes HTTP Basic as it is.
func (s *Server) client(r *http.Request) string {
	id, secret, ok := r.BasicAuth()
	if ok {
		if r.PostFormValue("client_secret") != "" {
			return ""
		}
		if s.Kind == "oidc" {
			id, _ = url.QueryUnescape(id)
			secret, _ = url.QueryUnescape(secret)
		}
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if secret == "" || secrets[id] != secret {
		return ""
	}
	return id
}

// Agree acts as a browser in which a person is logged in at the provider and agrees. It
// goes to the address, and returns where the provider sends the browser back to.
func (s *Server) Agree(address string, a *Account) string {
	s.Helper()
	u := must.Get(url.Parse(address))(s)
	q := u.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || back.Host == "" {
		s.Fatalf("got redirect_uri %q", q.Get("redirect_uri"))
	}
	if q.Get("response_type") != "code" || q.Get("client_id") != Client || q.Get("state") == "" ||
		q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 {
		s.Fatalf("got a request that no provider takes: %s", address)
	}
	code := "code_" + rand.Text()
	s.mu.Lock()
	s.codes[code] = &grant{
		client: Client, account: a, scopes: strings.Fields(q.Get("scope")),
		callback: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"),
		offline: s.asksOffline(q),
	}
	s.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {q.Get("state")}}
	if s.Issuer != "" {
		answer.Set("iss", s.Issuer)
	}
	back.RawQuery = answer.Encode()
	return back.String()
}

// redeem exchanges a code (RFC 6749, section 4.1.3, RFC 7636, section 4.6). It returns
// the error that providers send.
func (s *Server) redeem(r *http.Request) (*grant, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.codes[r.PostFormValue("code")]
	delete(s.codes, r.PostFormValue("code"))
	switch {
	case r.PostFormValue("grant_type") != "authorization_code":
		return nil, "unsupported_grant_type"
	case g == nil, g.client != s.client(r), g.callback != r.PostFormValue("redirect_uri"), !g.verified(r):
		return nil, "invalid_grant"
	}
	return g, ""
}

// verified reports whether a request has the verifier of the grant's challenge.
func (g *grant) verified(r *http.Request) bool {
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	return g.challenge == base64.RawURLEncoding.EncodeToString(sum[:])
}

// token serves a token endpoint as most providers have it.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if s.client(r) == "" {
		reply(w, http.StatusUnauthorized, object{"error": "invalid_client", "error_description": "no " + r.PostFormValue("client_secret")})
		return
	}
	redeem := s.redeem
	if IsRefresh(r) {
		redeem = s.again
	}
	g, failure := redeem(r)
	if failure != "" {
		reply(w, http.StatusBadRequest, object{"error": failure, "error_description": "not this one: " + r.PostFormValue("code") + r.PostFormValue("refresh_token")})
		return
	}
	access := s.issue(g)
	answer := object{"access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": strings.Join(g.scopes, " ")}
	if g.offline {
		answer["refresh_token"] = s.last(r, g)
	}
	if s.keys.private != nil {
		answer["id_token"] = s.idToken(g, access)
	}
	reply(w, http.StatusOK, answer)
}

type object = map[string]any

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
