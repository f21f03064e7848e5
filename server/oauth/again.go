package oauth

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"
)

// Grant is what a login by browser provides for asking about the person again: a refresh
// token or, if the provider gives none, the access token. Both are secrets.
type Grant struct{ Refresh, Access Secret }

// Outcome is the result of asking about a person again.
type Outcome int

const (
	// Silent means that the provider says nothing about the person.
	Silent Outcome = iota
	// Lost means the same, and that the refresh token may be spent: the question was
	// sent, but the answer did not come, or could not be read or stored.
	Lost
	// Active means that the person may still log in.
	Active
	// Stopped means that the account exists, but may not log in.
	Stopped
	// Ended means that the provider no longer accepts the grant: the account is
	// deleted or stopped, the person withdrew the grant, or somebody used it before us.
	Ended
	// Spent means that the refresh token was used already, which says nothing about the
	// person. There is nothing to ask with any more.
	Spent
)

// Again asks whether a person who logged in before may still do so. Before it sends
// anything else, it calls keep with the refresh token that replaces the old one, or with the
// old one if that remains in use. Unless the outcome is Active, the error says why, for the
// log.
//
// A provider that renews refresh tokens spends the old one with its answer. So the caller
// must have noted that the question is sent before it calls Again, and must let it end.
func (p *Provider) Again(ctx context.Context, subject string, g Grant, keep func(Grant) error) (o Outcome, err error) {
	secrets := []string{string(g.Refresh), string(g.Access)}
	var why error
	err = p.client.exchange(ctx, &secrets, func(ctx context.Context) error {
		access := string(g.Access)
		if g.Refresh != "" {
			var next Grant
			if next, o, why = p.refresh(ctx, subject, g, &secrets); o != Active {
				return why
			}
			access = string(next.Access)
			next.Access = ""
			if p.cfg.Type == GitHub {
				next.Access = Secret(access)
			}
			if err := keep(next); err != nil {
				o, why = Lost, fmt.Errorf("the new refresh token was not stored: %w", err)
				return why
			}
		}
		o, why = p.standing(ctx, access, subject)
		return why
	})
	switch {
	case o == Active || err == nil:
		return o, nil
	case o == Stopped || o == Ended || o == Spent:
		return o, errors.New(scrub(reason(why), secrets))
	}
	return o, err
}

// refresh gets a new access token, and often a new refresh token (RFC 6749, section 6).
func (p *Provider) refresh(ctx context.Context, subject string, g Grant, secrets *[]string) (next Grant, o Outcome, err error) {
	endpoint, err := p.kind.endpoint(ctx)
	if err != nil {
		return next, Silent, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {string(g.Refresh)}}
	var out struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		ID      string `json:"id_token"`
		Error   string `json:"error"`
		Text    string `json:"error_description"`
	}
	// Before the first byte is on its way, nothing can be spent.
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	resp, err := p.client.ask(traced, question{method: http.MethodPost, url: endpoint.TokenURL, ours: endpoint.AuthStyle, form: form}, &out)
	*secrets = append(*secrets, out.Access, out.Refresh, out.ID)
	switch {
	case err != nil && sent.Load():
		return next, Lost, err
	case err != nil:
		return next, Silent, err
	case resp.StatusCode >= http.StatusInternalServerError:
		return next, Lost, resp.unexpected()
	case grantEnded(out.Error, out.Text):
		return next, Ended, refused("the provider no longer accepts the refresh token")
	case p.cfg.Type == Gitea && giteaSpent(out.Error, out.Text):
		return next, Spent, refused("the refresh token was used already")
	case out.Error != "" && blamesClient(out.Error):
		return next, Silent, fmt.Errorf("it does not take client_id and client_secret_file (%s)", out.Error)
	case out.Error != "" || resp.StatusCode != http.StatusOK:
		return next, Silent, resp.unexpected()
	case !wellFormed(out.Access) || out.Refresh != "" && !wellFormed(out.Refresh):
		return next, Lost, errors.New("it answered the refresh token without a usable access token")
	}
	if other := subjectOf(out.ID); other != "" && other != subject {
		return next, Lost, errors.New("it answered the refresh token with the tokens of another person")
	}
	return Grant{Refresh: cmp.Or(Secret(out.Refresh), g.Refresh), Access: Secret(out.Access)}, Active, nil
}

// grantEnded reports whether an error says that a refresh token is invalid, or no longer
// valid. Besides invalid_grant, these are the errors of GitHub and of Dex. Dex uses
// invalid_request for this and for much else, so the text decides.
func grantEnded(code, text string) bool {
	switch code {
	case "invalid_grant", "bad_refresh_token":
		return true
	case "invalid_request":
		return text == "Refresh token is invalid or has already been claimed by another client." || text == "Refresh token expired."
	}
	return false
}

// giteaSpent reports whether an error of Gitea is about a refresh token that was used
// before, or that it can't read any more. With INVALIDATE_REFRESH_TOKENS, a login of the
// same person elsewhere uses it up, too. Gitea has the same code for a wrong secret.
func giteaSpent(code, text string) bool {
	return code == "unauthorized_client" && (text == "token was already used" || text == "unable to parse refresh token")
}

