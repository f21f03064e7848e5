package oauth

import "context"

// gitLab is gitlab.com or a self-hosted server.
type gitLab struct {
	*client
	fixed
}

func newGitLab(c *client) gitLab {
	return gitLab{c, fixed{c.cfg.URL + "/oauth/authorize", c.cfg.URL + "/oauth/token", []string{"read_user"}}}
}

// issued asks what the token itself is. GitLab tells anybody who has the token, so the
// application's uid must be compared.
func (g gitLab) issued(ctx context.Context, token string) (string, error) {
	var info struct {
		Owner       number `json:"resource_owner_id"`
		Application struct{ UID string }
	}
	if err := g.get(ctx, g.cfg.URL+"/oauth/token/info", token, &info); err != nil {
		return "", err
	}
	if info.Application.UID != g.cfg.ClientID {
		return "", refused("the token was issued to another client")
	}
	return string(info.Owner), nil
}

// person takes the address only when it is confirmed: a new one stays in
// another field until then.
func (g gitLab) person(ctx context.Context, token string) (Claims, error) {
	var user struct {
		ID          number
		Name, State string
		Email       string
		ConfirmedAt *string `json:"confirmed_at"`
	}
	if err := g.get(ctx, g.cfg.URL+"/api/v4/user", token, &user); err != nil {
		return Claims{}, err
	}
	if user.State != "active" {
		return Claims{}, about(string(user.ID), refused("the account is %s", user.State))
	}
	c := Claims{Subject: string(user.ID), Name: user.Name}
	if user.ConfirmedAt != nil && *user.ConfirmedAt != "" {
		c.Emails = []string{user.Email}
	} else {
		c.Unverified = []string{user.Email}
	}
	return c, nil
}
