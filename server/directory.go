package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

func (c LDAPConfig) check(f *faults) {
	f.join(c.directory().Validate())
	switch every := c.Recheck.or(defaultRecheck); {
	case c.Timeout.Duration < 0:
		f.add("ldap.timeout", "a login can't go without one")
	case every > 0 && every < time.Second:
		f.add("ldap.recheck", "from 1s, or off")
	}
}

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
// share one bucket. A name that means nobody has one of its own.
func (s *Server) checkDirectory(ctx context.Context, a attempt, username, password string) (storage.User, error) {
	a.account, a.forwarded = "ldap "+a.account, true
	if err := s.throttle.check(a); err != nil {
		return storage.User{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LDAP.Timeout.or(defaultTimeout))
	defer cancel()
	entry, err := s.directory.Find(ctx, username)
	if err != nil {
		return storage.User{}, err
	}
	if entry.Known() {
		a.account = "ldap person " + cmp.Or(entry.Subject, entry.DN)
	}
	leave, err := s.throttle.enter(ctx, a)
	if err != nil {
		return storage.User{}, err
	}
	o := undecided
	defer func() { leave(o) }()

	u, err := s.askDirectory(ctx, a, entry, password)
	switch {
	case err == nil, errors.Is(err, storage.ErrOtherAccount):
		o = accepted // the password was right
	case errors.Is(err, errInvalid):
		o = rejected
		s.refusals.note(entry.UID, a.from.String())
	}
	return u, err
}

// askDirectory has the directory judge a password, and admits whose it is. It
// goes on when the client leaves: the directory counts a failure all the same,
// and who could have it forgotten here might lock anybody out there.
func (s *Server) askDirectory(ctx context.Context, a attempt, entry ldap.Entry, password string) (storage.User, error) {
	end, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	entry, err := s.directory.Authenticate(ctx, entry, password)
	if refusal := (*ldap.Refusal)(nil); errors.As(err, &refusal) {
		s.log.Info("the directory refuses a login", "dn", entry.DN, "reason", refusal.Reason, "detail", refusal.Detail)
	}
	if errors.Is(err, ldap.ErrInvalidCredentials) || errors.Is(err, ldap.ErrRefused) {
		return storage.User{}, errInvalid
	}
	if err != nil {
		return storage.User{}, err
	}
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
	if errors.Is(err, storage.ErrOtherAccount) {
		s.log.Warn("a login is refused, since its address is another account's; if both are one person, link them with `gatehouse user link UID SOURCE SUBJECT`",
			"uid", uid, "source", id.Source, "subject", id.Subject)
	}
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
	steps := d.Check(ctx, user)
	for i, step := range steps {
		if step.OK && step.Entry.Known() && storage.CheckUID(step.Entry.UID) != nil {
			steps[i].OK = false
			steps[i].Detail = fmt.Sprintf("uid_attribute gives %q, which is no e-mail address", step.Entry.UID)
		}
	}
	return steps, nil
}
