// Package recheck asks OAuth providers again about the people who logged in by them, so
// that no token outlives its owner's account there. It decides what an answer proves and
// what stays in doubt. Package directory has the sweeps, the brake and the suspensions,
// package oauth makes the requests, and package grants stores what is kept between them.
//
//	a login       Admit      the person becomes a user, and the grant is kept (keepLogin)
//	a sweep       States     every recheck, for all who hold live tokens or logged in lately
//	  ask         Sent       noted on the disk: from now on the refresh token may be spent
//	              Again      package oauth asks; its callback has the new refresh token on the
//	                         disk before anything else is sent
//	  verdict     active, stopped, or unknown
//
// A provider that renews refresh tokens spends the old one with its answer. If that answer
// is lost (a time-out, a kill), the provider may refuse the next question for that reason. So
// a refusal after a lost answer proves nothing: the person is unverified, keeps access, and is
// suspended only if recheck_grace ends without a login. The same holds for people for whom
// there is no token to ask with.
package recheck

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/oauth"
	"gatehouse/storage"
	"gatehouse/storage/grants"
	"gatehouse/storage/lasting"
)

// People are the people of one provider that has recheck on.
type People struct {
	*directory.Sweeps
	provider *oauth.Provider
	grace    time.Duration
	store    *storage.Store
	log      *slog.Logger

	// taking is held while a login or a verdict takes effect, so that a verdict from
	// before a login does not suspend the person after it. It is shared with the servers
	// before and after a reload.
	taking *sync.Mutex
	rests  map[string]stamp // the grant that the last verdict on a subject is based on

	mu         sync.Mutex
	unverified int
	mute       int // sweeps in a row in which the provider has answered nothing
	pruned     time.Time
}

// stamp identifies the state of a grant.
type stamp struct {
	version  uint64
	answered int64
}

func stampOf(g grants.Grant) stamp { return stamp{g.Version, g.Answered} }

// All are the people of all providers that have recheck on.
type All struct {
	People map[string]*People // by the provider's name
	store  *storage.Store
	log    *slog.Logger
}

// New returns the people of the providers that have recheck on.
func New(cfg map[string]config.OAuth, providers map[string]*oauth.Provider, store *storage.Store, log *slog.Logger) *All {
	all := &All{People: map[string]*People{}, store: store, log: log}
	for name, p := range providers {
		c := cfg[name]
		if c.RecheckEvery() == 0 {
			continue
		}
		log := log.With("provider", name)
		one := &People{provider: p, grace: c.Grace(), store: store, log: log, taking: new(sync.Mutex), rests: map[string]stamp{}}
		one.Sweeps = &directory.Sweeps{
			Source: name, Actor: storage.Actor{Name: "provider " + name}, Every: c.RecheckEvery(), Store: store, Log: log,
			States: one.States, Each: one.each,
			Doubt: lasting.State{Log: log, Level: slog.LevelWarn,
				Begins: "the provider gives no answer about some users, who stay as they are",
				Ends:   "the provider answers about all users again"},
		}
		all.People[name] = one
	}
	return all
}

// Inherit shares what logins lock with a server with other settings: some may still be
// under way there.
func (all *All) Inherit(before *All) {
	for name, p := range all.People {
		if old := before.People[name]; old != nil {
			p.taking = old.taking
		}
	}
}

// Run sweeps until the context ends. It first deletes the grants of providers that are no
// longer asked. After a reload, before has the people of the earlier settings, whose sweeps
// have ended; at the start it is nil.
func (all *All) Run(ctx context.Context, before *All) {
	n, err := all.store.Grants().Prune(func(g grants.Grant) bool { return all.People[g.Identity.Source] != nil })
	logPruned(all.log, n, err)
	var sweeps sync.WaitGroup
	for name, p := range all.People {
		sweeps.Go(func() {
			if before != nil && before.People[name] != nil && before.People[name].provider.Client() == p.provider.Client() {
				p.inherit(before.People[name]) // it may wait until a confirmation ends
			}
			p.Run(ctx)
		})
	}
	sweeps.Wait()
}

func logPruned(log *slog.Logger, n int, err error) {
	switch {
	case err != nil:
		log.Warn("the stored tokens of providers that are no longer needed could not be deleted; the next start tries again", "error", err)
	case n > 0:
		log.Info("the stored tokens of providers that are no longer needed were deleted", "people", n)
	}
}

func (p *People) inherit(before *People) {
	p.Sweeps.Inherit(before.Sweeps)
	before.mu.Lock()
	unverified, mute := before.unverified, before.mute
	before.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unverified, p.mute = unverified, mute
}

// Stop ends the log lines about what lasts.
func (all *All) Stop() {
	for _, p := range all.People {
		p.Doubt.Stop()
	}
}

