package config

import (
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
}

// provider is the section as package oauth takes it.
func (c OAuth) provider(name string) oauth.Config {
	return oauth.Config{
		Name: name, Type: c.Type, URL: c.URL, ClientID: c.ClientID, ClientSecretFile: c.ClientSecretFile,
		Insecure: c.Insecure, AcceptAnyClient: c.AcceptAnyClient, TrustEmail: c.TrustEmail,
	}
}

// checkOAuth adds what is wrong with the providers.
func (c Config) checkOAuth(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(c.OAuth)) {
		f.join(c.OAuth[name].provider(name).Validate())
	}
}

// Providers returns the OAuth providers by name. It reads their files and connects to
// nothing.
func (c Config) Providers(timeout time.Duration, now func() time.Time) (map[string]*oauth.Provider, error) {
	all := make(map[string]*oauth.Provider, len(c.OAuth))
	for _, name := range slices.Sorted(maps.Keys(c.OAuth)) {
		one := c.OAuth[name].provider(name)
		one.Timeout, one.Now = timeout, now
		p, err := oauth.New(one)
		if err != nil {
			return nil, err
		}
		all[name] = p
	}
	return all, nil
}
