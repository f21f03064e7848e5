package oauth

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/oauth2"
)

// gitea is a Gitea or a Forgejo.
type gitea struct {
	*client
	fixed
}

// newGitea asks for a scope that is not OpenID's: without one, Gitea's tokens may do
// everything.
func newGitea(c *client) gitea {
	return gitea{c, fixed{c.cfg.URL + "/login/oauth/authorize", c.cfg.URL + "/login/oauth/access_token", []string{"read:user"}}}
}

// issued asks by introspection. Gitea before 1.27 tells every client about every token,
// so the audience must be compared.
//
// Before it checks the client, Gitea logs in the owner of the token in the form. So it
// answers a dead token with 401, as it does a wrong client secret, and the token of a
// blocked user with an HTML page. Neither is a verdict: then the API is asked.
func (g gitea) issued(ctx context.Context, token string) (string, error) {
	subject, err := g.introspect(ctx, g.cfg.URL+"/login/oauth/introspect", token, oauth2.AuthStyleInHeader)
	if err == nil || errors.Is(err, ErrRefused) {
		return subject, err
	}
	if _, dead := g.user(ctx, token); errors.Is(dead, ErrRefused) {
		return "", dead
	}
	return "", err
}

// giteaUser is whom a token speaks for.
type giteaUser struct {
	ID       number
	Login    string
	FullName string `json:"full_name"`
	Prohibit bool   `json:"prohibit_login"`
}

func (g gitea) user(ctx context.Context, token string) (u giteaUser, err error) {
	err = g.get(ctx, g.cfg.URL+"/api/v1/user", token, &u)
	return u, err
}

func (g gitea) person(ctx context.Context, token string) (Claims, error) {
	user, err := g.user(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	if user.Prohibit {
		return Claims{}, about(string(user.ID), refused("the account may not log in"))
	}
	var list addresses
	if err := g.get(ctx, g.cfg.URL+"/api/v1/user/emails", token, &list); err != nil {
		return Claims{}, err
	}
	name := user.FullName
	if strings.TrimSpace(name) == "" {
		name = user.Login
	}
	verified, unverified := list.sorted()
	return Claims{Subject: string(user.ID), Emails: verified, Unverified: unverified, Name: name}, nil
}

// giteaCode reports whether an error of the token endpoint is about the code, or the
// verifier that came with it. Gitea says unauthorized_client then, as it does for a wrong
// secret: only the text tells the two apart.
func giteaCode(answer *oauth2.RetrieveError) bool {
	switch answer.ErrorDescription {
	case "client is not authorized", "failed PKCE code challenge":
		return answer.ErrorCode == "unauthorized_client"
	}
	return false
}
