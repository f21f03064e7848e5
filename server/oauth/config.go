package oauth

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gatehouse/server/textfile"
)

// Secret is a string that no log and no error shows.
type Secret string

const redacted = "[redacted]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// The types of providers.
const (
	GitHub = "github" // and GitHub Enterprise
	GitLab = "gitlab"
	Google = "google"
	Gitea  = "gitea" // and Forgejo
	OIDC   = "oidc"  // any provider of OpenID Connect
)

// types are the types, with what people call them and where they are unless
// the configuration says otherwise.
var types = map[string]struct{ title, url string }{
	GitHub: {"GitHub", "https://github.com"},
	GitLab: {"GitLab", "https://gitlab.com"},
	Google: {"Google", "https://accounts.google.com"},
	Gitea:  {"Gitea", ""},
	OIDC:   {"", ""},
}

// Config is a section [oauth.<name>] of the configuration file.
type Config struct {
	Name             string // the name after the dot
	Type             string
	URL              string // base or issuer URL; has a default for GitHub, GitLab and Google
	ClientID         string
	ClientSecretFile string // read by New
	Insecure         bool   // allows an http:// url, for a test
	AcceptAnyClient  bool   // takes tokens that were issued to others than ClientID
	TrustEmail       bool   // takes addresses that the provider has not verified
	Recheck          bool   // logins by browser ask for a refresh token, for Again

	Timeout time.Duration    // of a login in all; default 5 s
	Now     func() time.Time // default time.Now; the clock that ID tokens are judged by
}

// reserved are the names of the logins by password and of the sources of users.
var reserved = []string{"userpass", "ldap", "local", "service"}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// WithDefaults returns the configuration with the defaults filled in, as New uses it.
func (c Config) WithDefaults() Config {
	if c.URL == "" {
		c.URL = types[c.Type].url
	}
	// An OpenID issuer is compared to the letter, so that a slash at its end counts.
	if c.Type != OIDC {
		c.URL = strings.TrimRight(c.URL, "/")
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Fault says what is wrong with a setting of a provider. The message names the setting.
type Fault struct {
	provider, setting string
	err               error
}

func (f *Fault) Error() string { return fmt.Sprintf("oauth.%.40s: %v", f.provider, f.err) }
func (f *Fault) Unwrap() error { return f.err }

// Setting is the key of the setting in the configuration file.
func (f *Fault) Setting() string { return strings.TrimSuffix("oauth."+f.provider+"."+f.setting, ".") }

// CheckName says why no provider can have the name.
func CheckName(name string) error {
	switch {
	case !nameForm.MatchString(name):
		return fmt.Errorf("%.40q is not a provider's name: use up to 32 of a-z, 0-9, - and _", name)
	case slices.Contains(reserved, name):
		return errors.New("the name is reserved: choose another")
	}
	return nil
}

// Validate returns all that is wrong with c, in whole sentences. It opens no file and no
// connection.
func (c Config) Validate() error {
	var errs []error
	bad := func(setting, format string, args ...any) {
		errs = append(errs, &Fault{c.Name, setting, fmt.Errorf(format, args...)})
	}
	if err := CheckName(c.Name); err != nil {
		return &Fault{c.Name, "", err}
	}
	if _, ok := types[c.Type]; !ok {
		bad("type", "type %q is not github, gitlab, google, gitea or oidc", c.Type)
	} else if c = c.WithDefaults(); c.URL == "" {
		bad("url", "url is empty: name the server, such as https://%s.example.com", c.Type)
	} else if err := checkURL(c.URL, c.Insecure); err != nil {
		bad("url", "url %w", err)
	}
	if c.ClientID == "" || strings.ContainsFunc(c.ClientID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad("client_id", "client_id is empty or has invalid characters: copy it from the registration at the provider")
	}
	if c.ClientSecretFile == "" {
		bad("client_secret_file", "client_secret_file is empty: name the file with the secret that belongs to client_id")
	}
	return errors.Join(errs...)
}

// checkURL says what is wrong with a URL that secrets are sent to.
func checkURL(raw string, insecure bool) error {
	if strings.Contains(raw, "@") {
		return errors.New("contains a user or a password, which is not allowed") // and is not echoed
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL", raw)
	case u.Scheme == "http" && !insecure:
		return fmt.Errorf("%s would send secrets in the clear: use https:// (or, for a test, set insecure = true)", raw)
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return fmt.Errorf("%q is not a URL such as https://example.com", raw)
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return fmt.Errorf("%q has a query or a fragment, which is not allowed", raw)
	}
	return nil
}

// readSecret reads the file with the client's secret.
func (c Config) readSecret() (Secret, error) {
	if c.ClientSecretFile == "" { // Validate says so
		return "", nil
	}
	secret, err := textfile.ReadSecret(c.ClientSecretFile)
	if err != nil {
		return "", &Fault{c.Name, "client_secret_file", fmt.Errorf("client_secret_file: %w", err)}
	}
	return Secret(secret), nil
}

// Unsafe says which of the settings are not for production; empty: none.
func (p *Provider) Unsafe() string {
	var list []string
	if p.cfg.AcceptAnyClient {
		list = append(list, "accept_any_client: a token that was issued to any other service logs its owner in here")
	}
	if p.cfg.TrustEmail {
		list = append(list, "trust_email: addresses that the provider has not verified are believed, so a person who can set one there can log in as its owner here")
	}
	if strings.HasPrefix(strings.ToLower(p.cfg.URL), "http:") {
		list = append(list, "its url is http: secrets cross the network in the clear")
	}
	return strings.Join(list, "; ")
}
