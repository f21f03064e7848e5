package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"gatehouse/ldap"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// directory is what the server asks of LDAP. *ldap.Directory is one.
type directory interface {
	Find(ctx context.Context, name string) (ldap.Entry, error)
	Authenticate(ctx context.Context, e ldap.Entry, password string) (ldap.Entry, error)
	Lookup(ctx context.Context, subjects []string) (map[string]ldap.State, error)
	Servers() []ldap.ServerStatus
	Close() error
}

var errNoDirectory = reply.Refuse(http.StatusNotFound, `The login method "ldap" is not configured`)

// checkDirectory returns the user whom the directory knows by that name and
// password; at a person's first login, it makes the user.
//
// Failures are counted twice. The count of the typed name decides what the client is
// told, before the directory is asked: so a name that nobody has is answered like any
// other, and a refusal costs no search. The count of the person whom the directory
// finds decides whether the password is passed on: so the names of one person, such as
// a uid and a mail, share the guesses that the directory gets to see. While that one
// is used up, another name of the person is answered, and takes as long, as a name
// that nobody has.
func (s *Server) checkDirectory(ctx context.Context, a guard.Attempt, username, password string) (u storage.User, err error) {
	a = a.ToDirectory(username)
	if err := s.throttle.Check(ctx, a); err != nil {
		return u, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.config().LDAP.LoginTimeout())
	defer cancel()
	leave, err := s.throttle.Enter(ctx, a)
	if err != nil {
		return u, err
	}
	o := guard.Undecided
	defer func() {
		s.watch.login(o, err)
		err = leave(o, err)
	}()
	found, err := s.directory.Find(ctx, username)
	if err != nil {
		return u, err
	}
	u, o, err = s.tryPerson(ctx, a, found, password)
	if o == guard.Rejected {
		s.refusals.Note(found.UID, a.From)
	}
	return u, err
}

// tryPerson has the directory judge the password of the person whom it found, unless
// that person's count is used up: then, as for nobody, it judges the password of a
// person who does not exist.
func (s *Server) tryPerson(ctx context.Context, a guard.Attempt, found ldap.Entry, password string) (u storage.User, o guard.Outcome, err error) {
	leave, asked, err := s.enterPerson(ctx, a, found)
	if err != nil {
		return u, guard.Undecided, err
	}
	entry := found
	if found.Known() && !asked {
		entry = ldap.Entry{}
	}
	u, err = s.askDirectory(ctx, a, entry, password)
	switch {
	case err == nil, errors.Is(err, storage.ErrOtherAccount):
		o = guard.Accepted // the password was right
	case errors.Is(err, reply.ErrInvalid):
		o = guard.Rejected
	}
	leave(o)
	if asked && o != guard.Undecided {
		s.throttle.Took(a)
	} else if o == guard.Rejected {
		s.throttle.Wait(ctx, a)
	}
	return u, o, err
}

// enterPerson counts a login among those of the person whom the directory found, and
// reports whether the directory may be asked. It waits for other logins of the person,
// by whichever name: a right password is not refused because others are being tried.
// An answer that looks at no password is drawn from those that waited as well (pace).
func (s *Server) enterPerson(ctx context.Context, a guard.Attempt, found ldap.Entry) (leave func(guard.Outcome), asked bool, err error) {
	if !found.Known() {
		return func(guard.Outcome) {}, false, nil
	}
	person := a.OfPerson(cmp.Or(found.Subject, found.DN))
	done, err := s.throttle.Enter(ctx, person)
	refused, ok := errors.AsType[*reply.Error](err)
	if err != nil && !ok {
		return nil, false, err
	}
	leave = func(o guard.Outcome) {
		if o == guard.Rejected {
			s.throttle.NoteName(person, a)
		}
		if asked {
			done(o, nil)
		}
	}
	if asked = refused == nil; !asked {
		s.log.Info("a login is not passed on to the directory after too many bad passwords for this person", "dn", found.DN, "address", a.From)
	}
	return leave, asked, nil
}

// askDirectory has the directory judge a password, and admits the person. It goes
// on when the client hangs up: the directory counts the failure all the same, and
// whoever could keep it from being counted here could lock anybody out there.
func (s *Server) askDirectory(ctx context.Context, a guard.Attempt, entry ldap.Entry, password string) (storage.User, error) {
	end, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	entry, err := s.directory.Authenticate(ctx, entry, password)
	refusal, _ := errors.AsType[*ldap.Refusal](err)
	if refusal != nil {
		s.log.Info("the directory refuses a login", "dn", entry.DN, "reason", refusal.Reason, "detail", refusal.Detail, "address", a.From)
	}
	if refusal != nil && refusal.Reason == ldap.ReasonNoID { // the password was right
		return storage.User{}, reply.Refuse(http.StatusForbidden, "The directory has no lasting id for this account: ask an administrator")
	}
	if errors.Is(err, ldap.ErrInvalidCredentials) || errors.Is(err, ldap.ErrRefused) {
		return storage.User{}, reply.ErrInvalid
	}
	if err != nil {
		return storage.User{}, err
	}
	return s.admitIdentity(a, storage.Login{
		Identity: storage.Identity{Source: storage.SourceLDAP, Subject: entry.Subject}, Addresses: entry.Addresses, Name: entry.Name,
	})
}

// openDirectory returns nil where LDAP is not configured. It does not connect.
func openDirectory(cfg *config.LDAP, log *slog.Logger) (directory, error) {
	if cfg == nil {
		return nil, nil
	}
	d, err := ldap.New(cfg.Directory(), log)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// CheckLDAP tries all that a login of the user needs, short of the password, on
// every directory server of the configuration. A failed step is no error.
func CheckLDAP(ctx context.Context, cfg config.Config, user string) ([]ldap.Step, error) {
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
		if step.OK && step.Entry.Known() && storage.CheckUID(step.Entry.UID) != nil {
			steps[i].OK, steps[i].Warning = false, false
			steps[i].Detail = fmt.Sprintf("uid_attribute gives %q, which is no e-mail address", step.Entry.UID)
		}
	}
	return steps, nil
}
