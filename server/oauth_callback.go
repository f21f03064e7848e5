package server

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"gatehouse/server/guard"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// beginProvider serves GET /login/{provider}.
func (s *Server) beginProvider(w http.ResponseWriter, r *route.Request) error {
	return s.orLoginPage(w, r, s.toProvider(w, r))
}

// finishProvider serves GET /login/{provider}/callback, where the provider
// sends the browser back to.
func (s *Server) finishProvider(w http.ResponseWriter, r *route.Request) error {
	return s.orLoginPage(w, r, s.fromProvider(w, r))
}

// orLoginPage shows err on the login page to a person, to try again there. To a
// program it is returned, and answered like any other.
func (s *Server) orLoginPage(w http.ResponseWriter, r *route.Request, err error) error {
	if err == nil || !route.WantsPage(r.Request) {
		return err
	}
	status, message := s.refusal(w, r.Request, err)
	if errors.Is(err, reply.ErrInvalid) {
		message += ": the provider does not vouch for this login"
	}
	return s.showLogin(w, status, web.Login{Error: message + "."})
}

// toProvider sends the browser to the provider, with a cookie by which it is known
// when it comes back. Without that, a link could log somebody in as whoever made
// the link (login CSRF).
func (s *Server) toProvider(w http.ResponseWriter, r *route.Request) error {
	p, err := s.provider(r)
	if err != nil {
		return err
	}
	next, err := nextPath(r.Request)
	if err != nil {
		return err
	}
	callback, err := s.callback(r, p)
	if err != nil {
		return err
	}
	if err := s.throttle.CheckAddress(r.From); err != nil {
		return err
	}
	l, address, err := p.Begin(r.Context(), callback)
	if s.watch.provider(p.Name(), err); err != nil {
		return err
	}
	cookie, err := s.pending.begin(pendingLogin{Login: l, Provider: p.Name(), Next: next})
	if err != nil {
		return err
	}
	http.SetCookie(w, s.browserCookie(cookie, int(pendingLife.Seconds())))
	redirect(w, address)
	return nil
}

// fromProvider begins the session of a person who comes back from the provider.
func (s *Server) fromProvider(w http.ResponseWriter, r *route.Request) error {
	p, err := s.provider(r)
	if err != nil {
		return err
	}
	// The address has the code in it.
	w.Header().Set("Referrer-Policy", "no-referrer")
	u, next, err := s.comeBack(r, p)
	s.loginEnded(p.Name(), "", r.From, err)
	http.SetCookie(w, s.browserCookie("", -1))
	if err != nil {
		return err
	}
	if err := s.beginSession(w, r, u, p.Name()); err != nil {
		return err
	}
	if inAPI(next) { // which refuses who comes from another site, as a redirect from there does
		return s.pages.Write(w, http.StatusOK, web.Onward{To: next})
	}
	redirect(w, next)
	return nil
}

// comeBack returns the user who comes back from a provider, and the path to go on to.
func (s *Server) comeBack(r *route.Request, p *oauth.Provider) (u storage.User, next string, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["state"]) != 1 || len(query["code"]) > 1 || len(query["error"]) > 1 {
		return u, "", reply.Refuse(http.StatusBadRequest, "The provider's answer is malformed: begin the login again")
	}
	var cookie string
	if cookies := r.CookiesNamed(s.browserCookieName()); len(cookies) == 1 { // of two, one was planted
		cookie = cookies[0].Value
	}
	l, err := s.pending.finish(cookie, p.Name(), query.Get("state"))
	if err != nil {
		return u, "", err
	}
	// There is no account to count for before the provider has named one, and a
	// code can't be guessed.
	a := guard.NewAttempt("", r.From)
	if err := s.throttle.CheckAddress(r.From); err != nil {
		return u, "", err
	}
	u, err = s.finish(r, p, a, l.Login, query)
	if errors.Is(err, reply.ErrInvalid) {
		s.throttle.RejectFrom(r.From)
		s.refusals.Note("", r.From)
	}
	return u, l.Next, err
}

// finish asks the provider who came back, and admits that person.
func (s *Server) finish(r *route.Request, p *oauth.Provider, a guard.Attempt, l oauth.Login, query url.Values) (storage.User, error) {
	claims, err := p.Finish(r.Context(), l, query)
	if err != nil {
		return storage.User{}, s.refusedBy(p, a, "", err)
	}
	return s.admitClaims(a, p, claims)
}

// redirect sends the browser to an address, which the caller has made or checked.
func redirect(w http.ResponseWriter, address string) {
	h := w.Header()
	h.Set("Location", address)
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusFound)
}

// browserCookie lasts for one login. It is Lax, since the way back begins at
// the provider's site.
func (s *Server) browserCookie(value string, maxAge int) *http.Cookie {
	c := s.cookie(value, maxAge)
	c.Name, c.SameSite = s.browserCookieName(), http.SameSiteLaxMode
	return c
}

func (s *Server) browserCookieName() string { return s.cookieName() + "-login" }

// callback is where a provider sends browsers back to. Without public_url it is
// the address that the browser has used, when that is one of this machine's
// own; a name could be anybody's (a Host header is what the client says).
func (s *Server) callback(r *route.Request, p *oauth.Provider) (string, error) {
	base := strings.TrimSuffix(s.config().PublicURL, "/")
	if base == "" {
		if !ownAddress(r.Request) {
			return "", reply.Refuse(http.StatusBadRequest, "To log in by a provider under this address, public_url must be set in the configuration")
		}
		base = "http://" + r.Host
		if s.config().Secure() {
			base = "https://" + r.Host
		}
	}
	return base + "/login/" + p.Name() + "/callback", nil
}

// ownAddress reports whether the request's Host is this machine by a loopback
// address, or is the very address that the request came in at.
func ownAddress(r *http.Request) bool {
	u, err := url.Parse("//" + r.Host)
	if err != nil || u.Host != r.Host || u.User != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	host, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return false
	}
	if host.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap() == host.Unmap()
}
