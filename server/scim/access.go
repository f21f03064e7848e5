package scim

import (
	"net/http"

	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// caller is a token that speaks for a provider.
type caller struct {
	*people
	id    storage.UserID // the service account's
	by    storage.Actor
	as    string // who it is, in words
	token string // the same without the uid
}

// as lets a request pass if its token speaks for a provider of the configuration. Older
// versions let users give tokens of their own any scope. So the scope alone is not
// enough: the token must belong to a service account. Its tokens are made by
// administrators, and one with this scope only by those who may remove users.
func (s *SCIM) as(serve func(http.ResponseWriter, *route.Request, *caller) error) func(http.ResponseWriter, *route.Request) error {
	return func(w http.ResponseWriter, r *route.Request) error {
		provider, err := config.SCIMScope(r.Scopes())
		if err != nil || !record.IsServiceUID(r.User.UID) {
			return reply.Refuse(http.StatusForbidden, "This needs a token of a service account with the scope %s, which an administrator makes", config.SCIMScopeOf("PROVIDER"))
		}
		p := s.people[provider]
		if p == nil {
			return reply.Refuse(http.StatusForbidden, "The configuration has no provider %s any more", provider)
		}
		token := "token " + r.Token.Name
		return serve(w, r, &caller{p, r.User.ID, r.Actor(), r.User.UID + ", " + token, token})
	}
}
