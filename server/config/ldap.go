package config

import (
	"time"

	"gatehouse/ldap"
	"gatehouse/server/textfile"
)

// LDAP is the section [ldap]; ldap.Config says what the fields mean.
type LDAP struct {
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

// RecheckEvery returns how often holders of live tokens are looked up again. 0 means
// never.
func (c LDAP) RecheckEvery() time.Duration { return c.Recheck.or(defaultRecheck) }

// LoginTimeout returns how long a login or a look-up may take.
func (c LDAP) LoginTimeout() time.Duration { return c.Timeout.or(defaultTimeout) }

const (
	defaultRecheck = 5 * time.Minute
	defaultTimeout = 5 * time.Second
)

func (c LDAP) check(f *faults) {
	f.join(c.Directory().Validate())
	switch every := c.RecheckEvery(); {
	case c.Timeout.Duration < 0:
		f.add("ldap.timeout", "a login needs a time limit: write a span such as 5s")
	case every > 0 && every < time.Second:
		f.add("ldap.recheck", "write at least 1s, or off")
	}
}

// Directory returns the section as package ldap takes it.
func (c LDAP) Directory() ldap.Config {
	return ldap.Config{
		URLs: c.URLs, StartTLS: c.StartTLS, Insecure: c.Insecure, CAFile: c.CAFile,
		BindDN: c.BindDN, BindPasswordFile: c.BindPasswordFile, BaseDN: c.BaseDN, Filter: c.Filter,
		UIDAttribute: c.UIDAttribute, IDAttribute: c.IDAttribute, RequiredGroup: c.RequiredGroup,
		Timeout: c.LoginTimeout(), ReadFile: textfile.Read, ReadSecret: textfile.ReadSecret,
	}
}
