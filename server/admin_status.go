package server

import (
	"net/http"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// adminPing serves GET /admin/ping, for commands that need to know no more than
// that a server answers.
func (s *Server) adminPing(w http.ResponseWriter, _ *http.Request) error {
	return reply.NoContent(w, nil)
}

// adminStatus serves GET /admin/status: how the server is, for the terminal UI, which
// asks every two seconds. It sends nothing to the directory or to providers.
func (s *Server) adminStatus(w http.ResponseWriter, r *http.Request) error {
	if !s.store.WhenLoaded() {
		return reply.Refuse(http.StatusServiceUnavailable, "The tokens are still being loaded: ask again in a moment")
	}
	stale, err := s.store.CountTokens(storage.TokenFilter{IdleSince: s.staleSince()})
	if err != nil {
		return err
	}
	st := api.Status{
		Version: s.version, Started: s.started.UnixMilli(),
		Users: s.store.UserCount(), Tokens: s.store.TokenCount(), Stale: stale, Actor: adminActor(r).Name,
		Activity: s.activity.view(time.Now()), Store: s.storeHealth(), Certificate: s.certificateHealth(),
		Directory: []api.Health{}, Providers: []api.Health{}, HeldActs: s.heldActs(), Clock: s.clockDoubt(),
	}
	if s.directory != nil {
		st.Held = s.directory.Holding()
		for _, d := range s.directory.Servers() {
			st.Directory = append(st.Directory, directoryHealth(d))
		}
	}
	for _, w := range s.providers() {
		st.Providers = append(st.Providers, providerHealth(s.oauth[w.Name]))
	}
	reply.JSON(w, http.StatusOK, st)
	return nil
}

func (s *Server) storeHealth() api.StoreHealth {
	h := api.StoreHealth{Bytes: s.store.Size(), Free: s.store.Free(), LastBackup: s.store.LastBackup()}
	if err := s.store.Writable(); err != nil {
		_, h.Problem = reply.Status(err)
	}
	return h
}

func (s *Server) certificateHealth() (h api.Certificate) {
	if s.pair == nil {
		return h
	}
	notAfter, err := s.pair.Health()
	h.NotAfter = view.Millis(notAfter)
	if err != nil {
		h.Problem = err.Error()
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
