package login

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"

	"gatehouse/server/access"
	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// checkPassword returns the user of a name and password that match. An unknown
// user, a disabled one and a wrong password look the same and take as long.
func (ls *Logins) checkPassword(ctx context.Context, a guard.Attempt, username, password string) (u storage.User, err error) {
	if err := ls.Throttle.Check(ctx, a); err != nil {
		return u, err // without a place in the queue
	}
	done, err := ls.Hasher.Enter(ctx)
	if err != nil {
		return u, err
	}
	defer done()
	leave, err := ls.Throttle.Enter(ctx, a)
	if err != nil {
		return u, err
	}
	o := guard.Undecided
	defer func() {
		if o != guard.Undecided {
			ls.Throttle.Took(a)
		}
		err = leave(o, err)
	}()

	u, err = ls.Store.User(username)
	if err != nil && !errors.Is(err, storage.ErrNoUser) {
		return u, err
	}
	hash, err := ls.Store.PasswordHash(u)
	if err != nil {
		return u, err
	}
	ok, err := ls.Hasher.Matches(password, hash)
	if err != nil {
		return u, err
	}
	if !ok || u.State != storage.UserActive {
		o = guard.Rejected
		ls.Refusals.Note(u.UID, a.From)
		return u, reply.ErrInvalid
	}
	o = guard.Accepted
	ls.FirstLoginDone(u.UID)
	return u, nil
}

// logIn checks the name and the password in a request's fields by a method:
// route.Userpass or route.LDAP.
func (ls *Logins) logIn(r *route.Request, fields map[string]string, method string) (storage.User, error) {
	v, err := body.Require(fields, "username", "password")
	if err != nil {
		return storage.User{}, err
	}
	a := guard.NewAttempt(v[0], r.From)
	var u storage.User
	switch {
	case method == route.Userpass && ls.Config().Logins.Local:
		u, err = ls.checkPassword(r.Context(), a, v[0], v[1])
	case method == route.LDAP && ls.People != nil:
		u, err = ls.People.LogIn(r.Context(), a, v[0], v[1])
	default:
		return u, reply.Refuse(http.StatusBadRequest, "The login method %q is not configured", method)
	}
	ls.loginEnded(method, v[0], r.From, err)
	return u, err
}

var errNoDirectory = reply.Refuse(http.StatusNotFound, "The login method %q is not configured", route.LDAP)

// errNotLocal refuses passwords kept here if the configuration does.
var errNotLocal = reply.Refuse(http.StatusNotFound, "The login method %q is not configured", route.Userpass)

// loginEnded counts a login by name and password, or by a provider, and logs it if it was
// refused. The name is what was typed; it may be empty. Only a directory has names that
// are not e-mail addresses. Elsewhere such a name may well be a password, and is left
// out.
func (ls *Logins) loginEnded(method, name string, from netip.Addr, err error) {
	ls.Counted(method, err)
	ls.Asked(method, err)
	if err == nil {
		return
	}
	if status, _ := reply.Status(err); status == http.StatusUnauthorized || status == http.StatusTooManyRequests {
		if method != route.LDAP && record.CheckUID(name) != nil {
			name = ""
		}
		ls.Refusals.Tell(method, name, from)
	}
}

func (ls *Logins) authenticateUserpass(w http.ResponseWriter, r *route.Request) error {
	if !ls.Config().Logins.Local {
		return errNotLocal
	}
	return ls.exchange(w, r, route.Userpass)
}

func (ls *Logins) authenticateLDAP(w http.ResponseWriter, r *route.Request) error {
	if ls.People == nil {
		return errNoDirectory
	}
	return ls.exchange(w, r, route.LDAP)
}

// exchange replies with a new token for a name and a password.
func (ls *Logins) exchange(w http.ResponseWriter, r *route.Request, method string) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	u, err := ls.logIn(r, fields, method)
	if err != nil {
		return err
	}
	return ls.handLogin(w, r, u)
}