// Sweeps lists the sweeps, by the provider's name.
func (all *All) Sweeps() (list []*directory.Sweeps) {
	for _, name := range slices.Sorted(maps.Keys(all.People)) {
		list = append(list, all.People[name].Sweeps)
	}
	return list
}

// Figures are what the status and the metrics show of a provider.
type Figures struct {
	Swept      time.Time // when the last sweep ended; zero: none has
	Unverified int       // how many people it could not be asked about
}

// Figures returns what the last sweep of a provider found; ok is false if recheck is off.
func (all *All) Figures(name string) (f Figures, ok bool) {
	p := all.People[name]
	if p == nil {
		return f, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return Figures{p.LastSweep(), p.unverified}, true
}

// Doubted returns the identities that their providers can't be asked about.
func (all *All) Doubted() (list []storage.Identity, err error) {
	if len(all.People) == 0 {
		return nil, nil
	}
	doubted, err := all.store.Grants().Doubted()
	for id, client := range doubted {
		if p := all.People[id.Source]; p != nil && client == p.provider.Client() {
			list = append(list, id)
		}
	}
	return list, err
}

// Known returns what is known of an identity. ok is false if its provider does not have
// recheck on, or if neither a login nor a sweep has stored a grant since.
func (all *All) Known(id storage.Identity) (g grants.Grant, ok bool, err error) {
	p := all.People[id.Source]
	if p == nil {
		return g, false, nil
	}
	g, ok, err = p.get(id.Subject)
	g.Refresh, g.Access = "", ""
	return g, ok, err
}

// noGrant is the doubt about people whose logins brought nothing to ask with.
const noGrant = "there is nothing to ask the provider with: no login by browser has left a refresh token"

// lostAnswer is the doubt about people whose refresh token may have been spent.
const lostAnswer = "the refresh token was used already: the provider's answer was lost, or another login used it"

// Admit calls admit, which turns a person whom the provider vouches for into a user. It
// then stores what the provider can be asked with again. If the provider is not asked
// again, Admit only calls admit.
func (all *All) Admit(p *oauth.Provider, c oauth.Claims, admit func() (storage.User, error)) (storage.User, error) {
	people := all.People[p.Name()]
	if people == nil {
		return admit()
	}
	people.taking.Lock()
	defer people.taking.Unlock()
	u, err := admit()
	if err != nil {
		return u, err
	}
	return u, people.keepLogin(c)
}

// keepLogin stores what a login has shown. A login with a posted token brings nothing to ask
// with later, and does not replace what a login by browser brought.
func (p *People) keepLogin(c oauth.Claims) error {
	now, _ := p.store.Now()
	none := false
	_, err := p.store.Grants().Renew(p.identity(c.Subject), func(g *grants.Grant, version uint64) {
		if g.Client != p.provider.Client() {
			*g = grants.Grant{Identity: g.Identity, Client: p.provider.Client(), Version: version, Asked: g.Asked}
		}
		g.Answered, g.Left = now.UnixMilli(), ""
		if c.Grant != (oauth.Grant{}) {
			g.Version, g.Refresh, g.Access = version, string(c.Grant.Refresh), string(c.Grant.Access)
			g.Sent, g.Since, g.Doubt = false, 0, ""
		}
		if none = !g.Usable(); none {
			g.Since, g.Doubt = now.UnixMilli(), noGrant
		}
	})
	if none && err == nil {
		p.log.Info("the provider gave no token at a login with which it can be asked about the user later", "subject", c.Subject)
	}
	return err
}

func (p *People) identity(subject string) storage.Identity {
	return storage.Identity{Source: p.Source, Subject: subject}
}

// get returns the grant of a subject. It ignores a grant that was issued to another client.
func (p *People) get(subject string) (g grants.Grant, ok bool, err error) {
	g, ok, err = p.store.Grants().Get(p.identity(subject))
	return g, ok && g.Client == p.provider.Client(), err
}

// each makes a change that the verdicts on a user's subjects require, unless one of the
// subjects has logged in since.
func (p *People) each(subjects []string, do func() error) error {
	p.taking.Lock()
	defer p.taking.Unlock()
	for _, subject := range subjects {
		g, _, err := p.get(subject)
		if err != nil {
			return err
		}
		if p.rests[subject] != stampOf(g) {
			return nil
		}
	}
	return do()
}

// Check tries what logins and sweeps need of a provider in the configuration, except a
// person. A step that fails is not an error.
func Check(ctx context.Context, cfg config.Config, name string) (steps []directory.Step, err error) {
	if _, ok := cfg.OAuth[name]; !ok {
		return nil, fmt.Errorf("there is no section [oauth.%s] in the configuration", name)
	}
	all, err := cfg.Providers(0, nil)
	if err != nil {
		return nil, err
	}
	for _, s := range all[name].Check(ctx) {
		steps = append(steps, directory.Step{Server: name, Name: s.Name, OK: s.OK, Warning: s.Warning, Detail: s.Detail})
	}
	return steps, nil
}
