package site

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"gatehouse/server/body"
	"gatehouse/server/login"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// home serves GET /: the user's tokens, or the login.
func (st *Site) home(w http.ResponseWriter, r *route.Request) error {
	var err error
	if r.Caller, err = st.Authenticate(r, route.ByCookie); err == nil {
		return st.showTokens(w, r, http.StatusOK, web.Tokens{})
	}
	if status, _ := reply.Status(err); status != http.StatusUnauthorized {
		return err
	}
	if st.ledHere(r.Request) {
		return st.Pages.Write(w, http.StatusOK, onward(r.Request))
	}
	query := r.URL.Query() // FormValue would read a body too, of any size
	page := web.Login{Next: login.LocalPath(query.Get("next"))}
	if query.Has("out") {
		page.Note = "You are logged out."
	}
	return st.Logins.ShowPage(w, http.StatusOK, page)
}

// ledHere reports whether another site led the browser here, which then sends no
// SameSite=Strict cookie even if it has one.
func (st *Site) ledHere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Method == http.MethodGet && (site == "cross-site" || site == "same-site") && len(r.CookiesNamed(login.CookieName(st.Config()))) == 0
}

// onward is a page that takes the browser here again: coming from this site, it
// sends its cookie.
func onward(r *http.Request) web.Page {
	return web.Onward{To: cmp.Or(login.LocalPath(r.URL.RequestURI()), "/")}
}

// toHome serves the GET of paths that take forms: when a form goes wrong, such a path
// stays in the browser's address bar.
func (st *Site) toHome(w http.ResponseWriter, _ *route.Request) error {
	return SeeOther(w, "/")
}

// Nobody shows the login to somebody who is not logged in. It shows the message, unless
// that says only that a credential is missing.
func (st *Site) Nobody(w http.ResponseWriter, r *http.Request, message string) error {
	if message != reply.ErrCredentials.Error() {
		return st.Logins.ShowPage(w, http.StatusUnauthorized, web.Login{Error: message + "."})
	}
	if st.ledHere(r) {
		return st.Pages.Write(w, http.StatusUnauthorized, onward(r))
	}
	page := web.Login{Note: "Log in to go on."}
	if r.Method == http.MethodGet {
		page.Next = login.LocalPath(r.URL.RequestURI())
	}
	return st.Logins.ShowPage(w, http.StatusUnauthorized, page)
}

// SeeOther answers a form: the browser gets path next.
func SeeOther(w http.ResponseWriter, path string) error {
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (st *Site) loginForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := st.Logins.ByCookie(w, r)
	if fields == nil {
		return err
	}
	next := login.LocalPath(fields["next"])
	if err != nil {
		status, message := st.Refusal(w, r.Request, err)
		if errors.Is(err, reply.ErrInvalid) {
			message += ": the user name or the password is wrong"
		}
		return st.Logins.ShowPage(w, status, web.Login{
			Username: fields["username"], Method: cmp.Or(fields["method"], route.Userpass), Next: next, Error: message + ".",
		})
	}
	return SeeOther(w, cmp.Or(next, "/"))
}

func (st *Site) logoutForm(w http.ResponseWriter, r *route.Request) error {
	if err := st.Logins.EndSession(w, r); err != nil {
		return err
	}
	return SeeOther(w, "/?out")
}

func (st *Site) renamePage(w http.ResponseWriter, r *route.Request) error {
	t, err := st.Tokens.OwnIn(r)
	if err != nil {
		return err
	}
	return st.Pages.Write(w, http.StatusOK, web.Rename{Token: st.row(t), Name: t.Name, Asked: st.asked(r, t)})
}

func (st *Site) renameForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request, "name")
	if err != nil {
		return err
	}
	t, err := st.Tokens.OwnIn(r)
	if err != nil {
		return err
	}
	if err := st.Tokens.Rename(r, t.ID, fields["name"]); err != nil {
		return st.explain(w, r, err, func(status int, message string) error {
			return st.Pages.Write(w, status, web.Rename{Token: st.row(t), Name: fields["name"], Error: message, Asked: st.asked(r, t)})
		})
	}
	return SeeOther(w, st.asked(r, t).After("renamed", t.ID.String()))
}

// revokePage serves GET /tokens/{id}/revoke: a revocation can't be undone, so
// a person is asked.
func (st *Site) revokePage(w http.ResponseWriter, r *route.Request) error {
	t, err := st.Tokens.OwnIn(r)
	if err != nil {
		return err
	}
	return st.Pages.Write(w, http.StatusOK, web.Revoke{Token: st.row(t), Asked: st.asked(r, t)})
}

func (st *Site) revokeForm(w http.ResponseWriter, r *route.Request) error {
	t, err := st.Tokens.OwnIn(r)
	if err != nil {
		return err
	}
	if _, err := st.Tokens.Revoke(r.Actor(), t.ID); err != nil {
		return st.explain(w, r, err, func(status int, message string) error {
			return st.Pages.Write(w, status, web.Revoke{Token: st.row(t), Error: message, Asked: st.asked(r, t)})
		})
	}
	return SeeOther(w, st.asked(r, t).After("revoked", t.ID.String()))
}

// asked is what each page about one token needs. The page of the list that the person came
// from, and its order, are in the query.
func (st *Site) asked(r *route.Request, t storage.Token) web.Asked {
	return web.Asked{UID: r.User.UID, Now: st.Now(), Place: place(r, st.listOf(r, t))}
}

// explain shows, in the form, an error that the person can do something about, perhaps
// later. The form keeps what was typed. It returns other errors.
func (st *Site) explain(w http.ResponseWriter, r *route.Request, err error, show func(status int, message string) error) error {
	switch status, _ := reply.Status(err); status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		status, message := st.Refusal(w, r.Request, err)
		return show(status, message+".")
	}
	return err
}

func (st *Site) asset(w http.ResponseWriter, r *route.Request) error {
	if r.WithoutCredential(login.CookieName(st.Config())) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // the name has the digest
	}
	if !st.Pages.WriteAsset(w, r.PathValue("file")) {
		return reply.ErrNoRoute
	}
	return nil
}

// when returns a time of the store, in milliseconds; 0 means none.
func when(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
