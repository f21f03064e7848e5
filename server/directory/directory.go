// Package directory has the sweeps that keep users in step with a source, their brake,
// and logins by LDAP. Packages recheck, logout and scim use the sweeps too. It also
// revokes idle tokens, because too many of those at once are held in the same way. It
// never writes to the LDAP directory, and never decides which user a person is: package
// login does.
//
// A login asks the LDAP directory about one person:
//
//	LogIn          the typed name's count of failures; Find; the person's count of failures
//	  askPassword  the directory judges the password
//	  Admit        the person becomes a user, or is found to be one
//
// A sweep ([Sweeps.Run], for LDAP as often as ldap.recheck says) asks about all holders of
// live tokens, those who logged in lately, and those who have a password here:
//
//	ask        a verdict for each subject: active, stopped, missing or unknown
//	  compare  what would bring each user in step; unknown changes nothing
//	brake      too many changes at once, or perhaps another directory (recorded): held
//	Sweep      leaves out who is missing for the first time
//	apply      suspends, resumes, removes
//	Confirm    an administrator agrees to the changes that are held
//
// Doubt about one person changes nothing for that person, and no removal rests on a
// single sweep.
package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"gatehouse/ldap"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
)

// LDAP is what is asked of the directory. *ldap.Directory is one.
type LDAP interface {
	Find(ctx context.Context, name string) (ldap.Entry, error)
	Authenticate(ctx context.Context, e ldap.Entry, password string) (ldap.Entry, error)
	Lookup(ctx context.Context, subjects []string) (map[string]ldap.State, error)
	Servers() []ldap.ServerStatus
	Close() error
}

// Needs are the parts of the server that People work with.
type Needs struct {
	Store    *storage.Store
	Throttle *guard.Throttle
	Refusals *guard.Refusals
	Log      *slog.Logger

	// Admit turns a person for whom the directory vouches into a user.
	Admit func(guard.Attempt, storage.Login) (storage.User, error)
	// Decided is called with the outcome of a login.
	Decided func(guard.Outcome, error)
}

// People are the people of one directory: they log in, and the users they became are
// kept in step with the directory.
type People struct {
	LDAP
	*Sweeps
	cfg   config.LDAP
	needs Needs
}

// Open returns the people of the directory that the configuration names. It reads files
// and connects to nothing.
func Open(cfg config.LDAP, needs Needs) (*People, error) {
	d, err := ldap.New(cfg.Directory(), needs.Log)
	if err != nil {
		return nil, err
	}
	p := &People{
		LDAP: d, cfg: cfg, needs: needs,
		Sweeps: &Sweeps{
			Source: storage.SourceLDAP, Actor: directoryActor, Every: cfg.RecheckEvery(), Store: needs.Store, Log: needs.Log,
			recorded: newRecorded(needs.Store, cfg),
			Doubt: lasting.State{Log: needs.Log, Level: slog.LevelWarn,
				Begins: "the directory gives no answer about some users, who stay as they are",
				Ends:   "the directory answers about all users again"},
		},
	}
	p.States = func(ctx context.Context, subjects []string) (map[string]ldap.State, error) {
		return p.Lookup(ctx, subjects)
	}
	return p, nil
}

// Inherit takes over the state of the sweeps of before, if that is the same directory
// with other settings: who was missed, and what is held.
func (p *People) Inherit(before *People) {
	if before != nil && p.recorded.now.same(before.recorded.now) {
		p.Sweeps.Inherit(before.Sweeps)
	}
}

// Inherit takes over the state of the sweeps of before. It waits for a confirmation that is
// under way there: the request may have come before the reload.
func (s *Sweeps) Inherit(before *Sweeps) {
	before.sweeping.Lock()
	defer before.sweeping.Unlock()
	before.mu.Lock()
	held, swept := before.held, before.swept
	before.mu.Unlock()
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed, s.held, s.swept = maps.Clone(before.missed), held, swept
}

// Close ends the connections to the directory.
func (p *People) Close() error {
	p.Doubt.Stop()
	return p.LDAP.Close()
}

// Trouble returns why no server of the directory answers, or nil if one does, as far as
// their last uses tell. It is not known while a server has not been used, as after a reload.
func (p *People) Trouble() (why error, known bool) {
	known = true
	for _, server := range p.Servers() {
		switch {
		case server.Reachable:
			return nil, true
		case server.LastFailure.IsZero():
			known = false
		default:
			why = errors.New(server.LastError)
		}
	}
	return why, known
}

// Step is one thing that a check has tried.
type Step = ldap.Step

// Check tries everything that a login of the user needs, except the password, on each
// server of the directory in the configuration. A step that fails is not an error.
func Check(ctx context.Context, cfg config.Config, user string) ([]Step, error) {
	if cfg.LDAP == nil {
		return nil, errors.New("there is no section [ldap] in the configuration")
	}
	d, err := ldap.New(cfg.LDAP.Directory(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	steps := d.Check(ctx, user)
	for i, step := range steps {
		if step.OK && step.Entry.Known() && record.CheckUID(step.Entry.UID) != nil {
			steps[i].OK, steps[i].Warning = false, false
			steps[i].Detail = fmt.Sprintf("uid_attribute gives %q, which is not an e-mail address", step.Entry.UID)
		}
	}
	return steps, nil
}
