// Package scim is the part of SCIM 2.0 (RFC 7643, RFC 7644) that off-boards: a provider
// such as Okta or Entra ID says which of its people are deactivated or deleted, and their
// tokens and sessions here stop.
//
// A request brings a token of a service account that has the scope scim:PROVIDER (access.go).
// Only an administrator can make such a token. It reaches the users of that one provider.
//
//	a request      request.go reads it; users.go finds the user
//	Store.Tell     keeps what was said, in the user's record: nobody says it twice
//	Sweep          package directory: suspends, resumes, removes, or holds (people.go)
//
// What was said takes effect at once, unless it stops too many people to be believed: more
// than five and more than a tenth of the provider's people within an hour. Then it is held
// until an administrator confirms it. Somebody who is deleted is suspended at first, and
// removed a day later by two sweeps, unless the provider has created the person again.
//
// The package changes nothing but that: names and addresses are those of the logins.
package scim

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// Needs are the parts of the server that SCIM works with.
type Needs struct {
	Store   *storage.Store
	Config  func() *config.Config
	Changes *guard.Budget
	Turns   *guard.Turns
	Log     *slog.Logger
}

// SCIM serves /scim/v2 for all providers of the configuration.
type SCIM struct {
	Needs
	people map[string]*people // by the provider's name
}

// New returns the SCIM of a server. It has people for each provider in settings.
func New(n Needs, settings map[string]config.OAuth) *SCIM {
	s := &SCIM{Needs: n, people: map[string]*people{}}
	for name := range settings {
		s.people[name] = newPeople(name, n)
	}
	return s
}

// Inherit takes over the people of a server with other settings: what their providers said,
// and what is held. Both servers go on with the same ones: requests to the other may still
// be under way.
func (s *SCIM) Inherit(before *SCIM) {
	for name := range s.people {
		if old := before.people[name]; old != nil {
			s.people[name] = old
		}
	}
}

// Sweeps lists the sweeps, by the provider's name.
func (s *SCIM) Sweeps() (list []*directory.Sweeps) {
	for _, name := range slices.Sorted(maps.Keys(s.people)) {
		list = append(list, s.people[name].Sweeps)
	}
	return list
}

// Run sweeps until the context ends.
func (s *SCIM) Run(ctx context.Context) {
	s.Recall(ctx)
	var sweeps sync.WaitGroup
	for _, p := range s.people {
		sweeps.Go(func() { p.Run(ctx) })
	}
	sweeps.Wait()
}

// Recall finds the users on whom the providers reported before the start.
func (s *SCIM) Recall(ctx context.Context) {
	for _, p := range s.people {
		if err := p.recall(ctx); err != nil && ctx.Err() == nil {
			p.Log.Error("what the provider said by SCIM before the start can't be read", "error", err)
		}
	}
}

// Path begins the path of each route.
const Path = "/scim/v2"

// Routes lists the URLs.
func (s *SCIM) Routes() []route.Route {
	list := []route.Route{
		{Pattern: "GET " + Path + "/Users", Serve: s.as(s.list)},
		{Pattern: "POST " + Path + "/Users", Serve: s.as(s.create)},
		{Pattern: "GET " + Path + "/Users/{id}", Serve: s.as(s.get)},
		{Pattern: "PUT " + Path + "/Users/{id}", Serve: s.as(s.put)},
		{Pattern: "PATCH " + Path + "/Users/{id}", Serve: s.as(s.patch)},
		{Pattern: "DELETE " + Path + "/Users/{id}", Serve: s.as(s.remove)},
		{Pattern: "GET " + Path + "/ServiceProviderConfig", Serve: s.as(s.describe(providerConfig))},
		{Pattern: "GET " + Path + "/ResourceTypes", Serve: s.as(s.describe(listOf(userType)))},
		{Pattern: "GET " + Path + "/ResourceTypes/{id}", Serve: s.as(s.describeOne(userType))},
		{Pattern: "GET " + Path + "/Schemas", Serve: s.as(s.describe(listOf(userSchema)))},
		{Pattern: "GET " + Path + "/Schemas/{id}", Serve: s.as(s.describeOne(userSchema))},
	}
	for i := range list {
		list[i].Who, list[i].Scope, list[i].Fail, list[i].Class = route.ByToken, route.AnyScope, route.AsSCIM, route.SCIM
	}
	return list
}
