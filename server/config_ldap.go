package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/textfile"
	"gatehouse/storage"
)

// LDAPConfig is the section [ldap]; ldap.Config says what the fields mean.
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

// or returns the interval: unset where the configuration says nothing, and 0 for
// "off".
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

// directory is the section as package ldap takes it.
func (c LDAPConfig) directory() ldap.Config {
	return ldap.Config{
		URLs: c.URLs, StartTLS: c.StartTLS, Insecure: c.Insecure, CAFile: c.CAFile,
		BindDN: c.BindDN, BindPasswordFile: c.BindPasswordFile, BaseDN: c.BaseDN, Filter: c.Filter,
		UIDAttribute: c.UIDAttribute, IDAttribute: c.IDAttribute, RequiredGroup: c.RequiredGroup,
		Timeout: c.Timeout.or(defaultTimeout), ReadFile: textfile.Read, ReadSecret: textfile.ReadSecret,
	}
}

// CheckLDAP tries all that a login of the user needs, short of the password, on
// every directory server of the configuration. A failed step is no error.
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
			steps[i].OK, steps[i].Warning = false, false
			steps[i].Detail = fmt.Sprintf("uid_attribute gives %q, which is no e-mail address", step.Entry.UID)
		}
	}
	return steps, nil
}
