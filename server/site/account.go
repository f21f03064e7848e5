package site

import (
	"errors"
	"net/http"

	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/web"
)

// accountPage serves GET /account: the caller's password and sessions.
func (st *Site) accountPage(w http.ResponseWriter, r *route.Request) error {
	page := web.Account{}
	if r.URL.Query().Has("changed") {
		page.Note = "Your password is changed. Your other sessions have ended."
	}
	return st.showAccount(w, r, http.StatusOK, page)
}

func (st *Site) showAccount(w http.ResponseWriter, r *route.Request, status int, page web.Account) error {
	u, err := st.Store.UserByID(r.User.ID)
	if err != nil {
		return reply.UnlessGone(err, reply.ErrCredentials)
	}
	list, own, err := st.Store.Sessions(r.User.ID, r.SessionCookie)
	if err != nil {
		return err
	}
	page.UID, page.Now, page.Password = u.UID, st.Now(), u.Local() && st.Config().Logins.Local
	for i, v := range list {
		page.List = append(page.List, web.Session{
			Address: v.Address, Agent: v.Agent, Created: when(v.Created), Seen: when(v.Seen), Current: i == own,
		})
	}
	return st.Pages.Write(w, status, page)
}

func (st *Site) passwordForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request, "current", "new", "again")
	if err != nil {
		return err
	}
	if fields["new"] != fields["again"] {
		err = reply.Refuse(http.StatusBadRequest, "The two new passwords differ: type them again")
	} else {
		err = st.Logins.ChangePassword(r, fields["current"], fields["new"])
	}
	if err == nil {
		return SeeOther(w, "/account?changed")
	}
	if errors.Is(err, reply.ErrInvalid) {
		return st.showAccount(w, r, http.StatusUnauthorized, web.Account{Error: "The current password is wrong."})
	}
	return st.explain(w, r, err, func(status int, message string) error {
		return st.showAccount(w, r, status, web.Account{Error: message})
	})
}

func (st *Site) sessionsForm(w http.ResponseWriter, r *route.Request) error {
	if err := st.Logins.EndOthers(r); err != nil {
		return err
	}
	return SeeOther(w, "/account")
}

// toAccount serves the GET of paths that take the forms of the account, as toHome does.
func (st *Site) toAccount(w http.ResponseWriter, _ *route.Request) error {
	return SeeOther(w, "/account")
}
