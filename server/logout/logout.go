// Package logout is OpenID Connect Back-Channel Logout 1.0: a provider says that it has
// ended a person's session, and the person's sessions here end, too. With logout_suspends,
// the person's tokens stop until the next login. If there are too many of these suspensions
// within an hour to be believed, they are held, like those of a sweep (package directory).
//
// Anybody can send requests here. Package oauth checks what they bring, and this package
// that it comes once. It never looks at a cookie.
package logout

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/directory"
	"gatehouse/server/guard"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
)

// Needs are the parts of the server that Logouts works with.
type Needs struct {
	Providers map[string]*oauth.Provider // by name
	Settings  map[string]config.OAuth
	Store     *storage.Store
	Throttle  *guard.Throttle
	Log       *slog.Logger
}

// Logouts takes logout tokens.
type Logouts struct {
	Needs
	once   *sync.Mutex        // one at a time: a token counts once
	pushed map[string]*pushes // of the providers with logout_suspends
}

// pushes are the suspensions that one provider has asked for. They are shared with the
// servers before and after a reload.
type pushes struct {
	*directory.Sweeps
	store *storage.Store

	mu   sync.Mutex
	open map[string]asked // by the subject; the suspensions that may not be made yet
	made []time.Time      // those that were made within brakeWindow
}

// asked is what a user was like when the provider asked for the suspension: when the state
// began, and the last login, in ms.
type asked struct{ stateAt, lastLogin int64 }

// brakeWindow is the time within which suspensions count together.
const brakeWindow = time.Hour

// New returns the logouts of a server.
func New(n Needs) *Logouts {
	l := &Logouts{Needs: n, once: new(sync.Mutex), pushed: map[string]*pushes{}}
	for name, c := range n.Settings {
		if !c.LogoutSuspends {
			continue
		}
		p := &pushes{store: n.Store, open: map[string]asked{}}
		p.Sweeps = &directory.Sweeps{
			Source: name, Actor: actor(name), Store: n.Store, Log: n.Log, UntilLogin: true,
			States: p.states, Each: p.each, Recent: p.recent, Doubt: lasting.State{Log: n.Log},
		}
		l.pushed[name] = p
	}
	return l
}

func actor(provider string) storage.Actor { return storage.Actor{Name: "provider " + provider} }

// Inherit takes over the suspensions of a server with other settings. Both servers go on
// with the same ones: requests to the other may still be under way.
func (l *Logouts) Inherit(before *Logouts) {
	l.once = before.once
	for name := range l.pushed {
		if old := before.pushed[name]; old != nil && l.Providers[name].Client() == before.Providers[name].Client() {
			l.pushed[name] = old
		}
	}
}

// Sweeps lists what may hold suspensions.
func (l *Logouts) Sweeps() (list []*directory.Sweeps) {
	for _, p := range l.pushed {
		list = append(list, p.Sweeps)
	}
	return list
}

// Routes lists the URL of logouts.
func (l *Logouts) Routes() []route.Route {
	return []route.Route{{Pattern: "POST /api/backchannel-logout/{provider}", Class: route.Login, Serve: l.serve}}
}

var (
	errForm    = reply.Refuse(http.StatusUnsupportedMediaType, "Send a form (Content-Type: application/x-www-form-urlencoded)")
	errInvalid = reply.Refuse(http.StatusBadRequest, "The logout token is not valid")
)

