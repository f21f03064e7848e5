package server

import (
	"encoding/base64"
	"net/http"
	"strings"

	"gatehouse/server/admin"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// authenticate is the only way from a request to a user. Whatever is wrong
// with the credential, the answer is reply.ErrCredentials.
//
// A request that brings a token is judged by the token alone, also when it
// brings a cookie too.
func (s *Server) authenticate(r *route.Request, who route.Credential) (route.Caller, error) {
	if who == route.ByPeer {
		return admin.Caller(r.Request)
	}
	text, sent := tokenOf(r.Request, who == route.ByGate)
	switch {
	case sent && who != route.ByCookie:
		return s.authenticateToken(text, r)
	case !sent && (who == route.ByCookie || who == route.ByEither):
		return s.authenticateCookie(r.Request)
	}
	return route.Caller{}, reply.ErrCredentials
}

func (s *Server) authenticateToken(text string, r *route.Request) (c route.Caller, err error) {
	r.Bearer, err = s.store.Authenticate(text, storage.Origin{Address: r.From, Agent: agentOf(r.Header)})
	if err != nil {
		return c, err
	}
	return route.Caller{Token: &r.Bearer, User: route.Principal{ID: r.Bearer.Owner, UID: r.Bearer.UID}}, nil
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
func (s *Server) authenticateCookie(r *http.Request) (c route.Caller, err error) {
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
	return route.Caller{Session: &v, SessionCookie: cookies[0].Value, User: route.Principal{ID: v.Owner, UID: v.UID}}, nil
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
