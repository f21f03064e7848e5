package oauth

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

// gitHub is github.com or a GitHub Enterprise server.
type gitHub struct {
	*client
	fixed
	api string
}

func newGitHub(c *client) gitHub {
	login := fixed{c.cfg.URL + "/login/oauth/authorize", c.cfg.URL + "/login/oauth/access_token", []string{"read:user", "user:email"}}
	g := gitHub{c, login, c.cfg.URL + "/api/v3"} // GitHub Enterprise Server
	u, err := url.Parse(c.cfg.URL)
	if err != nil {
		return g
	}
	// github.com, and with data residency OCTOCORP.ghe.com, have a host for it.
	if host := strings.ToLower(u.Host); host == "github.com" || strings.HasSuffix(host, ".ghe.com") {
		g.api = u.Scheme + "://api." + host
	}
	return g
}

const gitHubJSON = "application/vnd.github+json"

// knownToken is what GitHub says of a token.
type knownToken struct {
	App struct {
		ClientID string `json:"client_id"`
	}
	User struct{ ID number }
}

// check asks "check a token".
func (g gitHub) check(ctx context.Context, token string) (known knownToken, resp *answer, err error) {
	resp, err = g.ask(ctx, question{
		method: http.MethodPost, url: g.api + "/applications/" + url.PathEscape(g.cfg.ClientID) + "/token",
		ours: oauth2.AuthStyleInHeader, json: map[string]string{"access_token": token}, accept: gitHubJSON,
	}, &known)
	return known, resp, err
}

// issued asks "check a token", which knows only tokens of the client that asks. For
// another client's token it answers 404.
func (g gitHub) issued(ctx context.Context, token string) (string, error) {
	known, resp, err := g.check(ctx, token)
	if err != nil {
		return "", err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusUnprocessableEntity:
		return "", refused("the token was not issued to client_id, or is revoked")
	case http.StatusUnauthorized:
		return "", resp.ourFault()
	default:
		if resp.unreadable() {
			return "", resp.notUnderstood()
		}
		return "", resp.unexpected()
	}
	if known.App.ClientID != g.cfg.ClientID {
		return "", refused("the token was issued to another client")
	}
	return string(known.User.ID), nil
}

func (g gitHub) person(ctx context.Context, token string) (Claims, error) {
	var user struct {
		ID    number
		Login string
		Name  string
	}
	resp, err := g.ask(ctx, question{method: http.MethodGet, url: g.api + "/user", bearer: token, accept: gitHubJSON}, &user)
	if err == nil {
		err = resp.verdict()
	}
	if err != nil {
		return Claims{}, err
	}
	emails, unverified, err := g.emails(ctx, token)
	if err != nil {
		return Claims{}, err
	}
	return Claims{Subject: string(user.ID), Emails: emails, Unverified: unverified, Name: cmp.Or(user.Name, user.Login)}, nil
}

// emails lists the addresses. The field email of a user is what that
// person shows to the public, and is never looked at.
func (g gitHub) emails(ctx context.Context, token string) (verified, unverified []string, err error) {
	const maxPages = 10
	var list addresses
	next := g.api + "/user/emails?per_page=100"
	for range maxPages {
		var page addresses
		resp, err := g.ask(ctx, question{method: http.MethodGet, url: next, bearer: token, accept: gitHubJSON}, &page)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode == http.StatusNotFound {
			return nil, nil, refused("the token lacks the scope user:email")
		}
		if err := resp.verdict(); err != nil {
			return nil, nil, err
		}
		list = append(list, page...)
		if next = nextPage(resp.Response); next == "" {
			break
		}
	}
	verified, unverified = list.sorted()
	return verified, unverified, nil
}

// addresses is a list of them as GitHub and Gitea send it.
type addresses []struct {
	Email    string
	Primary  bool
	Verified bool
}

// sorted lists the verified ones and the others, each with the primary one first.
func (a addresses) sorted() (verified, unverified []string) {
	for _, e := range a {
		list := &unverified
		if e.Verified {
			list = &verified
		}
		if e.Primary {
			*list = append([]string{e.Email}, *list...)
		} else {
			*list = append(*list, e.Email)
		}
	}
	return verified, unverified
}

// nextPage is the URL of a listing's next page (RFC 8288), or empty. A page on another
// host is ignored, since it would be sent the token.
func nextPage(resp *http.Response) string {
	for _, link := range strings.Split(strings.Join(resp.Header.Values("Link"), ","), ",") {
		target, params, _ := strings.Cut(link, ";")
		target = strings.TrimSpace(target)
		if !strings.Contains(params, `rel="next"`) || len(target) < 2 || target[0] != '<' || target[len(target)-1] != '>' {
			continue
		}
		u, err := resp.Request.URL.Parse(target[1 : len(target)-1])
		if err == nil && u.Scheme == resp.Request.URL.Scheme && u.Host == resp.Request.URL.Host {
			return u.String()
		}
	}
	return ""
}
