// Package login lets people in: by a password kept here, by the directory and by OAuth
// providers, for a token (programs) or for a session (browsers). It owns the login
// cookie, the sessions and the user's own password.
//
// All ways in end in the same two places:
//
//	name and password   logIn       ┐                ┌ handLogin      a token, for programs
//	a provider's token  checkPosted ├ a user, active ┤
//	a provider's page   comeBack    ┘                └ beginSession   a cookie, for browsers
//
// A person for whom the directory or a provider vouches becomes a user in [Logins.Admit].
// Package guard slows guessers down, and package directory asks the directory. This
// package never decides what a session or a token may do.
package login

import (
	"log/slog"
	"net/http"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/oauth"
	"gatehouse/server/recheck"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// Logins lets people in.
type Logins struct {
	Needs
	People   *directory.People // nil: LDAP is not configured
	sessions *guard.Budget     // of users, to begin sessions
	pending  *pending          // logins by browser that are at a provider
}

// Needs are the parts of the server that Logins works with.
type Needs struct {
	Store     *storage.Store
	Config    func() *config.Config
	Now       func() time.Time
	Log       *slog.Logger
	Hasher    *guard.Hasher
	Throttle  *guard.Throttle
	Refusals  *guard.Refusals
	Changes   *guard.Budget              // of users
	Providers map[string]*oauth.Provider // by name
	Recheck   *recheck.All
	Tokens    *tokens.Tokens
	Origins   *http.CrossOriginProtection
	Pages     *web.Pages

	Counted        func(method string, err error)   // counts a login, for the metrics
	Asked          func(provider string, err error) // is told what came of asking a provider
	FirstLoginDone func(uid string)                 // is told of each login by a password kept here
	// Refusal returns what a client is told of an error, as package server does everywhere.
	Refusal func(http.ResponseWriter, *http.Request, error) (status int, message string)
}

// PerHour is how many sessions a user may begin in an hour: each is an event.
const PerHour = 1000

// New returns the logins of a server, without a directory.
func New(n Needs) (*Logins, error) {
	p, err := newPending(n.Now)
	if err != nil {
		return nil, err
	}
	return &Logins{Needs: n, pending: p, sessions: guard.NewBudget(PerHour, "Too many logins within an hour: try again later", n.Now)}, nil
}

// Inherit takes over the logins that are under way, and the count of sessions, from the
// logins of a server with other settings.
func (ls *Logins) Inherit(before *Logins) { ls.pending, ls.sessions = before.pending, before.sessions }

// Routes lists the URLs of logins, sessions and the user's own password.
func (ls *Logins) Routes() []route.Route {
	return []route.Route{
		{Pattern: "POST /api/authenticate/userpass", Class: route.Login, Serve: ls.authenticateUserpass},
		{Pattern: "POST /api/authenticate/ldap", Class: route.Login, Serve: ls.authenticateLDAP},
		{Pattern: "POST /api/authenticate/{provider}", Class: route.Login, Serve: ls.authenticateProvider},
		{Pattern: "POST /api/login", Class: route.Login, Serve: ls.login},
		{Pattern: "POST /api/logout", Who: route.ByCookie, Class: route.Login, Serve: ls.logout},
		{Pattern: "GET /login/{provider}", Fail: route.ByAccept, Class: route.Login, Serve: ls.beginProvider},
		{Pattern: "GET /login/{provider}/callback", GetOnly: true, Fail: route.ByAccept, Class: route.Login, Serve: ls.finishProvider},

		{Pattern: "POST /api/password", Who: route.ByCookie, Class: route.Login, Serve: ls.changePassword},
		{Pattern: "GET /api/sessions", Who: route.ByCookie, Class: route.Login, Serve: ls.listSessions},
		{Pattern: "DELETE /api/sessions", Who: route.ByCookie, Class: route.Login, Serve: ls.endSessions},
	}
}

// Warn warns of settings that are not for production.
func (ls *Logins) Warn() {
	for _, p := range oauth.Sorted(ls.Providers) {
		if unsafe := p.Unsafe(); unsafe != "" {
			ls.Log.Warn("a provider's settings are unsafe", "provider", p.Name(), "because", unsafe)
		}
	}
}
