package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Logout is a logout token that was checked: the provider has ended a session, or all of
// a person.
type Logout struct {
	ID      string // never sent twice
	Subject string // of the person; empty: only the session is named
	Session string // the provider's name for it (sid); empty: all of the person
}

// ErrNoLogouts means that a provider sends no logout tokens: it has no ID tokens.
var ErrNoLogouts = errors.New("only a provider of the type oidc sends logout tokens")

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutLife  = 5 * time.Minute // of a token, from its iat on
	logoutSkew  = time.Minute
)

// LogoutKept is how long a logout token's ID must be remembered.
const LogoutKept = logoutLife + 2*logoutSkew

// Logout checks a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6),
// except for whether it came before. The errors are those of Verify, and ErrNoLogouts.
func (p *Provider) Logout(ctx context.Context, token string) (l Logout, err error) {
	o, ok := p.kind.(*openID)
	if !ok {
		return l, ErrNoLogouts
	}
	err = p.client.exchange(ctx, &[]string{token}, func(ctx context.Context) (err error) {
		l, err = o.logout(ctx, token)
		return err
	})
	return l, err
}

func (o *openID) logout(ctx context.Context, token string) (l Logout, err error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return l, err
	}
	var header struct {
		Type string `json:"typ"`
	}
	first, _, _ := strings.Cut(token, ".")
	if len(token) > 16<<10 || decodePart(first, &header) != nil {
		return l, refused("the logout token is malformed")
	}
	if t := strings.ToLower(strings.TrimPrefix(header.Type, "application/")); !slices.Contains([]string{"", "jwt", "logout+jwt"}, t) {
		return l, refused("the token is of another type (typ)")
	}
	id, err := o.verify(ctx, m, token, oidc.Config{SkipExpiryCheck: true}) // checkLogout allows for skew
	if err != nil {
		return l, err
	}
	var all map[string]json.RawMessage // so that the case of names counts
	if err := id.Claims(&all); err != nil {
		return l, refused("the logout token can't be read")
	}
	return checkLogout(all, o.cfg.Now())
}

// checkLogout checks the claims that a logout token does not share with an ID token.
func checkLogout(all map[string]json.RawMessage, now time.Time) (l Logout, err error) {
	var issued, expires *float64
	var events map[string]map[string]any
	for _, c := range []struct {
		name string
		to   any
	}{{"iat", &issued}, {"exp", &expires}, {"events", &events}, {"jti", &l.ID}, {"sub", &l.Subject}, {"sid", &l.Session}} {
		if raw, sent := all[c.name]; sent && json.Unmarshal(raw, c.to) != nil {
			return Logout{}, refused("the logout token's %s is malformed", c.name)
		}
	}
	at := func(seconds *float64) time.Time { return time.UnixMilli(int64(*seconds * 1000)) }
	_, nonce := all["nonce"]
	switch {
	case nonce:
		return Logout{}, refused("it is an ID token, not a logout token (nonce)")
	case events[logoutEvent] == nil:
		return Logout{}, refused("it is not a logout token (events)")
	case issued == nil || at(issued).After(now.Add(logoutSkew)) || at(issued).Before(now.Add(-logoutLife-logoutSkew)):
		return Logout{}, refused("the logout token is not of now (iat)")
	case expires != nil && !at(expires).After(now.Add(-logoutSkew)):
		return Logout{}, refused("the logout token has expired (exp)")
	case l.ID == "" || len(l.ID) > 1024:
		return Logout{}, refused("the logout token has no usable jti")
	case l.Subject == "" && l.Session == "":
		return Logout{}, refused("the logout token names neither a person nor a session (sub, sid)")
	}
	return l, nil
}

// steady answers a request for keys from memory if the last one was just before: anybody
// can send tokens that name another key each.
type steady struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	at   time.Time
	last *http.Response
	body []byte
}

// keysEvery is how often the keys are fetched at most.
const keysEvery = 10 * time.Second

func (s *steady) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || s.now().Sub(s.at).Abs() >= keysEvery {
		resp, err := s.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			resp.Body = io.NopCloser(bytes.NewReader(b))
			return resp, err
		}
		s.at, s.last, s.body = s.now(), resp, b
	}
	again := *s.last
	again.Request, again.Body = r, io.NopCloser(bytes.NewReader(s.body))
	return &again, nil
}
