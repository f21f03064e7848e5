package oauth

import (
	"context"
	"net/url"
	"strings"
)

// google is Google. Its API is on several hosts, or all of it on the one that the
// configuration names.
type google struct {
	*client
	fixed
	oauth, userinfo string
}

func newGoogle(c *client) google {
	g := google{client: c, oauth: c.cfg.URL, userinfo: c.cfg.URL}
	if c.cfg.URL == types[Google].url {
		g.oauth, g.userinfo = "https://oauth2.googleapis.com", "https://openidconnect.googleapis.com"
	}
	g.fixed = fixed{c.cfg.URL + "/o/oauth2/v2/auth", g.oauth + "/token", strings.Fields(openIDScopes)}
	return g
}

// issued compares the audience: Google tells anybody who has the token.
func (g google) issued(ctx context.Context, token string) (string, error) {
	var t struct {
		Audience string `json:"aud"`
		Subject  string `json:"sub"`
	}
	if err := g.get(ctx, g.oauth+"/tokeninfo?access_token="+url.QueryEscape(token), "", &t); err != nil {
		return "", err
	}
	if t.Audience != g.cfg.ClientID {
		return "", refused("the token was issued to another client")
	}
	return t.Subject, nil
}

func (g google) person(ctx context.Context, token string) (Claims, error) {
	return g.userInfo(ctx, g.userinfo+"/v1/userinfo", token)
}
