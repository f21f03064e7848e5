package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"gatehouse/ldap"
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

var errNoDirectory = refuse(http.StatusNotFound, `The login method "ldap" is not configured`)

// checkDirectory returns the user whom the directory knows by that name and
// password; at a person's first login, it makes the user. Failures are counted by
// the person whom the directory found, so that all spellings of a name share one
// bucket; a name that means nobody has a bucket of its own.
func (s *Server) checkDirectory(ctx context.Context, a attempt, username, password string) (u storage.User, err error) {
	a.account, a.forwarded = "ldap "+a.account, true
	if err := s.throttle.check(ctx, a); err != nil {
		return u, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LDAP.Timeout.or(defaultTimeout))
	defer cancel()
	entry, err := s.directory.Find(ctx, username)
	if err != nil {
		return u, err
	}
	if entry.Known() {
		a.account = personBucket(cmp.Or(entry.Subject, entry.DN))
	}
	leave, err := s.throttle.enter(ctx, a)
	if err != nil {
		return u, err
	}
	o := undecided
	defer func() { err = leave(o, err) }()

	u, err = s.askDirectory(ctx, a, entry, password)
	switch {
	case err == nil, errors.Is(err, storage.ErrOtherAccount):
		o = accepted // the password was right
	case errors.Is(err, errInvalid):
		o = rejected
		s.refusals.note(entry.UID, a.from.String())
	}
	return u, err
}

// personBucket is the name of the count of a person's failures at the directory.
func personBucket(subject string) string { return "ldap person " + subject }

// askDirectory has the directory judge a password, and admits the person. It goes
// on when the client hangs up: the directory counts the failure all the same, and
// whoever could keep it from being counted here could lock anybody out there.
func (s *Server) askDirectory(ctx context.Context, a attempt, entry ldap.Entry, password string) (storage.User, error) {
	end, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	entry, err := s.directory.Authenticate(ctx, entry, password)
	refusal, _ := errors.AsType[*ldap.Refusal](err)
	if refusal != nil {
		s.log.Info("the directory refuses a login", "dn", entry.DN, "reason", refusal.Reason, "detail", refusal.Detail, "address", a.from)
	}
	if refusal != nil && refusal.Reason == ldap.ReasonNoID { // the password was right
		return storage.User{}, refuse(http.StatusForbidden, "The directory has no lasting id for this account: ask an administrator")
	}
	if errors.Is(err, ldap.ErrInvalidCredentials) || errors.Is(err, ldap.ErrRefused) {
		return storage.User{}, errInvalid
	}
	if err != nil {
		return storage.User{}, err
	}
	return s.admitIdentity(a, storage.Login{
		Identity: storage.Identity{Source: storage.SourceLDAP, Subject: entry.Subject}, Addresses: entry.Addresses, Name: entry.Name,
	})
}

// openDirectory returns nil where LDAP is not configured. It does not connect.
func openDirectory(cfg *LDAPConfig, log *slog.Logger) (directory, error) {
	if cfg == nil {
		return nil, nil
	}
	d, err := ldap.New(cfg.directory(), log)
	if err != nil {
		return nil, err
	}
	return d, nil
}
