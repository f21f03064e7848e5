package oauth

import (
	"context"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
)

// gitea is a Gitea or a Forgejo.
type gitea struct{ *client }

// issued asks by introspection. Gitea up to 1.26 tells every client of every
// token, so that the audience has to be compared.
func (g gitea) issued(ctx context.Context, token string) (string, error) {
	return g.introspect(ctx, g.cfg.URL+"/login/oauth/introspect", token, true)
}

func (g gitea) person(ctx context.Context, token string) (Claims, error) {
	var user struct {
		ID         number
		Login      string
		FullName   string `json:"full_name"`
		Restricted bool
		Prohibit   bool `json:"prohibit_login"`
	}
	resp, err := g.ask(ctx, question{method: http.MethodGet, url: g.cfg.URL + "/api/v1/user", bearer: token}, &user)
	if err == nil {
		err = verdict(resp)
	}
	if err != nil {
		return Claims{}, err
	}
	if user.Prohibit {
		return Claims{}, refused("the account may not log in")
	}
	var list addresses
	resp, err = g.ask(ctx, question{method: http.MethodGet, url: g.cfg.URL + "/api/v1/user/emails", bearer: token}, &list)
	if err == nil {
		err = verdict(resp)
	}
	if err != nil {
		return Claims{}, err
	}
	name := user.FullName
	if strings.TrimSpace(name) == "" {
		name = user.Login
	}
	return Claims{Subject: string(user.ID), Emails: list.verified(), Name: name}, nil
}

func (g gitea) endpoint(context.Context) (oauth2.Endpoint, error) {
	return oauth2.Endpoint{
		AuthURL: g.cfg.URL + "/login/oauth/authorize", TokenURL: g.cfg.URL + "/login/oauth/access_token",
		AuthStyle: oauth2.AuthStyleInParams,
	}, nil
}

// scopes: without one that is not OpenID's, Gitea's tokens may do everything.
func (g gitea) scopes() []string { return []string{"read:user"} }
