package login

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

func (ls *Logins) beginProvider(w http.ResponseWriter, r *route.Request) error {
	return ls.orLoginPage(w, r, ls.toProvider(w, r))
}

// finishProvider serves GET /login/{provider}/callback, where the provider
// sends the browser back to.
func (ls *Logins) finishProvider(w http.ResponseWriter, r *route.Request) error {
	return ls.orLoginPage(w, r, ls.fromProvider(w, r))
}

// orLoginPage shows err on the login page to a person, to try again there. To a program
// it returns err, which is answered like any other error.
func (ls *Logins) orLoginPage(w http.ResponseWriter, r *route.Request, err error) error {
	if err == nil || !route.WantsPage(r.Request) {
		return err
	}
	status, message := ls.Refusal(w, r.Request, err)
	if errors.Is(err, reply.ErrInvalid) {
		message += ": the provider does not vouch for this login"
	}
	return ls.ShowPage(w, status, web.Login{Error: message + "."})
}

// toProvider sends the browser to the provider, with a cookie by which it is known
// when it comes back. Without that, a link could log somebody in as the person who made
// the link (login CSRF).
func (ls *Logins) toProvider(w http.ResponseWriter, r *route.Request) error {
	p, err := ls.provider(r)
	if err != nil {
		return err
	}
	next, err := nextPath(r.Request)
	if err != nil {
		return err
	}
	callback, err := ls.callback(r, p)
	if err != nil {
		return err
	}
	if err := ls.Throttle.CheckAddress(r.From); err != nil {
		return err
	}
	l, address, err := p.Begin(r.Context(), callback)
	if ls.Asked(p.Name(), err); err != nil {
		return err
	}
	cookie, err := ls.pending.begin(pendingLogin{Login: l, Provider: p.Name(), Next: next})
	if err != nil {
		return err
	}
	http.SetCookie(w, ls.browserCookie(cookie, int(PendingLife.Seconds())))
	redirect(w, address)
	return nil
}

// fromProvider begins the session of a person who comes back from the provider.
func (ls *Logins) fromProvider(w http.ResponseWriter, r *route.Request) error {
	p, err := ls.provider(r)
	if err != nil {
		return err
	}
	// The address has the code in it.
	w.Header().Set("Referrer-Policy", "no-referrer")
	u, next, err := ls.comeBack(r, p)
	ls.loginEnded(p.Name(), "", r.From, err)
	http.SetCookie(w, ls.browserCookie("", -1))
	if err != nil {
		return err
	}
	if err := ls.beginSession(w, r, u, p.Name()); err != nil {
		return err
	}
	if inAPI(next) { // which refuses a request from another site, such as a redirect from there
		return ls.Pages.Write(w, http.StatusOK, web.Onward{To: next})
	}
	redirect(w, next)
	return nil
}

// comeBack returns the user who comes back from a provider, and the path to go on to.
func (ls *Logins) comeBack(r *route.Request, p *oauth.Provider) (u storage.User, next string, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["state"]) != 1 || len(query["code"]) > 1 || len(query["error"]) > 1 {
		return u, "", reply.Refuse(http.StatusBadRequest, "The provider's answer is malformed: begin the login again")
	}
	var cookie string
	if cookies := r.CookiesNamed(ls.browserCookieName()); len(cookies) == 1 { // if there are two, one was planted
		cookie = cookies[0].Value
	}
	l, err := ls.pending.finish(cookie, p.Name(), query.Get("state"))
	if err != nil {
		return u, "", err
	}
	// There is no account to count for before the provider has named one, and a
	// code can't be guessed.
	a := guard.NewAttempt("", r.From)
	if err := ls.Throttle.CheckAddress(r.From); err != nil {
		return u, "", err
	}
	u, err = ls.finish(r, p, a, l.Login, query)
	if errors.Is(err, reply.ErrInvalid) {
		ls.Throttle.RejectFrom(r.From)
		ls.Refusals.Note("", r.From)
	}
	return u, l.Next, err
}

// finish asks the provider who came back, and admits that person.
func (ls *Logins) finish(r *route.Request, p *oauth.Provider, a guard.Attempt, l oauth.Login, query url.Values) (storage.User, error) {
	claims, err := p.Finish(r.Context(), l, query)
	if err != nil {
		return storage.User{}, ls.refusedBy(p, a, "", err)
	}
	return ls.admitClaims(a, p, claims)
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
func (ls *Logins) browserCookie(value string, maxAge int) *http.Cookie {
	c := ls.cookie(value, maxAge)
	c.Name, c.SameSite = ls.browserCookieName(), http.SameSiteLaxMode
	return c
}

func (ls *Logins) browserCookieName() string { return ls.cookieName() + "-login" }

// callback is where a provider sends browsers back to. Without public_url it is
// the address that the browser has used, when that is one of this machine's
// own; a name could be anybody's (a Host header is what the client says).
func (ls *Logins) callback(r *route.Request, p *oauth.Provider) (string, error) {
	base := strings.TrimSuffix(ls.Config().PublicURL, "/")
	if base == "" {
		if !ownAddress(r.Request) {
			return "", reply.Refuse(http.StatusBadRequest, "To log in with a provider at this address, set public_url in the configuration")
		}
		base = "http://" + r.Host
		if ls.Config().Secure() {
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

// ShowPage writes the login page, with the methods that are configured.
func (ls *Logins) ShowPage(w http.ResponseWriter, status int, page web.Login) error {
	page.Local, page.Directory = ls.Config().Logins.Local, ls.People != nil
	for _, p := range oauth.Sorted(ls.Providers) {
		page.Providers = append(page.Providers, web.Provider{Name: p.Name(), Title: p.Title()})
	}
	return ls.Pages.Write(w, status, page)
}
