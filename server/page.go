package server

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gatehouse/server/body"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// The web page does nothing that the API can't do, and by the same calls of the
// store. A form is answered with a redirect, so that a reload does not send it
// again; only a new token is shown in the answer itself, since its secret must be
// in no URL.

// home serves GET /: one's tokens, or the login.
func (s *Server) home(w http.ResponseWriter, r *route.Request) error {
	var err error
	if r.Caller, err = s.authenticate(r, route.ByCookie); err == nil {
		return s.showTokens(w, r, http.StatusOK, web.Tokens{})
	}
	if status, _ := reply.Status(err); status != http.StatusUnauthorized {
		return err
	}
	if s.ledHere(r.Request) {
		return s.pages.Write(w, http.StatusOK, onward(r.Request))
	}
	query := r.URL.Query() // FormValue would read a body too, of any size
	page := web.Login{Next: localPath(query.Get("next"))}
	if query.Has("out") {
		page.Note = "You are logged out."
	}
	return s.showLogin(w, http.StatusOK, page)
}

// ledHere reports whether another site led the browser here, which then sends no
// SameSite=Strict cookie even if it has one.
func (s *Server) ledHere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Method == http.MethodGet && (site == "cross-site" || site == "same-site") && len(r.CookiesNamed(s.cookieName())) == 0
}

// onward is a page that takes the browser here again: coming from this site, it
// sends its cookie.
func onward(r *http.Request) web.Page {
	return web.Onward{To: cmp.Or(localPath(r.URL.RequestURI()), "/")}
}

// toHome serves the GET of paths that take forms: when a form goes wrong, such a path
// stays in the browser's address bar.
func (s *Server) toHome(w http.ResponseWriter, _ *route.Request) error {
	return seeOther(w, "/")
}

// seeOther answers a form: the browser gets path next.
func seeOther(w http.ResponseWriter, path string) error {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// showLogin writes the login page, with the methods that are configured.
func (s *Server) showLogin(w http.ResponseWriter, status int, page web.Login) error {
	page.Local, page.Directory = s.config().Logins.Local, s.directory != nil
	for _, p := range oauth.Sorted(s.oauth) {
		page.Providers = append(page.Providers, web.Provider{Name: p.Name(), Title: p.Title()})
	}
	return s.pages.Write(w, status, page)
}

// loginForm serves POST /login.
func (s *Server) loginForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := s.logInByCookie(w, r)
	if fields == nil {
		return err
	}
	next := localPath(fields["next"])
	if err != nil {
		status, message := s.refusal(w, r.Request, err)
		if errors.Is(err, reply.ErrInvalid) {
			message += ": the user name or the password is wrong"
		}
		return s.showLogin(w, status, web.Login{
			Username: fields["username"], Method: cmp.Or(fields["method"], route.Userpass), Next: next, Error: message + ".",
		})
	}
	if next == "" {
		next = "/"
	}
	return seeOther(w, next)
}

// logoutForm serves POST /logout.
func (s *Server) logoutForm(w http.ResponseWriter, r *route.Request) error {
	if err := s.endSession(w, r); err != nil {
		return err
	}
	return seeOther(w, "/?out")
}

// createForm serves POST /tokens.
func (s *Server) createForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	page := web.Tokens{Name: fields["name"]}
	spec, _, err := tokens.Spec(s.config().Tokens, tokens.Options{Name: fields["name"], ExpiresIn: fields["expiresIn"]})
	if err == nil {
		page.Made, err = s.showOnce(r, spec)
	}
	switch status, message := reply.Status(err); {
	case err == nil:
		page.Name = ""
		return s.showTokens(w, r, http.StatusOK, page)
	case status == http.StatusBadRequest || status == http.StatusForbidden:
		page.Error = reply.Sentence(message) + "."
		return s.showTokens(w, r, status, page)
	}
	return err
}

// showOnce creates a token, to be shown on the page this once.
func (s *Server) showOnce(r *route.Request, spec storage.TokenSpec) (*web.Made, error) {
	t, secret, err := s.tokens.Make(r, r.User, spec)
	if err != nil {
		return nil, reply.UnlessGone(err, reply.ErrCredentials)
	}
	return &web.Made{Name: t.Name, Secret: secret.Reveal(), Expires: when(t.Expires)}, nil
}

// renamePage serves GET /tokens/{id}/rename.
func (s *Server) renamePage(w http.ResponseWriter, r *route.Request) error {
	t, err := s.tokens.OwnIn(r)
	if err != nil {
		return err
	}
	return s.pages.Write(w, http.StatusOK, web.Rename{UID: r.User.UID, ID: t.ID.String(), Name: t.Name, Number: number(r.URL.Query().Get("page"))})
}

// renameForm serves POST /tokens/{id}/rename.
func (s *Server) renameForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	if _, err := body.Require(fields, "name"); err != nil {
		return err
	}
	t, err := s.tokens.OwnIn(r)
	if err != nil {
		return err
	}
	err = s.tokens.Rename(r, t.ID, fields["name"])
	if e := (*storage.InvalidError)(nil); errors.As(err, &e) {
		return s.pages.Write(w, http.StatusBadRequest, web.Rename{
			UID: r.User.UID, ID: t.ID.String(), Name: fields["name"], Error: reply.Sentence(e.Message) + ".", Number: number(fields["page"]),
		})
	}
	if err != nil {
		return err
	}
	return seeOther(w, backTo(fields["page"], "renamed", t.ID))
}

// revokePage serves GET /tokens/{id}/revoke: a revocation can't be undone, so
// a person is asked.
func (s *Server) revokePage(w http.ResponseWriter, r *route.Request) error {
	t, err := s.tokens.OwnIn(r)
	if err != nil {
		return err
	}
	return s.pages.Write(w, http.StatusOK, web.Revoke{UID: r.User.UID, Now: s.now(), Token: s.row(t), Number: number(r.URL.Query().Get("page"))})
}

// revokeForm serves POST /tokens/{id}/revoke.
func (s *Server) revokeForm(w http.ResponseWriter, r *route.Request) error {
	t, err := s.tokens.OwnIn(r)
	if err != nil {
		return err
	}
	if _, err := s.tokens.Revoke(r.Actor(), t.ID); err != nil {
		return err
	}
	fields, _ := body.Fields(r.Request) // without the page's number, it goes on to the first
	return seeOther(w, backTo(fields["page"], "revoked", t.ID))
}

// backTo is the path to the page of the list that a token is on, and says what was
// done to the token. That page checks it with the store: a made-up link has no effect.
func backTo(page, done string, id storage.ID) string {
	q := url.Values{done: {id.String()}}
	if n := number(page); n > 1 {
		q.Set("page", strconv.Itoa(n))
	}
	return "/?" + q.Encode()
}

// number reads the number of a page of the list, 1 if text is none.
func number(text string) int {
	n, _ := strconv.Atoi(text)
	return max(1, n)
}

// asset serves GET /web/{file}.
func (s *Server) asset(w http.ResponseWriter, r *route.Request) error {
	s.cacheable(w, r, "public, max-age=31536000, immutable") // the name has the digest
	if !s.pages.WriteAsset(w, r.PathValue("file")) {
		return reply.ErrNoRoute
	}
	return nil
}

// when is a time in milliseconds, of which the store has 0 for none.
func when(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
