// Package view turns what the store returns into what is shown: tokens, users and times
// as package api has them. It is the only way from a stored token to one on the wire,
// and what it returns has no secret, except the reply that hands one out ([NewToken]).
//
// It never decides who may see a token: its callers have done so before.
package view

import (
	"time"

	"gatehouse/server/api"
	"gatehouse/server/query"
	"gatehouse/storage"
)

// View shows what one store has.
type View struct {
	store *storage.Store
	now   func() time.Time
}

// New returns the view of a store. now is the clock.
func New(store *storage.Store, now func() time.Time) View { return View{store, now} }

// Token shows a token of the user uid.
func (v View) Token(t storage.Token, uid string) api.Token {
	out := api.Token{
		ID: t.ID.String(), UID: uid, Name: t.Name,
		Created: v.store.Past(t.Created), LastUsed: v.store.Past(t.LastUsed), LastAddress: t.From, Uses: t.Usage.Uses,
		ExpiresOn: ExpiresOn(t), State: v.State(t),
		Scopes: append([]string{}, t.Scopes...), Addresses: []string{},
	}
	for _, p := range t.Addresses {
		out.Addresses = append(out.Addresses, p.String())
	}
	return out
}

// Own shows a user one of the user's own tokens.
func (v View) Own(stored storage.Token, uid string) api.OwnToken {
	t := v.Token(stored, uid)
	return api.OwnToken{
		ID: t.ID, UID: t.UID, Name: t.Name, Created: t.Created, LastUsed: t.LastUsed,
		ExpiresOn: t.ExpiresOn, Scopes: t.Scopes, Addresses: t.Addresses,
	}
}

// WithMaker also shows who made the token. That is for administrators: the maker may be
// an account of this host.
func (v View) WithMaker(t storage.Token) api.Token {
	out := v.Token(t, v.store.UID(t.Owner))
	out.CreatedBy = t.By
	return out
}

// Detail also shows the token's uses by day, and where it was seen.
func (v View) Detail(t storage.Token) api.TokenDetail {
	d := api.TokenDetail{Token: v.WithMaker(t), Days: t.Usage.Days(v.now().UnixMilli()), Seen: []api.SeenFrom{}}
	for _, seen := range t.Usage.Seen {
		d.Seen = append(d.Seen, api.SeenFrom{Address: seen.Address.String(), Agent: seen.Agent, Time: v.store.Past(seen.Time)})
	}
	return d
}

// State is one of the states in package api.
func (v View) State(t storage.Token) string { return query.State(t, v.now().UnixMilli()) }

// NewToken is the reply with a new token, or a new secret of an old one.
func NewToken(t storage.Token, uid string, secret storage.Secret) api.NewToken {
	return api.NewToken{
		Secret: secret.Reveal(), ExpiresOn: ExpiresOn(t),
		ID: t.ID.String(), UID: uid, Name: t.Name, Created: t.Created,
	}
}

// ExpiresOn is when a token ends, as the documented API writes it.
func ExpiresOn(t storage.Token) string {
	if t.Ends() == 0 {
		return api.Never
	}
	return time.UnixMilli(t.Ends()).UTC().Format("2006-01-02T15:04:05.000Z")
}

// User shows a user.
func (v View) User(u storage.UserInfo) api.User {
	return api.User{
		UID: u.UID, Name: u.Name, Source: u.Source, State: query.UserState(u.State),
		Created: v.store.Past(u.Created), Tokens: u.Tokens, Stale: u.Stale, LastUsed: v.store.Past(u.LastUsed),
		Orphaned: v.store.Orphan(u.User),
	}
}

// Service shows a service account.
func (v View) Service(s storage.ServiceInfo) api.Service {
	u := v.User(s.UserInfo)
	return api.Service{
		UID: u.UID, Description: u.Name, Answering: api.Answering{Owner: s.Owner.UID, Successor: s.Successor.UID}, Orphaned: s.Orphaned(),
		State: u.State, Created: u.Created, Tokens: u.Tokens, LastUsed: u.LastUsed,
	}
}

// OwnService shows a service account to its owner.
func (v View) OwnService(s storage.ServiceInfo) api.OwnService {
	a := v.Service(s)
	return api.OwnService{UID: a.UID, Description: a.Description, Successor: a.Successor, State: a.State, Tokens: a.Tokens, LastUsed: a.LastUsed}
}

// ServiceToken shows a token of a service account to the account's owner.
func (v View) ServiceToken(t storage.Token, uid string) api.ServiceToken {
	return api.ServiceToken{OwnToken: v.Own(t, uid), CreatedBy: t.By, State: v.State(t)}
}

// UserDetail also shows the uses of the user's tokens.
func (v View) UserDetail(u storage.UserInfo, uses storage.Usage) api.UserDetail {
	d := api.UserDetail{User: v.User(u), Identities: []api.Identity{}, Days: uses.Days(v.now().UnixMilli())}
	for _, id := range u.Identities {
		d.Identities = append(d.Identities, api.Identity{Source: id.Source, Subject: id.Subject})
	}
	return d
}

// Millis is a time on the wire: milliseconds since 1970, and 0 for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
