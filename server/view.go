package server

import (
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/server/oauth"
	"gatehouse/server/query"
	"gatehouse/storage"
)

// tokenView is the only way from a stored token to one on the wire, which has no
// secret.
func (s *Server) tokenView(t storage.Token, uid string) api.Token {
	out := api.Token{
		ID: t.ID.String(), UID: uid, Name: t.Name,
		Created: s.store.Past(t.Created), LastUsed: s.store.Past(t.LastUsed), LastAddress: t.From, Uses: t.Usage.Uses,
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

// adminView also tells who made the token, which is for administrators: it may be an
// account of this host.
func (s *Server) adminView(t storage.Token) api.Token {
	v := s.tokenView(t, s.store.UID(t.Owner))
	v.CreatedBy = t.By
	return v
}

func (s *Server) detailView(t storage.Token) api.TokenDetail {
	d := api.TokenDetail{Token: s.adminView(t), Days: t.Usage.Days(s.now().UnixMilli()), Seen: []api.SeenFrom{}}
	for _, v := range t.Usage.Seen {
		d.Seen = append(d.Seen, api.SeenFrom{Address: v.Address.String(), Agent: v.Agent, Time: s.store.Past(v.Time)})
	}
	return d
}

func (s *Server) tokenState(t storage.Token) string { return query.State(t, s.now().UnixMilli()) }

// newToken is the reply with a new token, or a new secret of an old one.
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

func (s *Server) userView(u storage.UserInfo) api.User {
	return api.User{
		UID: u.UID, Name: u.Name, Source: u.Source, State: query.UserState(u.State),
		Created: s.store.Past(u.Created), Tokens: u.Tokens, Stale: u.Stale, LastUsed: s.store.Past(u.LastUsed),
	}
}

// userDetail also shows the uses of the user's tokens.
func (s *Server) userDetail(u storage.UserInfo, uses storage.Usage) api.UserDetail {
	d := api.UserDetail{User: s.userView(u), Identities: []api.Identity{}, Days: uses.Days(s.now().UnixMilli())}
	for _, id := range u.Identities {
		d.Identities = append(d.Identities, api.Identity{Source: id.Source, Subject: id.Subject})
	}
	return d
}

func directoryHealth(d ldap.ServerStatus) api.Health {
	return api.Health{
		Name: d.URL, Reachable: d.Reachable, LastError: d.LastError,
		Latency: float64(d.Latency) / float64(time.Millisecond), LastSuccess: millis(d.LastSuccess), LastFailure: millis(d.LastFailure),
	}
}

func providerHealth(p *oauth.Provider) api.Health {
	st := p.Status()
	return api.Health{
		Name: p.Name(), Insecure: p.Unsafe(), Reachable: st.Reachable, LastError: st.LastError,
		Latency: float64(st.Latency) / float64(time.Millisecond), LastSuccess: millis(st.LastSuccess), LastFailure: millis(st.LastFailure),
	}
}

// millis is a time on the wire: milliseconds since 1970, and 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
