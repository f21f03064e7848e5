package admin

import (
	"net/http"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// ping serves GET /admin/ping, for commands that only need to know that a server answers.
func (a *Admin) ping(w http.ResponseWriter, _ *route.Request) error {
	return reply.NoContent(w, nil)
}

// who serves GET /admin/who: how the server knows the caller.
func (a *Admin) who(w http.ResponseWriter, r *route.Request) error {
	return reply.OK(w, api.Who{Actor: r.Peer, Role: r.Role}, nil)
}

// waitLoaded is how long status waits until all tokens are in memory.
const waitLoaded = 5 * time.Second

// status serves GET /admin/status: how the server is, for the terminal UI, which
// asks every two seconds. It sends nothing to the directory or to providers.
func (a *Admin) status(w http.ResponseWriter, r *route.Request) error {
	select {
	case <-a.store.Loaded():
	case <-time.After(waitLoaded):
		return reply.Refuse(http.StatusServiceUnavailable, "The tokens are still being loaded: ask again in a moment")
	}
	stale, err := a.store.CountTokens(storage.TokenFilter{IdleSince: a.staleSince()})
	if err != nil {
		return err
	}
	_, orphaned, err := a.store.CountServices()
	if err != nil {
		return err
	}
	st := a.Figures()
	st.Groups = map[string]api.Role{}
	for name, role := range a.Config().Admin.Groups {
		st.Groups[name] = api.Role(role)
	}
	st.Orphaned, st.NoPasswords = orphaned, !a.Config().Logins.Local
	st.Users, st.Tokens, st.Stale = a.store.UserCount(), a.store.TokenCount(), stale
	st.Actor, st.Role, st.Store = r.Peer, r.Role, a.storeHealth()
	st.Directory, st.Providers = []api.Health{}, []api.Health{}
	st.HeldActs, st.Clock = a.heldActs(), a.clockDoubt()
	st.Held = a.holding()
	if a.People != nil {
		for _, d := range a.People.Servers() {
			st.Directory = append(st.Directory, directoryHealth(d))
		}
	}
	for _, p := range oauth.Sorted(a.Providers) {
		h := providerHealth(p)
		if f, ok := a.Recheck.Figures(p.Name()); ok {
			h.Recheck = &api.Recheck{Swept: view.Millis(f.Swept), Unverified: f.Unverified}
		}
		st.Providers = append(st.Providers, h)
	}
	return reply.OK(w, st, nil)
}

func (a *Admin) storeHealth() api.StoreHealth {
	sp := a.store.Space()
	last, age := a.store.LastBackup()
	h := api.StoreHealth{Bytes: sp.Journal + sp.Index, Journal: sp.Journal, Free: sp.Free, LastBackup: last, BackupOverdue: age > api.BackupWithin}
	if err := a.store.Writable(); err != nil {
		_, h.Problem = reply.Status(err)
	}
	return h
}

func directoryHealth(d ldap.ServerStatus) api.Health {
	return api.Health{
		Name: d.URL, Reachable: d.Reachable, LastError: d.LastError,
		Latency: float64(d.Latency) / float64(time.Millisecond), LastSuccess: view.Millis(d.LastSuccess), LastFailure: view.Millis(d.LastFailure),
	}
}

func providerHealth(p *oauth.Provider) api.Health {
	st := p.Status()
	return api.Health{
		Name: p.Name(), Insecure: p.Unsafe(), Reachable: st.Reachable, LastError: st.LastError,
		Latency: float64(st.Latency) / float64(time.Millisecond), LastSuccess: view.Millis(st.LastSuccess), LastFailure: view.Millis(st.LastFailure),
	}
}
