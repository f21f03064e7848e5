package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/guard"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
)

// watch logs troubles that last: when one begins, every minute, and when it ends. The
// requests that fail during that time are not logged one by one.
type watch struct {
	running   atomic.Bool   // a server runs, which looks each second whether the trouble is over
	store     lasting.State // takes no changes
	requests  lasting.State // fail because of the store
	gate      lasting.State // the same, of verifications
	directory lasting.State // no server of it answers
	logins    lasting.State // can't be decided, though a server of it answers

	mu        sync.Mutex
	log       *slog.Logger
	providers map[string]*lasting.State // do not answer; by name
}

// quietFor is how long no request may fail before the trouble counts as over.
const quietFor = 10 * time.Second

func newWatch(log *slog.Logger) *watch {
	return &watch{
		log: log,
		store: lasting.State{Log: log, Level: slog.LevelError,
			Begins: "the store accepts no changes", Ends: "the store accepts changes again"},
		requests: lasting.State{Log: log, Level: slog.LevelError, Quiet: quietFor,
			Begins: "requests fail, because the store can't be read or written", Ends: "no request has failed because of the store for a while"},
		gate: lasting.State{Log: log, Level: slog.LevelError, Quiet: quietFor,
			Begins: "a token could not be verified", Ends: "no verification has failed for a while"},
		directory: lasting.State{Log: log, Level: slog.LevelError,
			Begins: "no server of the directory answers: nobody can log in with it", Ends: "the directory answers again"},
		logins: lasting.State{Log: log, Level: slog.LevelError,
			Begins: "the directory answers, but can't say who may log in", Ends: "the directory says again who may log in"},
		providers: map[string]*lasting.State{},
	}
}

// follow watches these providers and no others.
func (w *watch) follow(providers map[string]*oauth.Provider) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, state := range w.providers {
		if providers[name] == nil {
			state.Stop()
			delete(w.providers, name)
		}
	}
	for name := range providers {
		if w.providers[name] == nil {
			w.providers[name] = &lasting.State{Log: w.log.With("provider", name), Level: slog.LevelWarn,
				Begins: "a provider is not available", Ends: "the provider is available again"}
		}
	}
}

// watchStates looks at the store and the directory each second, until the context ends.
func (s *Server) watchStates(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer s.watch.stop()
	s.watch.running.Store(true)
	for {
		s.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) look() {
	if err := s.store.Writable(); s.store.IsOpen() && !errors.Is(err, storage.ErrClosed) {
		s.watch.store.Set(err)
	}
	if d := s.latest.Load().directory; d == nil {
		s.watch.directory.Drop()
		s.watch.logins.Drop()
	} else if why, known := d.Trouble(); known {
		s.watch.directory.Set(why)
	}
}

// decided notes what came of a login by the directory.
func (s *Server) decided(o guard.Outcome, err error) {
	if ldap.InDoubt(err) {
		s.watch.logins.Set(err)
	} else if o != guard.Undecided {
		s.watch.logins.Set(nil)
	}
}

// provider notes what came of asking a provider.
func (w *watch) provider(name string, err error) {
	w.mu.Lock()
	state := w.providers[name]
	w.mu.Unlock()
	switch {
	case state == nil:
	case errors.Is(err, oauth.ErrUnavailable):
		state.Set(err)
	case err == nil || errors.Is(err, reply.ErrInvalid):
		state.Set(nil)
	}
}

func (w *watch) stop() {
	w.store.Stop()
	w.requests.Stop()
	w.gate.Stop()
	w.directory.Stop()
	w.logins.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, state := range w.providers {
		state.Stop()
	}
}

// covers notes an error of the store that made a request fail, and reports whether the
// error is one that lasts or comes again.
func (w *watch) covers(err error) bool {
	if ofStore(err) {
		if w.running.Load() { // at once: between two looks it may come and go
			w.store.Set(err)
		}
		return true
	}
	if !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, storage.ErrUnavailable) {
		return false
	}
	w.requests.Set(err)
	return true
}

// ofStore reports whether an error says why no change can be made to the store.
func ofStore(err error) bool {
	return errors.Is(err, storage.ErrNoSpace) || errors.Is(err, storage.ErrNoDirectory) || errors.Is(err, storage.ErrFailed)
}

// told reports whether a watch, or the package that an error comes from, has logged it.
func told(err error) bool {
	return errors.Is(err, ldap.ErrUnavailable) || errors.Is(err, oauth.ErrUnavailable)
}
