// Package oauth asks a provider - GitHub, GitLab, Google, Gitea, or any other
// with OpenID Connect - who somebody is. There are two ways to ask: Verify
// judges an access token that was sent to us; Begin and Finish are the two ends
// of a login by browser. Each type of provider has a file of its own.
//
// The package owns the connections to the providers. It never stores anything, and
// its errors never contain a token, a code or a secret.
//
// An access token says what its bearer may do, not who sent it. Another service
// that people log in to by the same provider has their tokens, and could use them
// here. So a token counts only if the provider says that it was issued to our
// client (RFC 9700, section 4.9). A person is the provider's subject, which is
// never given to a second person. Mail addresses are those that the provider has
// checked. The caller decides what to do with them, and must not merge accounts by
// them (CVE-2023-3128).
//
// A login has one deadline for all of its requests, and answers are bounded. Each
// provider has a limited number of requests at a time, so one that hangs delays
// only its own people. A redirect is followed only within the same origin. The
// client's secret goes only to the configured URL and, for OpenID Connect, to the
// endpoints that the issuer names. Those may be on other hosts, as with the large
// providers, but not on plain http.
package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/oauth2"
)

var (
	// ErrRefused is what every *Refusal wraps.
	ErrRefused = errors.New("refused by the provider")
	// ErrUnavailable means that there is no verdict: the provider could not be
	// asked, or gave an unusable answer.
	ErrUnavailable = errors.New("provider not available")
	// ErrNoCheck means that the provider can't say which client a token was issued
	// to.
	ErrNoCheck = errors.New("the provider has no introspection (RFC 7662), so a token can't be checked")
)

// Refusal is the error for a token or a code that proves nothing. The reason is for
// the log: the person who tries to log in must be told the same for all of them.
type Refusal struct {
	Reason  string
	Subject string // of the person, if the provider told; else empty
}

func (r *Refusal) Error() string { return "refused: " + r.Reason }
func (r *Refusal) Unwrap() error { return ErrRefused }

func refused(format string, args ...any) error { return &Refusal{Reason: fmt.Sprintf(format, args...)} }

// Claims are what a provider says of a person.
type Claims struct {
	Subject string   // never given to another person
	Emails  []string // that the provider has checked; the preferred one first, may be none
	Name    string   // as the person chose it: any text

	// Unverified are the addresses that the provider has not checked. They prove
	// nothing, and are for the log. Unsaid means that the provider says nothing about
	// it, as Entra ID does not.
	Unverified []string
	Unsaid     bool

	// Grant is what to ask again with, after a login by browser, if Config.Recheck is set.
	Grant   Grant
	Session string // the provider's name for its own session (sid), if it says one
}

// kind is what a type of providers does in its own way.
type kind interface {
	// issued refuses a token that was not issued to our client, and returns the
	// subject that it was issued for, if the provider tells.
	issued(ctx context.Context, token string) (subject string, err error)
	// person returns whom a token speaks for.
	person(ctx context.Context, token string) (Claims, error)
	// endpoint is where browsers go, and where codes are exchanged.
	endpoint(ctx context.Context) (oauth2.Endpoint, error)
	// scopes are what is needed to learn the claims, and no more.
	scopes() []string
}

// fixed is the part of a kind that does not depend on what the provider says of itself.
type fixed struct {
	authorize, token string // URLs
	wanted           []string
}

func (f fixed) endpoint(context.Context) (oauth2.Endpoint, error) {
	return oauth2.Endpoint{AuthURL: f.authorize, TokenURL: f.token, AuthStyle: oauth2.AuthStyleInParams}, nil
}

func (f fixed) scopes() []string { return f.wanted }

// Provider is one provider. It is safe for concurrent use.
type Provider struct {
	cfg    Config
	kind   kind
	client *client
	secret Secret
}

// New checks cfg and reads the file it names. It does not dial.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.WithDefaults()
	secret, err := cfg.readSecret()
	if err := errors.Join(cfg.Validate(), err); err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, secret: secret, client: newClient(cfg, secret)}
	switch cfg.Type {
	case GitHub:
		p.kind = newGitHub(p.client)
	case GitLab:
		p.kind = newGitLab(p.client)
	case Google:
		p.kind = newGoogle(p.client)
	case Gitea:
		p.kind = newGitea(p.client)
	case OIDC:
		p.kind = &openID{client: p.client}
	}
	return p, nil
}

// Name is what the provider is called in URLs.
func (p *Provider) Name() string { return p.cfg.Name }

// SameSecret reports whether both were given the same secret.
func (p *Provider) SameSecret(other *Provider) bool { return p.secret == other.secret }

// Title is what people call the provider: GitHub, or its configured name if that is
// another.
func (p *Provider) Title() string {
	if title := types[p.cfg.Type].title; p.cfg.Name == p.cfg.Type && title != "" {
		return title
	}
	return p.cfg.Name
}

// Timeout is how long a login may take in all.
func (p *Provider) Timeout() time.Duration { return p.cfg.Timeout }

// Verify returns whom an access token speaks for. The error is a *Refusal when the
// token proves nothing; else it wraps ErrNoCheck or ErrUnavailable, or is
// context.Canceled.
func (p *Provider) Verify(ctx context.Context, token string) (Claims, error) {
	if !wellFormed(token) {
		return Claims{}, refused("the token is malformed")
	}
	var claims Claims
	err := p.client.exchange(ctx, &[]string{token}, func(ctx context.Context) (err error) {
		claims, err = p.verify(ctx, token)
		return err
	})
	return claims, err
}

func (p *Provider) verify(ctx context.Context, token string) (Claims, error) {
	var subject string
	if !p.cfg.AcceptAnyClient {
		var err error
		if subject, err = p.kind.issued(ctx, token); err != nil {
			return Claims{}, err
		}
	}
	claims, err := p.kind.person(ctx, token)
	if err != nil {
		return Claims{}, about(subject, err)
	}
	if subject != "" && subject != claims.Subject {
		return Claims{}, about(subject, refused("the token was issued for one person, but speaks for another"))
	}
	if err := p.accept(&claims); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// about adds the subject to a refusal.
func about(subject string, err error) error {
	if r, ok := errors.AsType[*Refusal](err); ok {
		r.Subject = subject
	}
	return err
}

// accept refuses an unusable subject. Unusable addresses it drops: the person may have
// others. It counts the unverified ones too, if the configuration says so.
func (p *Provider) accept(c *Claims) error {
	if c.Subject == "" || len(c.Subject) > 255 || !plain(c.Subject) {
		return refused("the provider gave no usable subject")
	}
	c.Emails, c.Unverified = readable(c.Emails), readable(c.Unverified)
	if p.cfg.TrustEmail {
		c.Emails, c.Unverified = append(c.Emails, c.Unverified...), nil
	}
	return nil
}

// readable returns the addresses that can be used.
func readable(mails []string) (good []string) {
	for _, mail := range mails {
		if strings.Contains(mail, "@") && plain(mail) {
			good = append(good, mail)
		}
	}
	return good
}

// plain reports whether s is text that can be shown on one line as it is.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}

// wellFormed reports whether a token can be sent as a Bearer (RFC 6750, section
// 2.1, and a little more: providers don't all keep to it).
func wellFormed(token string) bool {
	return token != "" && len(token) <= 16<<10 && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Sorted lists providers by title, as people see them.
func Sorted(providers map[string]*Provider) []*Provider {
	return slices.SortedFunc(maps.Values(providers), func(a, b *Provider) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Title()), strings.ToLower(b.Title())), cmp.Compare(a.Name(), b.Name()))
	})
}
