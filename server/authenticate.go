package server

import (
	"net/http"

	"gatehouse/server/admin"
	"gatehouse/server/gate"
	"gatehouse/server/login"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// authenticate is the only way from a request to a user. Any fault of the credential
// gives reply.ErrCredentials.
//
// If a request brings a token, only the token counts, even if the request also brings a
// cookie.
func (s *Server) authenticate(r *route.Request, who route.Credential) (route.Caller, error) {
	if who == route.ByPeer {
		return admin.Caller(r.Request)
	}
	text, sent := route.TokenOf(r.Request, who == route.ByGate)
	switch {
	case sent && who != route.ByCookie:
		return s.authenticateToken(text, r)
	case !sent && (who == route.ByCookie || who == route.ByEither):
		return s.authenticateCookie(r.Request)
	}
	return route.Caller{}, reply.ErrCredentials
}

func (s *Server) authenticateToken(text string, r *route.Request) (c route.Caller, err error) {
	r.Bearer, err = s.store.AuthenticateWaiting(text, storage.Origin{Address: r.From, Agent: route.AgentOf(r.Header)}, gate.BeforeWait(r.Context()))
	if err != nil {
		return c, err
	}
	return route.Caller{Token: &r.Bearer, User: route.Principal{ID: r.Bearer.Owner, UID: r.Bearer.UID}}, nil
}

// authenticateCookie also refuses what another site's page made the browser send.
// SameSite decides whether the browser sends the cookie at all.
func (s *Server) authenticateCookie(r *http.Request) (c route.Caller, err error) {
	cookies := r.CookiesNamed(login.CookieName(s.config()))
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