func (l *Logouts) serve(w http.ResponseWriter, r *route.Request) error {
	name := r.PathValue("provider")
	p := l.Providers[name]
	if p == nil || l.Settings[name].Type != oauth.OIDC {
		return reply.Refuse(http.StatusNotFound, "No provider of this name sends logouts")
	}
	if t, _ := body.MediaType(r.Request); t != "application/x-www-form-urlencoded" {
		return errForm
	}
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	if err := l.Throttle.CheckAddress(r.From); err != nil {
		return err
	}
	out, err := p.Logout(r.Context(), fields["logout_token"])
	if errors.Is(err, oauth.ErrRefused) {
		l.Throttle.RejectFrom(r.From)
		l.Log.Info("a logout is refused", "provider", name, "reason", err, "address", r.From)
		return errInvalid
	}
	if err != nil {
		return err
	}
	if err := l.take(r.Context(), name, out); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// take does what a logout token asks for, unless the same token came before.
func (l *Logouts) take(ctx context.Context, provider string, out oauth.Logout) error {
	l.once.Lock()
	defer l.once.Unlock()
	seen := "logout " + provider + " " + out.ID
	switch before, err := l.Store.Expiring().Get(seen); {
	case err != nil:
		return err
	case before != nil:
		l.Log.Info("a logout is refused", "provider", provider, "reason", "the logout token was used before (jti)")
		return errInvalid
	}
	u, err := l.user(provider, out)
	if errors.Is(err, storage.ErrNoUser) {
		l.Log.Info("a provider logged out a person who is not known here", "provider", provider, "subject", out.Subject)
		err = nil
	} else if err == nil {
		err = l.end(ctx, provider, u)
	}
	if err != nil {
		return err
	}
	// A kill must not forget it. A power failure may.
	l.Store.Expiring().Put(seen, []byte{1}, oauth.LogoutKept)
	return l.Store.Expiring().Save()
}

// user returns the user that a logout is about.
func (l *Logouts) user(provider string, out oauth.Logout) (u storage.User, err error) {
	if out.Subject != "" {
		id := storage.Identity{Source: provider, Subject: out.Subject}
		if id.Check() != nil {
			return u, storage.ErrNoUser
		}
		return l.Store.UserByIdentity(id)
	}
	b, err := l.Store.Expiring().Get(sessionName(provider, out.Session))
	if err != nil {
		return u, err
	}
	if len(b) != 8 {
		return u, storage.ErrNoUser
	}
	return l.Store.UserByID(record.DecodeUserID(b))
}

// NoteSession remembers whose session a provider's sid is. It ignores an empty
// sid.
func NoteSession(store *storage.Store, provider, sid string, id storage.UserID) {
	if sid != "" && len(sid) <= 1024 {
		store.Expiring().Put(sessionName(provider, sid), id.Bytes(), storage.SessionLife)
	}
}

func sessionName(provider, sid string) string { return "provider session " + provider + " " + sid }

// end ends a user's sessions, and with logout_suspends suspends the user.
func (l *Logouts) end(ctx context.Context, provider string, u storage.User) error {
	if err := l.Store.EndSessions(actor(provider), u.ID, "logged out at the provider "+provider); err != nil {
		return err
	}
	l.Log.Info("a provider has logged a user out", "provider", provider, "uid", u.UID)
	p := l.pushed[provider]
	if p == nil {
		return nil
	}
	p.push(u)
	return p.Sweep(ctx)
}

func (p *pushes) push(u storage.User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range u.Subjects(p.Source) {
		p.open[s] = asked{u.StateAt, u.LastLogin}
	}
}

// due reports whether a subject's suspension was asked for, and its user is active and has
// neither logged in nor been in another state since. due forgets a suspension that can't
// become due again: it would stop a user whom an administrator has enabled since.
func (p *pushes) due(subject string) (bool, error) {
	then, open := p.open[subject]
	if !open {
		return false, nil
	}
	u, err := p.store.UserByIdentity(storage.Identity{Source: p.Source, Subject: subject})
	if err != nil && !errors.Is(err, storage.ErrNoUser) {
		return false, err
	}
	if err != nil || u.State != storage.UserActive || (asked{u.StateAt, u.LastLogin}) != then {
		delete(p.open, subject)
		return false, nil
	}
	return true, nil
}

// states returns the verdicts that logouts have asked for, as long as they are due.
func (p *pushes) states(_ context.Context, subjects []string) (map[string]ldap.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	states := make(map[string]ldap.State, len(subjects))
	for _, s := range subjects {
		states[s] = ldap.State{}
		if due, err := p.due(s); due || err != nil { // each reports the error
			states[s] = ldap.State{Verdict: ldap.Stopped, Stop: ldap.Stop{Reason: "logged out at the provider"}}
		}
	}
	return states, nil
}

// each makes a suspension, if it is still due.
func (p *pushes) each(subjects []string, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	stillDue := false
	for _, s := range subjects {
		due, err := p.due(s)
		if err != nil {
			return err
		}
		stillDue = stillDue || due
	}
	if stillDue {
		if err := do(); err != nil {
			return err
		}
		now, _ := p.store.Now()
		p.made = append(p.made, now)
	}
	for _, s := range subjects {
		delete(p.open, s)
	}
	return nil
}

// recent returns how many suspensions were made within brakeWindow.
func (p *pushes) recent() int {
	now, _ := p.store.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.made) > 0 && now.Sub(p.made[0]).Abs() >= brakeWindow {
		p.made = p.made[1:]
	}
	return len(p.made)
}
