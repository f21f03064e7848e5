package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Step is one of the things that Check tried.
type Step struct {
	Name    string
	OK      bool
	Warning bool
	Detail  string
}

// madeUp is a token that no provider has given.
const madeUp = "gatehouse-config-check"

// Check tries what logins and Again need of the provider, except a person. A step that
// fails is not an error.
func (p *Provider) Check(ctx context.Context) (steps []Step) {
	try := func(name string, do func(context.Context) (detail string, err error)) bool {
		var detail string
		err := p.client.exchange(ctx, &[]string{madeUp}, func(ctx context.Context) (err error) {
			detail, err = do(ctx)
			return err
		})
		if err != nil {
			detail = err.Error()
		}
		steps = append(steps, Step{Name: name, OK: err == nil, Detail: detail})
		return err == nil
	}
	if o, ok := p.kind.(*openID); ok {
		if !try("issuer", o.tryIssuer) || !try("keys", o.tryKeys) {
			return steps
		}
	}
	try("client", p.tryClient)
	if o, ok := p.kind.(*openID); ok && p.cfg.Recheck {
		s := Step{Name: "refresh token", OK: true, Detail: "the issuer gives refresh tokens (offline_access)"}
		if o.meta == nil || !slices.Contains(o.meta.Scopes, "offline_access") {
			s.Warning, s.Detail = true, "the issuer does not say that it gives refresh tokens (offline_access): recheck needs them"
		}
		steps = append(steps, s)
	}
	return steps
}

func (o *openID) tryIssuer(ctx context.Context) (string, error) {
	if _, err := o.metadata(ctx); err != nil {
		return "", err
	}
	return "the issuer is the url, and its endpoints can be used", nil
}

func (o *openID) tryKeys(ctx context.Context) (string, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return "", err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	resp, err := o.ask(ctx, question{method: http.MethodGet, url: m.Keys}, &set)
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode != http.StatusOK:
		return "", resp.unexpected()
	case len(set.Keys) == 0:
		return "", errors.New("it publishes no key (jwks_uri), so no ID token can be checked")
	}
	return fmt.Sprintf("it publishes %d", len(set.Keys)), nil
}

// tryClient asks about a token that does not exist. A provider that says so has accepted
// the client.
func (p *Provider) tryClient(ctx context.Context) (string, error) {
	const right = "client_id and client_secret_file are accepted"
	var o Outcome
	var err error
	if g, ok := p.kind.(gitHub); ok {
		o, err = g.standing(ctx, madeUp, "")
	} else {
		_, o, err = p.refresh(ctx, "", Grant{Refresh: madeUp}, new([]string))
	}
	switch {
	case o == Ended || o == Spent:
		return right, nil
	case err == nil:
		err = errors.New("it accepts a token that it never issued")
	}
	return "", err
}