// subjectOf reads whom an ID token is about. It came from the token endpoint, in answer to
// our own question, so its signature adds nothing (OpenID Connect Core 1.0, 3.1.3.7).
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if decodePart(parts[1], &claims) != nil {
		return ""
	}
	return claims.Subject
}

// standing asks about the account for which an access token was just issued. An OpenID
// provider has answered that by issuing the token.
func (p *Provider) standing(ctx context.Context, access, subject string) (Outcome, error) {
	switch k := p.kind.(type) {
	case gitHub:
		return k.standing(ctx, access, subject)
	case gitLab:
		return k.account(ctx, k.cfg.URL+"/api/v4/user", access, subject)
	case gitea:
		return k.account(ctx, k.cfg.URL+"/api/v1/user", access, subject)
	}
	return Active, nil
}

// standing asks GitHub about a token. The tokens of a suspended account are gone. GitHub also
// answers 422 if it is asked too often.
func (g gitHub) standing(ctx context.Context, token, subject string) (Outcome, error) {
	known, resp, err := g.check(ctx, token)
	switch {
	case err != nil:
		return Silent, err
	case resp.StatusCode == http.StatusNotFound:
		return Ended, refused("the provider no longer knows the token")
	case resp.StatusCode == http.StatusUnauthorized:
		return Silent, resp.ourFault()
	case resp.StatusCode != http.StatusOK:
		return Silent, resp.unexpected()
	case known.App.ClientID != g.cfg.ClientID || string(known.User.ID) != subject:
		return Silent, errors.New("it says that the token belongs to another application or person")
	}
	return Active, nil
}

// account asks Gitea or GitLab about the owner of a token. They give blocked people new
// access tokens, too, but these tokens can't be used for anything.
func (c *client) account(ctx context.Context, endpoint, token, subject string) (Outcome, error) {
	var user struct {
		ID       number
		State    string
		Prohibit bool `json:"prohibit_login"`
	}
	resp, err := c.ask(ctx, question{method: http.MethodGet, url: endpoint, bearer: token}, &user)
	if err != nil {
		return Silent, err
	}
	why := resp.complaint.forbidden()
	switch {
	case resp.StatusCode == http.StatusForbidden && !resp.limited() && why.stops:
		return Stopped, refused("%s", why.text)
	case resp.StatusCode != http.StatusOK:
		return Silent, resp.unexpected()
	case string(user.ID) != subject:
		return Silent, errors.New("it says that the token belongs to another person")
	case user.Prohibit:
		return Stopped, refused("the account may not log in")
	case user.State != "" && user.State != "active":
		return Stopped, refused("the account is %s", user.State)
	}
	return Active, nil
}

// consent adds what a login must ask for so that the provider gives a refresh token.
func (p *Provider) consent(ctx context.Context, cfg *oauth2.Config) ([]oauth2.AuthCodeOption, error) {
	if !p.cfg.Recheck {
		return nil, nil
	}
	prompt := oauth2.SetAuthURLParam("prompt", "consent")
	switch p.cfg.Type {
	case Google: // which gives one only at a consent
		return []oauth2.AuthCodeOption{oauth2.AccessTypeOffline, prompt}, nil
	case OIDC:
	default:
		return nil, nil // GitLab and Gitea give one with every code, and GitHub has none
	}
	m, err := p.kind.(*openID).metadata(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(m.Scopes) > 0 && !slices.Contains(m.Scopes, "offline_access"):
		return []oauth2.AuthCodeOption{oauth2.AccessTypeOffline, prompt}, nil // Google, as an issuer
	}
	cfg.Scopes = append(cfg.Scopes, "offline_access")
	// Without the prompt, a provider must ignore the scope (OpenID Connect Core 1.0,
	// section 11). Entra ID does not, and with the prompt it asks for an
	// administrator in tenants where people may not consent.
	if u, err := url.Parse(p.cfg.URL); err == nil && slices.Contains(entra, strings.ToLower(u.Hostname())) {
		return nil, nil
	}
	return []oauth2.AuthCodeOption{prompt}, nil
}

// entra are the hosts of Entra ID.
var entra = []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "sts.windows.net"}

// grant returns what a login's tokens provide for asking again.
func (p *Provider) grant(t *oauth2.Token) (g Grant) {
	if !p.cfg.Recheck {
		return g
	}
	if wellFormed(t.RefreshToken) {
		g.Refresh = Secret(t.RefreshToken)
	}
	if p.cfg.Type == GitHub {
		g.Access = Secret(t.AccessToken)
	}
	return g
}

// Client names the client that grants belong to. Other clients can't use them.
func (p *Provider) Client() string { return p.cfg.Type + " " + p.cfg.URL + " " + p.cfg.ClientID }

// decodePart decodes a part of a JWT.
func decodePart(part string, v any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
