package server

import (
	"errors"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/guard"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// changePassword serves POST /api/password.
func (s *Server) changePassword(w http.ResponseWriter, r *route.Request) error {
	var in struct {
		Current *string `json:"current"`
		New     *string `json:"new"`
	}
	if err := body.JSON(r.Request, &in, false); err != nil {
		return err
	}
	if in.Current == nil || in.New == nil {
		return reply.Refuse(http.StatusBadRequest, `The fields "current" and "new" must be strings`)
	}
	return reply.NoContent(w, s.setOwnPassword(r, *in.Current, *in.New))
}

// setOwnPassword replaces the caller's password, and ends the caller's other sessions.
// The current password is checked as at a login: somebody who has found a browser that is
// logged in can't guess it faster here than there.
func (s *Server) setOwnPassword(r *route.Request, current, password string) error {
	if !s.config().Logins.Local {
		return reply.Refuse(http.StatusForbidden, "Nobody logs in with a password that is kept here")
	}
	u, err := s.store.UserByID(r.User.ID)
	if err != nil {
		return reply.UnlessGone(err, reply.ErrCredentials)
	}
	if !u.Local() {
		return storage.ErrNotLocal
	}
	checked, err := s.checkPassword(r.Context(), guard.NewAttempt(u.UID, r.From), u.UID, current)
	if err != nil {
		return err
	}
	if checked.ID != u.ID { // it was renamed meanwhile, and somebody else has the name
		return reply.ErrCredentials
	}
	hash, err := s.hasher.Hash(r.Context(), password)
	if err != nil {
		return err
	}
	return s.endingOthers(r, func() error {
		return reply.UnlessGone(s.store.ChangePassword(r.ActorOf(u.UID), r.SessionCookie, hash), reply.ErrCredentials)
	})
}

// sessions serves GET /api/sessions.
func (s *Server) sessions(w http.ResponseWriter, r *route.Request) error {
	list, own, err := s.store.Sessions(r.User.ID, r.SessionCookie)
	if err != nil {
		return err
	}
	out := make([]api.Session, 0, len(list))
	for i, v := range list {
		out = append(out, api.Session{
			Created: v.Created, LastUsed: v.Seen, Method: v.Method, Address: v.Address, Agent: v.Agent, Current: i == own,
		})
	}
	reply.JSON(w, http.StatusOK, out)
	return nil
}

// endSessions serves DELETE /api/sessions.
func (s *Server) endSessions(w http.ResponseWriter, r *route.Request) error {
	return reply.NoContent(w, s.endOthers(r))
}

// endOthers ends the caller's other sessions.
func (s *Server) endOthers(r *route.Request) error {
	return s.endingOthers(r, func() error {
		return reply.UnlessGone(s.store.EndOtherSessions(r.Actor(), r.SessionCookie), reply.ErrCredentials)
	})
}

// endingOthers makes a change that also ends the caller's other sessions. It is never
// refused for what was changed before: somebody else may have used up the hour with one
// of those sessions. Where there is none, it counts as one of the changes that a user may
// make in an hour: each time is an event in the audit log.
func (s *Server) endingOthers(r *route.Request, change func() error) error {
	list, own, err := s.store.Sessions(r.User.ID, r.SessionCookie)
	if err != nil {
		return err
	}
	if len(list) == 1 && own == 0 {
		return s.changes.Spend(r.User.ID, change)
	}
	return change()
}

// accountPage serves GET /account: the caller's password and sessions.
func (s *Server) accountPage(w http.ResponseWriter, r *route.Request) error {
	page := web.Account{}
	if r.URL.Query().Has("changed") {
		page.Note = "Your password is changed. Your other sessions have ended."
	}
	return s.showAccount(w, r, http.StatusOK, page)
}

func (s *Server) showAccount(w http.ResponseWriter, r *route.Request, status int, page web.Account) error {
	u, err := s.store.UserByID(r.User.ID)
	if err != nil {
		return reply.UnlessGone(err, reply.ErrCredentials)
	}
	list, own, err := s.store.Sessions(r.User.ID, r.SessionCookie)
	if err != nil {
		return err
	}
	page.UID, page.Now, page.Password = u.UID, s.now(), u.Local() && s.config().Logins.Local
	for i, v := range list {
		page.List = append(page.List, web.Session{
			Address: v.Address, Agent: v.Agent, Created: when(v.Created), Seen: when(v.Seen), Current: i == own,
		})
	}
	return s.pages.Write(w, status, page)
}

// passwordForm serves POST /account/password.
func (s *Server) passwordForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	if _, err := body.Require(fields, "current", "new", "again"); err != nil {
		return err
	}
	if fields["new"] != fields["again"] {
		err = reply.Refuse(http.StatusBadRequest, "The new password was typed in two ways: type it again")
	} else {
		err = s.setOwnPassword(r, fields["current"], fields["new"])
	}
	switch status, _ := reply.Status(err); {
	case err == nil:
		return seeOther(w, "/account?changed")
	case errors.Is(err, reply.ErrInvalid):
		return s.showAccount(w, r, status, web.Account{Error: "The current password is wrong."})
	case status == http.StatusUnauthorized || status >= http.StatusInternalServerError:
		return err
	}
	status, message := s.refusal(w, r.Request, err)
	return s.showAccount(w, r, status, web.Account{Error: message + "."})
}

// sessionsForm serves POST /account/sessions.
func (s *Server) sessionsForm(w http.ResponseWriter, r *route.Request) error {
	if err := s.endOthers(r); err != nil {
		return err
	}
	return seeOther(w, "/account")
}

// toAccount serves the GET of paths that take the forms of the account, as toHome does.
func (s *Server) toAccount(w http.ResponseWriter, _ *route.Request) error {
	return seeOther(w, "/account")
}
