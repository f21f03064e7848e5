package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"

	"gatehouse/server/api"
	"gatehouse/server/body"
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
func (s *Server) checkPassword(ctx context.Context, a guard.Attempt, username, password string) (u storage.User, err error) {
	if err := s.throttle.Check(ctx, a); err != nil {
		return u, err // without a place in the queue
	}
	done, err := s.hasher.Enter(ctx)
	if err != nil {
		return u, err
	}
	defer done()
	leave, err := s.throttle.Enter(ctx, a)
	if err != nil {
		return u, err
	}
	o := guard.Undecided
	defer func() {
		if o != guard.Undecided {
			s.throttle.Took(a)
		}
		err = leave(o, err)
	}()

	u, err = s.store.User(username)
	if err != nil && !errors.Is(err, storage.ErrNoUser) {
		return u, err
	}
	hash, err := s.store.PasswordHash(u)
	if err != nil {
		return u, err
	}
	ok, err := s.hasher.Matches(password, hash)
	if err != nil {
		return u, err
	}
	if !ok || u.State != storage.UserActive {
		o = guard.Rejected
		s.refusals.Note(u.UID, a.From)
		return u, reply.ErrInvalid
	}
	o = guard.Accepted
	s.admin.FirstLoginDone(u.UID)
	return u, nil
}

// logIn checks the name and the password in a request's fields by a method:
// route.Userpass or route.LDAP.
func (s *Server) logIn(r *route.Request, fields map[string]string, method string) (storage.User, error) {
	v, err := body.Require(fields, "username", "password")
	if err != nil {
		return storage.User{}, err
	}
	a := guard.NewAttempt(v[0], r.From)
	var u storage.User
	switch {
	case method == route.Userpass && s.config().Logins.Local:
		u, err = s.checkPassword(r.Context(), a, v[0], v[1])
	case method == route.LDAP && s.directory != nil:
		u, err = s.directory.LogIn(r.Context(), a, v[0], v[1])
	default:
		return u, reply.Refuse(http.StatusBadRequest, "The login method %q is not configured", method)
	}
	s.loginEnded(method, v[0], r.From, err)
	return u, err
}

var errNoDirectory = reply.Refuse(http.StatusNotFound, "The login method %q is not configured", route.LDAP)

// errNotLocal refuses passwords kept here where the configuration does.
var errNotLocal = reply.Refuse(http.StatusNotFound, "The login method %q is not configured", route.Userpass)

// loginEnded counts a login by name and password, or by a provider, and logs it if it
// was refused. The name is what was typed; empty: nothing was. What is no e-mail address
// can be a name in a directory only: elsewhere it may well be a password, and is left out.
func (s *Server) loginEnded(method, name string, from netip.Addr, err error) {
	s.metrics.login(method, err)
	s.watch.provider(method, err)
	if err == nil {
		return
	}
	if status, _ := reply.Status(err); status == http.StatusUnauthorized || status == http.StatusTooManyRequests {
		if method != route.LDAP && record.CheckUID(name) != nil {
			name = ""
		}
		s.refusals.Tell(method, name, from)
	}
}

// authenticateUserpass serves POST /api/authenticate/userpass.
func (s *Server) authenticateUserpass(w http.ResponseWriter, r *route.Request) error {
	if !s.config().Logins.Local {
		return errNotLocal
	}
	return s.exchange(w, r, route.Userpass)
}

// authenticateLDAP serves POST /api/authenticate/ldap.
func (s *Server) authenticateLDAP(w http.ResponseWriter, r *route.Request) error {
	if s.directory == nil {
		return errNoDirectory
	}
	return s.exchange(w, r, route.LDAP)
}

// exchange replies with a new token for a name and a password.
func (s *Server) exchange(w http.ResponseWriter, r *route.Request, method string) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	u, err := s.logIn(r, fields, method)
	if err != nil {
		return err
	}
	return s.handLogin(w, r, u)
}

// handLogin replies with a new token for a user who has logged in.
func (s *Server) handLogin(w http.ResponseWriter, r *route.Request, u storage.User) error {
	t, secret, err := s.tokens.Make(r, route.Principal{ID: u.ID, UID: u.UID}, tokens.DefaultSpec(s.config().Tokens))
	if err != nil {
		return reply.UnlessGone(err, reply.ErrInvalid)
	}
	reply.JSON(w, http.StatusOK, api.LoginToken{Secret: secret.Reveal(), ExpiresOn: view.ExpiresOn(t)})
	return nil
}

// login serves POST /api/login.
func (s *Server) login(w http.ResponseWriter, r *route.Request) error {
	if _, err := s.logInByCookie(w, r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// logInByCookie checks the name and the password that were posted, and begins a
// session. It returns the fields of the body, nil if that could not be read.
func (s *Server) logInByCookie(w http.ResponseWriter, r *route.Request) (fields map[string]string, err error) {
	if s.origins.Check(r.Request) != nil {
		return nil, reply.ErrOrigin // or another site logs its visitors in as somebody else
	}
	if fields, err = body.Fields(r.Request); err != nil {
		return nil, err
	}
	method := cmp.Or(fields["method"], route.Userpass)
	u, err := s.logIn(r, fields, method)
	if err != nil {
		return fields, err
	}
	return fields, s.beginSession(w, r, u, method)
}

// beginSession gives the browser of a user who has logged in the cookie of a new
// session. It ends the session of the cookie that the browser had before.
func (s *Server) beginSession(w http.ResponseWriter, r *route.Request, u storage.User, method string) error {
	var cookie storage.Secret
	err := s.logins.Spend(u.ID, func() (err error) {
		cookie, err = s.store.CreateSession(r.ActorOf(u.UID), u.ID, method, route.AgentOf(r.Header))
		return err
	})
	if err != nil {
		return reply.UnlessGone(err, reply.ErrInvalid)
	}
	for _, c := range r.CookiesNamed(s.cookieName()) { // the browser forgets it now
		if err := s.store.EndSession(c.Value); err != nil {
			return err
		}
	}
	c := s.cookie(cookie.Reveal(), int(storage.SessionLife.Seconds()))
	if route.ByProvider(method) {
		c.SameSite = http.SameSiteLaxMode // or the page that the provider's redirect leads to would not get it
	}
	http.SetCookie(w, c)
	return nil
}

// logout serves POST /api/logout.
func (s *Server) logout(w http.ResponseWriter, r *route.Request) error {
	if err := s.endSession(w, r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endSession ends the session of the request's cookie, and has the browser
// forget it.
func (s *Server) endSession(w http.ResponseWriter, r *route.Request) error {
	if err := s.store.EndSession(r.SessionCookie); err != nil {
		return err
	}
	http.SetCookie(w, s.cookie("", -1))
	return nil
}

// cookieName has the prefix that binds the cookie to this host and to https
// (RFC 6265bis, section 4.1.3.2), where there is https.
func (s *Server) cookieName() string {
	if s.config().Secure() {
		return "__Host-gatehouse"
	}
	return "gatehouse"
}

func (s *Server) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: s.cookieName(), Value: value, MaxAge: maxAge,
		Path: "/", HttpOnly: true, Secure: s.config().Secure(), SameSite: http.SameSiteStrictMode,
	}
}
