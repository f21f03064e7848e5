package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"gatehouse/ldap"
	"gatehouse/storage"
)

// LDAPConfig is the section [ldap].
type LDAPConfig struct {
	URLs             []string `toml:"urls"`
	StartTLS         bool     `toml:"start_tls"`
	Insecure         bool     `toml:"insecure"`
	CAFile           string   `toml:"ca_file"`
	BindDN           string   `toml:"bind_dn"`
	BindPasswordFile string   `toml:"bind_password_file"`
	BaseDN           string   `toml:"base_dn"`
	Filter           string   `toml:"filter"`
	UIDAttribute     string   `toml:"uid_attribute"`
	IDAttribute      string   `toml:"id_attribute"`
	RequiredGroup    string   `toml:"required_group"`
	Recheck          Interval `toml:"recheck"`
	Timeout          Interval `toml:"timeout"`
}

// Interval is how often something is done, which may be "off".
type Interval struct{ time.Duration }

// UnmarshalText reads "off", or what ParseSpan reads.
func (i *Interval) UnmarshalText(b []byte) (err error) {
	i.Duration = -1
	if string(b) != "off" {
		i.Duration, err = ParseSpan(string(b))
	}
	return err
}

// or returns the interval, or what it is when nothing was set; 0 for "off".
func (i Interval) or(unset time.Duration) time.Duration {
	switch {
	case i.Duration == 0:
		return unset
	case i.Duration < 0:
		return 0
	}
	return i.Duration
}

const (
	defaultRecheck = 5 * time.Minute
	defaultTimeout = 5 * time.Second
)

func (c LDAPConfig) directory() ldap.Config {
	return ldap.Config{
		URLs: c.URLs, StartTLS: c.StartTLS, Insecure: c.Insecure, CAFile: c.CAFile,
		BindDN: c.BindDN, BindPasswordFile: c.BindPasswordFile, BaseDN: c.BaseDN, Filter: c.Filter,
		UIDAttribute: c.UIDAttribute, IDAttribute: c.IDAttribute, RequiredGroup: c.RequiredGroup,
		Timeout: c.Timeout.or(defaultTimeout),
	}
}

// directory is what the server asks of LDAP.
type directory interface {
	Find(ctx context.Context, name string) (ldap.Entry, error)
	Authenticate(ctx context.Context, e ldap.Entry, password string) (ldap.Entry, error)
	Lookup(ctx context.Context, subjects []string) (map[string]ldap.State, error)
	Servers() []ldap.ServerStatus
	Close() error
}

var errNoDirectory = refuse(http.StatusNotFound, `The login method "ldap" is not configured`)

// checkDirectory returns the user whom the directory knows by that name and
// password, and makes it at its first login. Failures are counted by the
// person, once the directory has said who is meant: all spellings of a name
// share one bucket.
func (s *Server) checkDirectory(ctx context.Context, a attempt, username, password string) (storage.User, error) {
	if err := s.throttle.check(a); err != nil {
		return storage.User{}, err
	}
	entry, err := s.directory.Find(ctx, username)
	if err != nil {
		return storage.User{}, err
	}
	if entry.Known() {
		a.account = "account ldap " + entry.Subject
	}
	leave, err := s.throttle.enter(ctx, a)
	if err != nil {
		return storage.User{}, err
	}
	o := undecided
	defer func() { leave(o) }()

	entry, err = s.directory.Authenticate(ctx, entry, password)
	if errors.Is(err, ldap.ErrInvalidCredentials) || errors.Is(err, ldap.ErrRefused) {
		o = rejected
		s.refusals.note(entry.UID, a.from.String())
		if refusal := (*ldap.Refusal)(nil); errors.As(err, &refusal) {
			s.log.Info("the directory refuses a login", "uid", entry.UID, "reason", refusal.Reason, "detail", refusal.Detail)
		}
		return storage.User{}, errInvalid
	}
	if err != nil {
		return storage.User{}, err
	}
	o = accepted
	return s.admitIdentity(a, storage.Identity{Source: storage.SourceLDAP, Subject: entry.Subject}, entry.UID, entry.Name)
}

// admitIdentity is the one place where somebody whom a directory or a provider
// has vouched for becomes a user.
func (s *Server) admitIdentity(a attempt, id storage.Identity, uid, name string) (storage.User, error) {
	if storage.CheckUID(uid) != nil {
		s.log.Warn("a login has no e-mail address to be named by", "source", id.Source, "subject", id.Subject, "uid", uid)
		return storage.User{}, refuse(http.StatusForbidden, "There is no e-mail address for this account: ask an administrator")
	}
	u, err := s.store.LogIn(storage.Actor{Name: uid, Address: a.from.String()}, id, uid, name)
	if err != nil {
		return u, err
	}
	if u.State != storage.UserActive {
		return u, errInvalid
	}
	return u, nil
}

// openDirectory readies LDAP, where it is configured. It does not connect.
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

// CheckLDAP tries everything that a login of a user needs, short of the
// password, on every server of the configuration.
func CheckLDAP(ctx context.Context, cfg Config, user string) ([]ldap.Step, error) {
	if cfg.LDAP == nil {
		return nil, errors.New("there is no section [ldap] in the configuration")
	}
	d, err := ldap.New(cfg.LDAP.directory(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Check(ctx, user), nil
}
