package config

import (
	"errors"
	"maps"
	"slices"
	"time"

	"gatehouse/server/oauth"
)

// OAuth is a section [oauth.<name>]; oauth.Config says what the fields mean.
type OAuth struct {
	Type             string `toml:"type"`
	URL              string `toml:"url"`
	ClientID         string `toml:"client_id"`
	ClientSecretFile string `toml:"client_secret_file"`
	Insecure         bool   `toml:"insecure"`
	AcceptAnyClient  bool   `toml:"accept_any_client"`
	TrustEmail       bool   `toml:"trust_email"`

	Recheck      Interval `toml:"recheck"`
	RecheckGrace Interval `toml:"recheck_grace"`

	LogoutSuspends bool `toml:"logout_suspends"`
}

const defaultGrace = 7 * day

// RecheckEvery returns how often holders of live tokens are asked about again. 0 means
// never.
func (c OAuth) RecheckEvery() time.Duration { return c.Recheck.or(0) }

// Grace returns how long a person whom the provider can't be asked about keeps access.
func (c OAuth) Grace() time.Duration { return c.RecheckGrace.or(defaultGrace) }

func (c OAuth) check(name string, f *faults) {
	f.join(c.provider(name).Validate())
	setting := "oauth." + name + "."
	if every := c.RecheckEvery(); every > 0 && every < time.Second {
		f.add(setting+"recheck", "from 1s, or off")
	}
	if c.RecheckGrace.Duration < 0 {
		f.add(setting+"recheck_grace", "doubt must end: write a span of time such as 7d")
	}
}

// provider is the section as package oauth takes it.
func (c OAuth) provider(name string) oauth.Config {
	return oauth.Config{
		Name: name, Type: c.Type, URL: c.URL, ClientID: c.ClientID, ClientSecretFile: c.ClientSecretFile,
		Insecure: c.Insecure, AcceptAnyClient: c.AcceptAnyClient, TrustEmail: c.TrustEmail, Recheck: c.RecheckEvery() > 0,
	}
}

// checkOAuth adds what is wrong with the providers.
func (c Config) checkOAuth(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(c.OAuth)) {
		c.OAuth[name].check(name, f)
	}
}

// Providers returns the OAuth providers by name. It reads their files and connects to
// nothing.
func (c Config) Providers(timeout time.Duration, now func() time.Time) (map[string]*oauth.Provider, error) {
	all := make(map[string]*oauth.Provider, len(c.OAuth))
	var f faults
	for _, name := range slices.Sorted(maps.Keys(c.OAuth)) {
		one := c.OAuth[name].provider(name)
		one.Timeout, one.Now = timeout, now
		p, err := oauth.New(one)
		f.join(err)
		all[name] = p
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return all, nil
}
