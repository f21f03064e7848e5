package oauth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Login is a login by browser that is under way. State goes to the provider through the
// browser, and comes back. The other fields are for Finish, and nobody else may read
// them.
type Login struct {
	State    string
	Verifier string // of PKCE (RFC 7636)
	Nonce    string // of OpenID Connect
	Callback string
}

// Begin returns the address at the provider to which a browser goes next. The provider
// sends it back to callback.
func (p *Provider) Begin(ctx context.Context, callback string) (Login, string, error) {
	l := Login{State: rand.Text(), Verifier: oauth2.GenerateVerifier(), Nonce: rand.Text(), Callback: callback}
	var address string
	err := p.client.exchange(ctx, new([]string), func(ctx context.Context) error {
		cfg, err := p.oauth2(ctx, callback)
		if err != nil {
			return err
		}
		options, err := p.consent(ctx, cfg)
		if err != nil {
			return err
		}
		options = append(options, oauth2.S256ChallengeOption(l.Verifier))
		if p.cfg.Type == OIDC {
			options = append(options, oidc.Nonce(l.Nonce))
		}
		address = cfg.AuthCodeURL(l.State, options...)
		return nil
	})
	return l, address, err
}

func (p *Provider) oauth2(ctx context.Context, callback string) (*oauth2.Config, error) {
	endpoint, err := p.kind.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: string(p.secret), Endpoint: endpoint,
		RedirectURL: callback, Scopes: p.kind.scopes(),
	}, nil
}

// The errors that browsers bring back instead of a code. They are only the browser's
// word, so they say nothing about the state of the provider.
var (
	// ErrDenied means that the person cancelled the login at the provider.
	ErrDenied = errors.New("the login was cancelled at the provider")
	// ErrNotNow means that the provider could not log the person in just now.
	ErrNotNow = errors.New("the provider could not log the person in")
)

// Finish returns the person who comes back from the provider with a query. The caller
// has found the login by the query's state, and checked that the browser is the one
// that began it. The errors are those of Verify, ErrDenied and ErrNotNow.
func (p *Provider) Finish(ctx context.Context, l Login, query url.Values) (Claims, error) {
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(l.State)) != 1 || l.State == "" {
		return Claims{}, refused("the state belongs to another login")
	}
	code := query.Get("code")
	var claims Claims
	secrets := []string{code, l.Verifier, l.Nonce, l.State}
	err := p.client.exchange(ctx, &secrets, func(ctx context.Context) (err error) {
		if err := p.checkIssuer(ctx, query); err != nil {
			return err
		}
		switch e := query.Get("error"); {
		case ended(e) != nil:
			return nil
		case e != "":
			return refused("the provider ended the login with %q", e)
		case len(query["code"]) != 1 || !wellFormed(code):
			return refused("the provider sent no code")
		}
		token, err := p.redeem(ctx, l, code)
		if err != nil {
			return err
		}
		secrets = append(secrets, token.AccessToken, token.RefreshToken)
		claims, err = p.owner(ctx, token, l.Nonce)
		claims.Grant = p.grant(token)
		return err
	})
	if err == nil {
		err = ended(query.Get("error"))
	}
	return claims, err
}

// ended maps an error that a browser brings back (RFC 6749, section 4.1.2.1) to one of
// ours. It returns nil for the errors that refuse the login.
func ended(code string) error {
	switch code {
	case "access_denied":
		return ErrDenied
	case "temporarily_unavailable", "server_error":
		return ErrNotNow
	}
	return nil
}

// checkIssuer checks the issuer that the answer names (RFC 9207), if it names one: one
// provider must not pass for another. Besides, each provider has a callback of its own,
// and each login belongs to one provider (RFC 9700, section 4.4.2).
func (p *Provider) checkIssuer(ctx context.Context, query url.Values) error {
	issuer, sent := query["iss"]
	switch p.cfg.Type {
	case OIDC:
		m, err := p.kind.(*openID).metadata(ctx)
		if err != nil {
			return err
		}
		if !sent && m.NamesIssuer {
			return refused("the answer names no issuer, but this provider's answers do")
		}
	case Google:
	default:
		return nil // has no issuer that is documented
	}
	if sent && (len(issuer) != 1 || issuer[0] != p.cfg.URL) {
		return refused("the answer comes from another issuer")
	}
	return nil
}

// redeem exchanges the code for an access token.
func (p *Provider) redeem(ctx context.Context, l Login, code string) (*oauth2.Token, error) {
	cfg, err := p.oauth2(ctx, l.Callback)
	if err != nil {
		return nil, err
	}
	token, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(l.Verifier))
	if err != nil {
		return nil, p.badExchange(err)
	}
	if !wellFormed(token.AccessToken) {
		return nil, errors.New("it sent no usable access token")
	}
	return token, nil
}

// owner returns the person whom a token, exchanged for a code, belongs to.
func (p *Provider) owner(ctx context.Context, token *oauth2.Token, nonce string) (claims Claims, err error) {
	o, ok := p.kind.(*openID)
	if !ok {
		return p.verify(ctx, token.AccessToken)
	}
	claims, err = o.identify(ctx, token, nonce)
	if err == nil {
		err = p.accept(&claims)
	}
	if err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// badExchange turns an error of redeem into one of ours, without the answer's text. It
// judges as answer does: the code is the only thing that the browser brought.
func (p *Provider) badExchange(err error) error {
	bad, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || bad.Response == nil {
		return err
	}
	a, code := answer{Response: bad.Response}, bad.ErrorCode
	rejects := a.StatusCode == http.StatusOK || a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden || a.unreadable()
	switch {
	case a.limited() || !rejects:
	case p.cfg.Type == Gitea && giteaCode(bad):
		return refused("the provider rejected the code (%s)", bad.ErrorDescription)
	case blamesClient(code):
		return fmt.Errorf("it rejected client_id and client_secret_file (%s)", code)
	case code == "redirect_uri_mismatch":
		return fmt.Errorf("the callback URL is not registered there (%s)", code)
	case code == "unsupported_grant_type", code == "invalid_scope":
		return fmt.Errorf("it is not set up for this kind of login (%s)", code)
	case code != "":
		return refused("the provider rejected the code (%s)", code)
	case a.unreadable():
		return refused("the provider did not recognize the code (status %d)", a.StatusCode)
	}
	return fmt.Errorf("it answered the code with status %d", a.StatusCode)
}
