// Package tokens is the API with which users make, list, rename, rotate, revoke and
// introspect their own tokens. It also applies the limits that [tokens] in the configuration
// sets for new ones.
//
// Each change counts towards the changes that a user may make in an hour. Ending a token
// does not count, and is never refused. Lists may have any length, and do not delay other users.
//
// The package never decides who the caller is: package server does that first. It never
// touches another user's token, with two exceptions: the tokens of service accounts that the
// caller owns, and introspection with the scope for that.
package tokens

import (
	"net/http"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// Tokens serves the API for users' own tokens.
type Tokens struct {
	Needs
	view    view.View
	lookups *lookups
}

// Needs are the parts of the server that Tokens works with.
type Needs struct {
	Store   *storage.Store
	Config  func() *config.Config
	Now     func() time.Time
	Changes *guard.Budget // of users
	Turns   *guard.Turns  // of users, to read a part of a list
	Origins *http.CrossOriginProtection
	Revoked func(tokens int) // counts, for the metrics
}

// New returns the API for the tokens of a store.
func New(n Needs) *Tokens {
	return &Tokens{Needs: n, view: view.New(n.Store, n.Now), lookups: &lookups{now: n.Now, began: n.Now()}}
}

// Routes lists the URLs of the API for tokens.
func (ts *Tokens) Routes() []route.Route {
	return []route.Route{
		{Pattern: "POST /api/token", Who: route.ByCookie, Class: route.Tokens, Serve: ts.createToken},
		{Pattern: "GET /api/createApiToken", Who: route.ByCookie, GetOnly: true, Fail: route.AsJSONOrIn, Class: route.Tokens, Serve: ts.createTokenByGet},
		{Pattern: "GET /api/getApiTokens", Who: route.ByEither, Scope: "tokens:read", Class: route.Tokens, Serve: ts.documented},
		{Pattern: "GET /api/revokeApiToken", GetOnly: true, Class: route.Tokens, Serve: ts.revokeSent},

		{Pattern: "GET /api/token", Who: route.ByToken, Scope: route.AnyScope, Class: route.Tokens, Serve: ts.thisToken},
		{Pattern: "GET /api/tokens", Who: route.ByEither, Scope: "tokens:read", Class: route.Tokens, Serve: ts.list},
		{Pattern: "PATCH /api/token/{id}", Who: route.ByCookie, Class: route.Tokens, Serve: ts.renameToken},
		{Pattern: "DELETE /api/token/{id}", Who: route.ByEither, Scope: route.AnyScope, Class: route.Tokens, Serve: ts.revokeToken},
		{Pattern: "POST /api/token/{id}/rotate", Who: route.ByEither, Class: route.Tokens, Serve: ts.rotateToken},

		{Pattern: "GET /api/services", Who: route.ByCookie, Class: route.Tokens, Serve: ts.services},
		{Pattern: "GET /api/services/{name}/tokens", Who: route.ByCookie, Class: route.Tokens, Serve: ts.serviceTokens},

		{Pattern: "POST /api/introspect", Who: route.ByToken, Scope: route.AnyScope, Class: route.Tokens, Serve: ts.introspect},
		{Pattern: "POST /api/revoke", Class: route.Tokens, Serve: ts.revokePosted},
	}
}