// handLogin replies with a new token for a user who has logged in.
func (ls *Logins) handLogin(w http.ResponseWriter, r *route.Request, u storage.User) error {
	noteLogin(r, u)
	t, secret, err := ls.Tokens.Make(r, route.Principal{ID: u.ID, UID: u.UID}, tokens.DefaultSpec(ls.Config().Tokens))
	if err != nil {
		return reply.UnlessGone(err, reply.ErrInvalid)
	}
	return reply.OK(w, api.LoginToken{Secret: secret.Reveal(), ExpiresOn: view.ExpiresOn(t)}, nil)
}

// noteLogin makes the access log name the user who logged in.
func noteLogin(r *route.Request, u storage.User) {
	if record := access.Of(r.Request); record != nil {
		record.UID = u.UID
	}
}

func (ls *Logins) login(w http.ResponseWriter, r *route.Request) error {
	_, err := ls.ByCookie(w, r)
	return reply.NoContent(w, err)
}

// ByCookie checks the name and the password that were posted, and begins a
// session. It returns the fields of the body, nil if that could not be read.
func (ls *Logins) ByCookie(w http.ResponseWriter, r *route.Request) (fields map[string]string, err error) {
	if ls.Origins.Check(r.Request) != nil {
		return nil, reply.ErrOrigin // otherwise another site could log its visitors in as somebody else
	}
	if fields, err = body.Fields(r.Request); err != nil {
		return nil, err
	}
	method := cmp.Or(fields["method"], route.Userpass)
	u, err := ls.logIn(r, fields, method)
	if err != nil {
		return fields, err
	}
	return fields, ls.beginSession(w, r, u, method)
}

// beginSession gives the browser of a user who has logged in the cookie of a new
// session. It ends the session of the cookie that the browser had before.
func (ls *Logins) beginSession(w http.ResponseWriter, r *route.Request, u storage.User, method string) error {
	noteLogin(r, u)
	var cookie storage.Secret
	err := ls.sessions.Spend(u.ID, func() (err error) {
		cookie, err = ls.Store.CreateSession(r.ActorOf(u.UID), u.ID, method, route.AgentOf(r.Header))
		return err
	})
	if err != nil {
		return reply.UnlessGone(err, reply.ErrInvalid)
	}
	for _, c := range r.CookiesNamed(ls.cookieName()) { // the browser forgets it now
		if err := ls.Store.EndSession(c.Value); err != nil {
			return err
		}
	}
	c := ls.cookie(cookie.Reveal(), int(storage.SessionLife.Seconds()))
	if route.ByProvider(method) {
		c.SameSite = http.SameSiteLaxMode // otherwise the page that the provider's redirect leads to would not get it
	}
	http.SetCookie(w, c)
	return nil
}

func (ls *Logins) logout(w http.ResponseWriter, r *route.Request) error {
	return reply.NoContent(w, ls.EndSession(w, r))
}

// EndSession ends the session of the request's cookie, and makes the browser forget the
// cookie.
func (ls *Logins) EndSession(w http.ResponseWriter, r *route.Request) error {
	if err := ls.Store.EndSession(r.SessionCookie); err != nil {
		return err
	}
	http.SetCookie(w, ls.cookie("", -1))
	return nil
}

// CookieName has the prefix that binds the cookie to this host and to https
// (RFC 6265bis, section 4.1.3.2), where there is https.
func CookieName(cfg *config.Config) string {
	if cfg.Secure() {
		return "__Host-gatehouse"
	}
	return "gatehouse"
}

func (ls *Logins) cookieName() string { return CookieName(ls.Config()) }

func (ls *Logins) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: ls.cookieName(), Value: value, MaxAge: maxAge,
		Path: "/", HttpOnly: true, Secure: ls.Config().Secure(), SameSite: http.SameSiteStrictMode,
	}
}
