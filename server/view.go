package server

import (
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
)

// tokenView is the border: the only way from a stored token to one on the wire.
func (s *Server) tokenView(t storage.Token, uid string) api.Token {
	out := api.Token{
		ID: t.ID.String(), UID: uid, Name: t.Name,
		Created: t.Created, LastUsed: t.LastUsed, LastAddress: t.From, Uses: t.Usage.Uses,
		ExpiresOn: expiresOn(t), State: s.tokenState(t),
		Scopes: append([]string{}, t.Scopes...), Addresses: []string{},
	}
	for _, p := range t.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}

func (s *Server) ownView(t storage.Token, uid string) api.OwnToken {
	v := s.tokenView(t, uid)
	return api.OwnToken{
		ID: v.ID, UID: v.UID, Name: v.Name, Created: v.Created, LastUsed: v.LastUsed,
		ExpiresOn: v.ExpiresOn, Scopes: v.Scopes, Addresses: v.Addresses,
	}
}

func (s *Server) detailView(t storage.Token, uid string) api.TokenDetail {
	d := api.TokenDetail{Token: s.tokenView(t, uid), CreatedBy: t.By, Days: t.Usage.Days(s.now().UnixMilli()), Seen: []api.SeenFrom{}}
	for _, v := range t.Usage.Seen {
		d.Seen = append(d.Seen, api.SeenFrom{Address: v.Address.String(), Agent: v.Agent, Time: v.Time})
	}
	return d
}

func (s *Server) tokenState(t storage.Token) string {
	switch {
	case t.Revoked != 0, t.OwnerState == storage.UserRemoved:
		return api.StateRevoked
	case t.Expired(s.now().UnixMilli()):
		return api.StateExpired
	case t.OwnerState != storage.UserActive:
		return api.StateSuspended
	}
	return api.StateLive
}

// newToken is a token on the only occasion when its secret is handed out.
func newToken(t storage.Token, uid string, secret storage.Secret) api.NewToken {
	return api.NewToken{
		Secret: secret.Reveal(), ExpiresOn: expiresOn(t),
		ID: t.ID.String(), UID: uid, Name: t.Name, Created: t.Created,
	}
}

func expiresOn(t storage.Token) string {
	if t.Expires == 0 {
		return api.Never
	}
	return time.UnixMilli(t.Expires).UTC().Format("2006-01-02T15:04:05.000Z")
}

func userView(u storage.UserInfo) api.User {
	states := map[storage.UserState]string{
		storage.UserActive:    api.StateActive,
		storage.UserDisabled:  api.StateDisabled,
		storage.UserSuspended: api.StateSuspended,
	}
	return api.User{
		UID: u.UID, Name: u.Name, Source: u.Source, State: states[u.State],
		Created: u.Created, Tokens: u.Tokens, Stale: u.Stale, LastUsed: u.LastUsed,
	}
}

// userDetail also adds up the uses of the user's tokens.
func (s *Server) userDetail(u storage.UserInfo, tokens []storage.Token) api.UserDetail {
	var uses storage.Usage
	for _, t := range tokens {
		uses.Add(&t.Usage)
	}
	d := api.UserDetail{User: userView(u), Identities: []api.Identity{}, Days: uses.Days(s.now().UnixMilli())}
	for _, id := range u.Identities {
		d.Identities = append(d.Identities, api.Identity{Source: id.Source, Subject: id.Subject})
	}
	return d
}

func healthView(d ldap.ServerStatus) api.Health {
	h := api.Health{
		Name: d.URL, Reachable: d.Reachable, LastError: d.LastError,
		Latency: float64(d.Latency) / float64(time.Millisecond),
	}
	if !d.LastSuccess.IsZero() {
		h.LastSuccess = d.LastSuccess.UnixMilli()
	}
	if !d.LastFailure.IsZero() {
		h.LastFailure = d.LastFailure.UnixMilli()
	}
	return h
}
