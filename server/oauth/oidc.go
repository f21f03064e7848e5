package oauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const openIDScopes = "openid email profile"

// openID is any provider of OpenID Connect. It is asked for its endpoints once an hour
// (OpenID Connect Discovery 1.0).
type openID struct {
	*client

	mu   sync.Mutex
	meta *metadata // nil: not known yet
	read time.Time
}

// metadata is what an issuer says of itself.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	Introspection string   `json:"introspection_endpoint"` // RFC 8414
	Keys          string   `json:"jwks_uri"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
	AskAuth       []string `json:"introspection_endpoint_auth_methods_supported"`
	Scopes        []string `json:"scopes_supported"`
	NamesIssuer   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207

	keys oidc.KeySet
}

const metadataLife = time.Hour

// metadata returns the issuer's metadata, at most an hour old.
func (o *openID) metadata(ctx context.Context) (*metadata, error) {
	o.mu.Lock()
	m, fresh := o.meta, o.cfg.Now().Sub(o.read).Abs() < metadataLife
	o.mu.Unlock()
	if m != nil && fresh {
		return m, nil
	}
	m = new(metadata)
	resp, err := o.ask(ctx, question{
		method: http.MethodGet, url: strings.TrimSuffix(o.cfg.URL, "/") + "/.well-known/openid-configuration",
	}, m)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp.unexpected()
	}
	if err := m.check(o.cfg); err != nil {
		return nil, err
	}
	// The keys are fetched when they are needed, which is later than this request.
	m.keys = oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), o.keyClient()), m.Keys)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meta, o.read = m, o.cfg.Now()
	return m, nil
}

// keyClient is the client for the issuer's keys, which the library asks for
// outside of a login's deadline.
func (o *openID) keyClient() *http.Client {
	c := *o.http
	c.Timeout = o.cfg.Timeout
	c.Transport = &steady{next: c.Transport, now: time.Now}
	return &c
}

// check refuses the metadata of another issuer, whose people would be taken for this
// one's, and endpoints to which secrets would go in the clear. Endpoints on other hosts
// are allowed: the large providers have some, and somebody who can change this document
// can claim to be anybody there anyway.
func (m *metadata) check(cfg Config) error {
	if m.Issuer != cfg.URL {
		return fmt.Errorf("it calls itself the issuer %q: write the url exactly like that", m.Issuer)
	}
	for _, e := range []struct {
		name, url string
		optional  bool
	}{
		{"authorization_endpoint", m.Authorization, false},
		{"token_endpoint", m.Token, false},
		{"jwks_uri", m.Keys, false},
		{"userinfo_endpoint", m.UserInfo, true},
		{"introspection_endpoint", m.Introspection, true},
	} {
		if e.url == "" && e.optional {
			continue
		}
		plainToo := cfg.Insecure && strings.HasPrefix(cfg.URL, "http:")
		u, err := url.Parse(e.url)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && plainToo) {
			return fmt.Errorf("its %s %q is not an https URL", e.name, e.url)
		}
	}
	return nil
}

func (o *openID) issued(ctx context.Context, token string) (string, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return "", err
	}
	if m.Introspection == "" {
		return "", ErrNoCheck
	}
	return o.introspect(ctx, m.Introspection, token, styleOf(m.AskAuth))
}

// styleOf is how to send the client's credentials to an endpoint that supports these methods,
// if it says so. To try both, as the library would, spends a code twice.
func styleOf(methods []string) oauth2.AuthStyle {
	if len(methods) == 0 || slices.Contains(methods, "client_secret_basic") {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// introspect asks what a token is (RFC 7662).
func (c *client) introspect(ctx context.Context, endpoint, token string, ours oauth2.AuthStyle) (string, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	var t introspection
	resp, err := c.ask(ctx, question{method: http.MethodPost, url: endpoint, ours: ours, form: form}, &t)
	if err != nil {
		return "", err
	}
	dead := t.Active != nil && !*t.Active // Dex says so with 401
	if resp.StatusCode == http.StatusOK || dead && resp.StatusCode < http.StatusInternalServerError {
		return t.subject(c.cfg)
	}
	return "", resp.introspected()
}

// introspected judges the answer of an introspection endpoint that says nothing of
// the token. Some answer 400 for a token that they did not make, such as an ID token.
func (a *answer) introspected() error {
	rejects := a.StatusCode == http.StatusUnauthorized || a.StatusCode == http.StatusForbidden
	switch code := a.complaint.Error; {
	case a.limited():
		return a.unexpected()
	case rejects && !blamesToken(code), a.unreadable() && blamesClient(code):
		return a.ourFault()
	case rejects, a.unreadable():
		return a.notUnderstood()
	}
	return a.unexpected()
}

// introspection is the answer. The audience may be a string or a list.
type introspection struct {
	Active    *bool    `json:"active"`
	Client    string   `json:"client_id"`
	Presenter string   `json:"azp"`
	Audience  audience `json:"aud"`
	Subject   string   `json:"sub"`
	Use       string   `json:"token_use"` // not in the RFC
	Expires   float64  `json:"exp"`
}

// audience reads a list that may come as one string (RFC 7662, section 2.2).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// subject refuses a token that is not live or was issued to another client. The client
// says who asked for a token, and the audience says for whom it is meant. A token that
// another client got may well be meant for us too, but that client still has it. So the
// audience counts only if no client is named.
func (t introspection) subject(cfg Config) (string, error) {
	if t.Active == nil || !*t.Active {
		return "", refused("the provider does not know the token, or says nothing about it")
	}
	ours := len(t.Audience) == 1 && t.Audience[0] == cfg.ClientID
	for _, named := range []string{t.Presenter, t.Client} {
		if named != "" {
			ours = named == cfg.ClientID
		}
	}
	if !ours {
		return "", refused("the token was issued to another client")
	}
	if t.Use != "" && t.Use != "access_token" {
		return "", refused("the token is a %s", t.Use)
	}
	if t.Expires != 0 && t.Expires <= float64(cfg.Now().Unix()) {
		return "", refused("the token has expired")
	}
	return t.Subject, nil
}

func (o *openID) person(ctx context.Context, token string) (Claims, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return Claims{}, err
	}
	if m.UserInfo == "" {
		return Claims{}, errors.New("it has no userinfo_endpoint to ask who somebody is")
	}
	return o.userInfo(ctx, m.UserInfo, token)
}

// person is what userinfo and an ID token say of somebody (OpenID Connect Core
// 1.0, section 5.1).
type person struct {
	Subject  string `json:"sub"`
	Email    string `json:"email"`
	Verified *truth `json:"email_verified"` // nil: not sent
	Name     string `json:"name"`
	Username string `json:"preferred_username"`
}

func (p person) claims() Claims {
	c := Claims{Subject: p.Subject, Name: cmp.Or(p.Name, p.Username)}
	switch {
	case p.Email == "":
	case p.Verified != nil && bool(*p.Verified):
		c.Emails = []string{p.Email}
	default:
		c.Unverified, c.Unsaid = []string{p.Email}, p.Verified == nil
	}
	return c
}

func (c *client) userInfo(ctx context.Context, endpoint, token string) (Claims, error) {
	var p person
	err := c.get(ctx, endpoint, token, &p)
	return p.claims(), err
}

func (o *openID) endpoint(ctx context.Context) (oauth2.Endpoint, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return oauth2.Endpoint{}, err
	}
	return oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, AuthStyle: styleOf(m.TokenAuth)}, nil
}

func (o *openID) scopes() []string { return strings.Fields(openIDScopes) }

// asymmetric lists the algorithms of signatures that we can check but not make.
var asymmetric = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// identify returns the person named by the ID token that came with t. It asks userinfo
// for the address if the ID token has none.
func (o *openID) identify(ctx context.Context, t *oauth2.Token, nonce string) (Claims, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return Claims{}, err
	}
	raw, ok := t.Extra("id_token").(string)
	if !ok {
		return Claims{}, errors.New("it sent no ID token with the access token")
	}
	id, err := o.verify(ctx, m, raw, oidc.Config{})
	if err != nil {
		return Claims{}, err
	}
	var p struct {
		person
		Presenter string `json:"azp"`
		Session   string `json:"sid"`
	}
	if err := id.Claims(&p); err != nil {
		return Claims{}, errors.New("its ID token can't be read")
	}
	switch {
	case nonce == "" || id.Nonce != nonce:
		return Claims{}, refused("the ID token belongs to another login (nonce)")
	case p.Presenter != "" && p.Presenter != o.cfg.ClientID, p.Presenter == "" && len(id.Audience) > 1:
		return Claims{}, refused("the ID token was issued to another client (azp)")
	case id.AccessTokenHash != "" && id.VerifyAccessToken(t.AccessToken) != nil:
		return Claims{}, refused("the ID token belongs to another access token (at_hash)")
	}
	c := p.claims()
	c.Session = p.Session
	if p.Email != "" || m.UserInfo == "" {
		return c, nil
	}
	asked, err := o.userInfo(ctx, m.UserInfo, t.AccessToken)
	if err != nil {
		return Claims{}, err
	}
	if asked.Subject != c.Subject { // OpenID Connect Core 1.0, section 5.3.2
		return Claims{}, refused("the ID token and userinfo are about different people")
	}
	asked.Session = c.Session
	return asked, nil
}

// verify checks the signature, the issuer, the audience and, unless how says otherwise, the
// end of an ID token or a logout token. The library's errors for an invalid token and for
// keys that could not be fetched differ in their text alone.
func (o *openID) verify(ctx context.Context, m *metadata, token string, how oidc.Config) (*oidc.IDToken, error) {
	how.ClientID, how.Now = o.cfg.ClientID, o.cfg.Now
	how.SupportedSigningAlgs = slices.DeleteFunc(slices.Clone(m.Algorithms), func(a string) bool { return !slices.Contains(asymmetric, a) })
	id, err := oidc.NewVerifier(o.cfg.URL, m.keys, &how).Verify(ctx, token)
	switch {
	case err == nil:
		return id, nil
	case strings.Contains(err.Error(), "fetching keys"):
		return nil, errors.New("its keys (jwks_uri) can't be fetched")
	}
	return nil, refused("the ID token does not verify: %v", err)
}
