// Package admin is the administration: what the terminal UI and the commands ask of a
// server on its unix socket, or of the same code in their own process when no server
// holds the store.
//
// A request passes:
//
//	package listen     takes the connection, and notes who is at the other end
//	OnSocket           root, the directory's owner, and the members of [admin] groups, each
//	                   with a role (socket.go)
//	Routes             every URL with the least role that it takes, in this file
//	a handler          reads the request, asks the store, and shows what that returned
//
// From a key in the terminal to a revocation that is on the disk:
//
//	tui: the key, the question, the answer yes (its package comment names the files)
//	  server/api: Client.Revoke or Client.RevokeMatching   POST /admin/tokens/revoke, /admin/revocations
//	    admin: revoke (tokens.go) or revokeMatching (bulk.go)
//	      storage: RevokeTokens or, by way of package query, RevokeMatching; both return
//	               when the journal has it on the disk
//
// The package never serves a TCP port, and never sees a user's credential. Package storage
// decides what is true, and package guard what a guessed password costs.
package admin

import (
	"log/slog"
	"net/http"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/notify"
	"gatehouse/server/oauth"
	"gatehouse/server/recheck"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// Admin administers a store.
type Admin struct {
	Host
	store *storage.Store
	view  view.View
	jobs  *jobs
}

// Host is what the administration needs of the server around it.
type Host struct {
	Log       *slog.Logger
	Now       func() time.Time
	Config    func() *config.Config
	Hasher    *guard.Hasher
	Throttle  *guard.Throttle   // knows which users' logins are delayed
	People    *directory.People // nil: LDAP is not configured
	Idle      *directory.Idle
	Providers map[string]*oauth.Provider // by name
	Recheck   *recheck.All
	Sweeps    func() []*directory.Sweeps // of the directory and the providers
	Notices   *notify.Notifier
	Figures   func() api.Status // what only the server knows: version, start, activity, certificate
	Revoked   func(tokens int)  // counts, for the metrics
}

// New returns the administration of a store.
func New(store *storage.Store, host Host) *Admin {
	return &Admin{Host: host, store: store, view: view.New(store, host.Now), jobs: new(jobs)}
}

// Inherit takes over the revocations that are under way, from the administration of a
// server with other settings.
func (a *Admin) Inherit(before *Admin) { a.jobs = before.jobs }

// Routes lists every URL of the administration.
func (a *Admin) Routes() []route.Route {
	list := []route.Route{
		{Pattern: "GET /admin/ping", Role: api.Auditor, Serve: a.ping},
		{Pattern: "GET /admin/who", Role: api.Auditor, Serve: a.who},
		{Pattern: "GET /admin/status", Role: api.Auditor, Serve: a.status},

		{Pattern: "GET /admin/users", Role: api.Auditor, Serve: a.users},
		{Pattern: "GET /admin/users/count", Role: api.Auditor, Serve: a.userCount},
		{Pattern: "POST /admin/users", Role: api.Admin, Serve: read(body.JSON, a.addUser)},
		{Pattern: "GET /admin/users/{uid}", Role: api.Auditor, Serve: a.user},
		{Pattern: "DELETE /admin/users/{uid}", Role: api.Admin, Serve: a.removeUser},
		{Pattern: "POST /admin/users/{uid}/password", Role: api.Operator, Serve: read(body.JSON, a.setPassword)},
		{Pattern: "POST /admin/users/{uid}/disable", Role: api.Operator, Serve: a.disableUser},
		{Pattern: "POST /admin/users/{uid}/enable", Role: api.Operator, Serve: a.enableUser},
		{Pattern: "POST /admin/users/{uid}/unlock", Role: api.Operator, Serve: a.unlock},
		{Pattern: "POST /admin/users/{uid}/rename", Role: api.Operator, Serve: read(body.JSON, a.rename)},
		{Pattern: "POST /admin/users/{uid}/link", Role: api.Admin, Serve: read(body.JSON, a.link)},
		{Pattern: "POST /admin/users/{uid}/unlink", Role: api.Admin, Serve: read(body.JSON, a.unlink)},

		{Pattern: "GET /admin/services", Role: api.Auditor, Serve: a.services},
		{Pattern: "POST /admin/services", Role: api.Operator, Serve: read(body.JSON, a.addService)},
		{Pattern: "GET /admin/services/{name}", Role: api.Auditor, Serve: a.service},
		{Pattern: "POST /admin/services/{name}/transfer", Role: api.Operator, Serve: read(body.JSON, a.transferService)},
		{Pattern: "DELETE /admin/services/{name}", Role: api.Admin, Serve: a.removeService},

		{Pattern: "GET /admin/offboard", Role: api.Auditor, Serve: a.held},
		{Pattern: "POST /admin/offboard/confirm", Role: api.Operator, Serve: a.confirm},

		{Pattern: "GET /admin/tokens", Role: api.Auditor, Serve: a.tokens},
		{Pattern: "GET /admin/tokens/count", Role: api.Auditor, Serve: a.tokenCount},
		{Pattern: "GET /admin/tokens/matching", Role: api.Auditor, Serve: a.matching},
		{Pattern: "GET /admin/tokens/{id}", Role: api.Auditor, Serve: a.token},
		{Pattern: "POST /admin/tokens", Role: api.Operator, Serve: read(body.JSON, a.createToken)},
		{Pattern: "POST /admin/tokens/revoke", Role: api.Operator, Serve: read(body.JSON, a.revoke)},
		{Pattern: "POST /admin/tokens/{id}/rotate", Role: api.Operator, Serve: read(body.OptionalJSON, a.rotateToken)},
		{Pattern: "POST /admin/tokens/{id}/rename", Role: api.Operator, Serve: read(body.JSON, a.renameToken)},
		{Pattern: "POST /admin/identify", Role: api.Auditor, Serve: read(body.JSON, a.identify)},
		{Pattern: "POST /admin/found", Role: api.Operator, Serve: read(body.JSON, a.found)},

		{Pattern: "POST /admin/revocations", Role: api.Operator, Serve: read(body.JSON, a.revokeMatching)},
		{Pattern: "POST /admin/revocations/{job}/stop", Role: api.Operator, Serve: a.stopRevocation},

		{Pattern: "GET /admin/events", Role: api.Auditor, Serve: a.events},
		{Pattern: "GET /admin/events/history", Role: api.Auditor, Serve: a.history},
		{Pattern: "GET /admin/events/verify", Role: api.Auditor, Serve: a.verify},
		{Pattern: "GET /admin/key", Role: api.Auditor, Except: api.Operator, Serve: a.keys},
		{Pattern: "POST /admin/key/rotate", Role: api.Admin, Serve: read(body.OptionalJSON, a.rotateKey)},
		{Pattern: "POST /admin/notify/test", Role: api.Operator, Serve: read(body.OptionalJSON, a.testNotices)},
		{Pattern: "GET /admin/backup", Role: api.Operator, Serve: a.backup},
		{Pattern: "POST /admin/backup", Role: api.Operator, Serve: a.noteBackup},
	}
	for i := range list {
		list[i].Who, list[i].Class = route.ByPeer, route.Admin
	}
	return list
}

// read returns the handler of a route with a body. It decodes the body, and then calls serve.
func read[T any](decode func(*http.Request, any) error, serve func(http.ResponseWriter, *route.Request, T) error) func(http.ResponseWriter, *route.Request) error {
	return func(w http.ResponseWriter, r *route.Request) error {
		var in T
		if err := decode(r.Request, &in); err != nil {
			return err
		}
		return serve(w, r, in)
	}
}
