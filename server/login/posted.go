package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"gatehouse/server/body"
	"gatehouse/server/guard"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

func (ls *Logins) authenticateProvider(w http.ResponseWriter, r *route.Request) error {
	p, err := ls.provider(r)
	if err != nil {
		return err
	}
	mail, token, err := readPosted(r.Request)
	if err != nil {
		return err
	}
	u, err := ls.checkPosted(r, p, mail, token)
	ls.loginEnded(p.Name(), mail, r.From, err)
	if err != nil {
		return err
	}
	return ls.handLogin(w, r, u)
}

// provider returns the provider that the path names.
func (ls *Logins) provider(r *route.Request) (*oauth.Provider, error) {
	p := ls.Providers[r.PathValue("provider")]
	if p == nil {
		return nil, reply.Refuse(http.StatusNotFound, "The login method %q is not configured", r.PathValue("provider"))
	}
	return p, nil
}

// readPosted reads {"email":"…","info":{"accessToken":"…"}}. It also takes the single
// quotes of the documented example, and that example pasted into curl, which sends JSON
// as a form unless it is told otherwise. Other fields are ignored.
func readPosted(r *http.Request) (mail, token string, err error) {
	b, err := body.Read(r)
	if err != nil {
		return "", "", err
	}
	b = bytes.TrimSpace(b)
	t, _ := body.MediaType(r)
	object := bytes.HasPrefix(b, []byte("{")) && (t == "application/x-www-form-urlencoded" || r.Header.Get("Content-Type") == "")
	if t != "application/json" && !object {
		return "", "", reply.Refuse(http.StatusUnsupportedMediaType, "Send JSON (Content-Type: application/json)")
	}
	if !json.Valid(b) {
		b = doubleQuotes(b)
	}
	if err := body.CheckJSON(b); err != nil {
		return "", "", err
	}
	var body, info map[string]json.RawMessage // maps, so that the case of names counts
	if json.Unmarshal(b, &body) != nil || json.Unmarshal(body["info"], &info) != nil {
		return "", "", reply.Refuse(http.StatusBadRequest, `The body is not like {"email":"…","info":{"accessToken":"…"}}`)
	}
	for _, f := range []struct {
		raw  json.RawMessage
		text *string
		name string
	}{{body["email"], &mail, "email"}, {info["accessToken"], &token, "info.accessToken"}} {
		var text *string
		if json.Unmarshal(f.raw, &text) != nil || text == nil {
			return "", "", reply.Refuse(http.StatusBadRequest, "The field %q is missing or not a string", f.name)
		}
		*f.text = *text
	}
	return mail, token, nil
}

// checkPosted returns the user whom a provider's token speaks for.
func (ls *Logins) checkPosted(r *route.Request, p *oauth.Provider, mail, token string) (storage.User, error) {
	a := guard.NewProviderAttempt(p.Name(), mail, r.From)
	// The wait for other logins of the account counts towards the time-out.
	ctx, cancel := context.WithTimeout(r.Context(), p.Timeout())
	defer cancel()
	u, err := ls.withinLimits(ctx, a, func(ctx context.Context) (storage.User, error) {
		claims, err := p.Verify(ctx, token)
		if err != nil {
			return storage.User{}, ls.refusedBy(p, a, mail, err)
		}
		uid, ok := claimed(claims.Emails, mail)
		if !ok {
			return storage.User{}, ls.refusedBy(p, a, mail, &oauth.Refusal{Reason: notClaimed(claims, mail), Subject: claims.Subject})
		}
		others := slices.DeleteFunc(claims.Emails, func(mail string) bool { return mail == uid })
		claims.Emails = append([]string{uid}, others...) // the first one names a new user
		return ls.admitClaims(a, p, claims)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %s: timed out behind other logins of the account", oauth.ErrUnavailable, p.Name())
	}
	if errors.Is(err, reply.ErrInvalid) {
		named, _ := ls.Store.User(mail) // if it names nobody, it is not written down
		ls.Refusals.Note(named.UID, a.From)
	}
	return u, err
}

// withinLimits calls try unless the attempt is throttled, and counts its outcome.
func (ls *Logins) withinLimits(ctx context.Context, a guard.Attempt, try func(context.Context) (storage.User, error)) (u storage.User, err error) {
	leave, err := ls.Throttle.Enter(ctx, a)
	if err != nil {
		return u, err
	}
	o := guard.Undecided
	defer func() { err = leave(o, err) }()
	u, err = try(ctx)
	switch {
	case err == nil, errors.Is(err, storage.ErrOtherAccount):
		o = guard.Accepted // the provider did vouch for somebody
	case errors.Is(err, reply.ErrInvalid):
		o = guard.Rejected
	}
	return u, err
}

// notClaimed says why a token does not prove that its owner has the posted address.
func notClaimed(c oauth.Claims, mail string) string {
	if _, ok := claimed(c.Unverified, mail); ok {
		return unverified(c)
	}
	if len(c.Emails)+len(c.Unverified) == 0 {
		return "the provider gave no address: the token may lack a scope for it, such as email"
	}
	return "the token's owner does not have the address that was posted"
}

// unverified says why an address that a provider names does not count.
func unverified(c oauth.Claims) string {
	if c.Unsaid {
		return "the provider does not say that the address is verified (there is no email_verified); if an administrator controls every address there, set trust_email"
	}
	return "the provider has not verified the address"
}

// refusedBy logs why a provider refuses a login, who tried to log in, as far as that is
// known, and from where. It returns what the client is told. The typed address is empty
// for a login by browser.
func (ls *Logins) refusedBy(p *oauth.Provider, a guard.Attempt, typed string, err error) error {
	refusal, ok := errors.AsType[*oauth.Refusal](err)
	if !ok {
		return err
	}
	if record.CheckUID(typed) != nil {
		typed = "" // it may be anything, a token for example
	}
	if u, err := ls.Store.UserByIdentity(storage.Identity{Source: p.Name(), Subject: refusal.Subject}); typed == "" && err == nil {
		typed = u.UID
	}
	ls.Log.Info("a provider refused a login", "provider", p.Name(), "reason", refusal.Reason,
		"uid", typed, "subject", refusal.Subject, "address", a.From)
	return reply.ErrInvalid
}
