package server

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gatehouse/server/web"
	"gatehouse/storage"
)

// The web page: what people do by it, they could do by the API, and it takes
// the same ways to the store. A form is answered with a redirect, so that a
// reload repeats nothing; but a new token's secret is in no URL, so it is shown
// in the answer itself.

// home serves GET /: one's tokens, or the login.
func (s *Server) home(w http.ResponseWriter, r *request) error {
	var err error
	if r.caller, err = s.authenticate(r, byCookie); err == nil {
		return s.showTokens(w, r, http.StatusOK, web.Tokens{})
	}
	if status, _ := statusOf(err); status != http.StatusUnauthorized {
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

// ledHere reports whether another site led the browser here, which then has
// kept the cookie to itself if it has one.
func (s *Server) ledHere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Method == http.MethodGet && (site == "cross-site" || site == "same-site") && len(r.CookiesNamed(s.cookieName())) == 0
}

// onward has the browser come here again, this time by itself.
func onward(r *http.Request) web.Page {
	return web.Onward{To: cmp.Or(localPath(r.URL.RequestURI()), "/")}
}

// toHome serves the GET of what only takes forms: the address stays in the
// browser's bar after a form that went wrong.
func (s *Server) toHome(w http.ResponseWriter, _ *request) error {
	return seeOther(w, "/")
}

func seeOther(w http.ResponseWriter, path string) error {
	w.Header().Set("Location", path)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (s *Server) showLogin(w http.ResponseWriter, status int, page web.Login) error {
	page.Directory = s.directory != nil
	for _, way := range s.providers() {
		page.Providers = append(page.Providers, web.Provider(way))
	}
	return s.pages.Write(w, status, page)
}

// loginForm serves POST /login.
func (s *Server) loginForm(w http.ResponseWriter, r *request) error {
	fields, err := s.logInByCookie(w, r)
	if fields == nil {
		return err
	}
	next := localPath(fields["next"])
	if err != nil {
		status, message := s.refusal(w, r.Request, err)
		if errors.Is(err, errInvalid) {
			message += ": the user name or the password is wrong"
		}
		return s.showLogin(w, status, web.Login{
			Username: fields["username"], Method: fields["method"], Next: next, Error: message + ".",
		})
	}
	if next == "" {
		next = "/"
	}
	return seeOther(w, next)
}

// logoutForm serves POST /logout.
func (s *Server) logoutForm(w http.ResponseWriter, r *request) error {
	if err := s.endSession(w, r); err != nil {
		return err
	}
	return seeOther(w, "/?out")
}

// createForm serves POST /tokens.
func (s *Server) createForm(w http.ResponseWriter, r *request) error {
	fields, err := readFields(r.Request)
	if err != nil {
		return err
	}
	page := web.Tokens{Name: fields["name"]}
	spec, err := s.spec(tokenOptions{Name: fields["name"], ExpiresIn: fields["expiresIn"]})
	if err == nil {
		page.Made, err = s.make(r, spec)
	}
	switch status, message := statusOf(err); {
	case err == nil:
		page.Name = ""
		return s.showTokens(w, r, http.StatusOK, page)
	case status == http.StatusBadRequest || status == http.StatusForbidden:
		page.Error = sentence(message) + "."
		return s.showTokens(w, r, status, page)
	}
	return err
}

func (s *Server) make(r *request, spec storage.TokenSpec) (*web.Made, error) {
	t, secret, err := s.store.CreateToken(r.actor(r.user.UID), r.user.ID, spec)
	if err != nil {
		return nil, unlessGone(err, errCredentials)
	}
	return &web.Made{Name: t.Name, Secret: secret.Reveal(), Expires: when(t.Expires)}, nil
}

// renamePage serves GET /tokens/{id}/rename.
func (s *Server) renamePage(w http.ResponseWriter, r *request) error {
	t, err := s.own(r)
	if err != nil {
		return err
	}
	return s.pages.Write(w, http.StatusOK, web.Rename{UID: r.user.UID, ID: t.ID.String(), Name: t.Name, Number: number(r.URL.Query().Get("page"))})
}

// renameForm serves POST /tokens/{id}/rename.
func (s *Server) renameForm(w http.ResponseWriter, r *request) error {
	fields, err := readFields(r.Request)
	if err != nil {
		return err
	}
	if _, err := require(fields, "name"); err != nil {
		return err
	}
	t, err := s.own(r)
	if err != nil {
		return err
	}
	err = s.store.RenameToken(r.actor(r.user.UID), t.ID, fields["name"])
	if e := (*storage.InvalidError)(nil); errors.As(err, &e) {
		return s.pages.Write(w, http.StatusBadRequest, web.Rename{
			UID: r.user.UID, ID: t.ID.String(), Name: fields["name"], Error: sentence(e.Message) + ".", Number: number(fields["page"]),
		})
	}
	if err != nil {
		return err
	}
	return seeOther(w, backTo(fields["page"], "renamed", t.ID))
}

// revokePage serves GET /tokens/{id}/revoke: a revocation can't be undone, so
// a person is asked.
func (s *Server) revokePage(w http.ResponseWriter, r *request) error {
	t, err := s.own(r)
	if err != nil {
		return err
	}
	return s.pages.Write(w, http.StatusOK, web.Revoke{UID: r.user.UID, Now: s.now(), Token: s.row(t), Number: number(r.URL.Query().Get("page"))})
}

// revokeForm serves POST /tokens/{id}/revoke.
func (s *Server) revokeForm(w http.ResponseWriter, r *request) error {
	t, err := s.own(r)
	if err != nil {
		return err
	}
	if _, err := s.revoke(r.actor(r.user.UID), t.ID); err != nil {
		return err
	}
	fields, _ := readFields(r.Request) // where to go on is of no weight
	return seeOther(w, backTo(fields["page"], "revoked", t.ID))
}

// backTo is the page of the list from which a token was dealt with. What was
// done to it, the page finds in the store: a made-up link announces nothing.
func backTo(page, done string, id storage.ID) string {
	q := url.Values{done: {id.String()}}
	if n := number(page); n > 1 {
		q.Set("page", strconv.Itoa(n))
	}
	return "/?" + q.Encode()
}

// number reads that of a page of the list, from 1.
func number(text string) int {
	n, _ := strconv.Atoi(text)
	return max(1, n)
}

// asset serves GET /web/{file}.
func (s *Server) asset(w http.ResponseWriter, r *request) error {
	if !s.pages.WriteAsset(w, r.PathValue("file")) {
		return errNoPage
	}
	return nil
}

// when is a time of the store's, which has 0 for none.
func when(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
