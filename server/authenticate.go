package server

import (
	"encoding/base64"
	"net/http"
	"strings"

	"gatehouse/server/reply"
	"gatehouse/storage"
)

// credential says what a route asks of a request.
type credential int

const (
	nobody   credential = iota // no credential is looked at
	byToken                    // an API access token
	byCookie                   // the login cookie
	byEither                   // the token, or else the cookie
	byGate                     // the token, also as the password of HTTP Basic
)

// caller is who sent a request. Of token and session, one is set.
type caller struct {
	user    principal
	token   *storage.Bearer
	session *storage.Session
	cookie  string // of the session
}

// principal is the user that a request speaks for.
type principal struct {
	ID  storage.UserID
	UID string
}

// limited reports whether the credential may do less than its user.
func (c caller) limited() bool { return c.limits() != nil }

// limits returns the token, if the request came with one that may do less than
// its user.
func (c caller) limits() *storage.Token {
	if c.token == nil || !c.token.Limited() {
		return nil
	}
	return c.token.Token
}

// scopes are those of the token; none: the request may do what its user may,
// as far as scopes go.
func (c caller) scopes() []string {
	if t := c.limits(); t != nil {
		return t.Scopes
	}
	return nil
}

// authenticate is the only way from a request to a user. Whatever is wrong
// with the credential, the answer is reply.ErrCredentials.
//
// A request that brings a token is judged by the token alone, also when it
// brings a cookie too.
func (s *Server) authenticate(r *request, who credential) (caller, error) {
	text, sent := tokenOf(r.Request, who == byGate)
	switch {
	case sent && who != byCookie:
		return s.authenticateToken(text, r)
	case !sent && (who == byCookie || who == byEither):
		return s.authenticateCookie(r.Request)
	}
	return caller{}, reply.ErrCredentials
}

func (s *Server) authenticateToken(text string, r *request) (c caller, err error) {
	r.bearer, err = s.store.Authenticate(text, storage.Origin{Address: r.from, Agent: agentOf(r.Header)})
	if err != nil {
		return c, err
	}
	return caller{token: &r.bearer, user: principal{r.bearer.Owner, r.bearer.UID}}, nil
}

// agentOf is what the client calls itself. The name is in its canonical form, so
// that the header need not be asked how it is spelt.
func agentOf(h http.Header) string {
	if v := h["User-Agent"]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// authenticateCookie also refuses what another site's page made the browser
// send. Whether it could be sent at all, SameSite decides.
func (s *Server) authenticateCookie(r *http.Request) (c caller, err error) {
	cookies := r.CookiesNamed(s.cookieName())
	if len(cookies) != 1 || len(cookies[0].Value) > 64 {
		return c, reply.ErrCredentials // two: one of them was planted by a neighbour
	}
	v, err := s.store.Session(cookies[0].Value)
	if err != nil {
		return c, err
	}
	if s.origins.Check(r) != nil {
		return c, reply.ErrOrigin
	}
	return caller{session: &v, cookie: cookies[0].Value, user: principal{v.Owner, v.UID}}, nil
}

// tokenOf returns the token that a request brings. Of two it takes none: sent
// is true and text is empty, which is no token.
func tokenOf(r *http.Request, basic bool) (text string, sent bool) {
	switch all := tokensOf(r, basic); len(all) {
	case 0:
		return "", false
	case 1:
		return all[0], true
	}
	return "", true
}

// tokensOf returns all that a request brings as X-Auth-Token, as a Bearer
// (RFC 6750, section 2.1) or, where that may be a token, as the password of
// HTTP Basic. The names are canonical, as net/http keeps them.
func tokensOf(r *http.Request, basic bool) []string {
	all := r.Header["X-Auth-Token"]
	for _, v := range r.Header["Authorization"] {
		scheme, rest, _ := strings.Cut(v, " ")
		token, ok := strings.TrimLeft(rest, " "), isScheme(scheme, "Bearer")
		if basic && isScheme(scheme, "Basic") {
			token, ok = passwordOf(token)
		}
		if ok {
			all = append(all[:len(all):len(all)], token)
		}
	}
	return all
}

// isScheme compares without regard to case, but of ASCII: EqualFold alone takes
// the long s for an s.
func isScheme(got, want string) bool {
	return len(got) == len(want) && strings.EqualFold(got, want)
}

// passwordOf returns the password of HTTP Basic (RFC 7617, section 2).
func passwordOf(credentials string) (password string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", false
	}
	_, password, ok = strings.Cut(string(b), ":")
	return password, ok
}
