package login

import (
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/guard"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

func (ls *Logins) changePassword(w http.ResponseWriter, r *route.Request) error {
	var in struct {
		Current *string `json:"current"`
		New     *string `json:"new"`
	}
	if err := body.JSON(r.Request, &in); err != nil {
		return err
	}
	if in.Current == nil || in.New == nil {
		return reply.Refuse(http.StatusBadRequest, `The fields "current" and "new" must be strings`)
	}
	return reply.NoContent(w, ls.ChangePassword(r, *in.Current, *in.New))
}

// ChangePassword replaces the caller's password, and ends the caller's other sessions.
// The current password is checked as at a login: somebody who finds a logged-in browser
// can't guess it faster here than there.
func (ls *Logins) ChangePassword(r *route.Request, current, password string) error {
	if !ls.Config().Logins.Local {
		return reply.Refuse(http.StatusForbidden, "Local passwords are switched off: change yours in the directory or at the provider")
	}
	u, err := ls.Store.UserByID(r.User.ID)
	if err != nil {
		return reply.UnlessGone(err, reply.ErrCredentials)
	}
	if !u.Local() {
		return storage.ErrNotLocal
	}
	checked, err := ls.checkPassword(r.Context(), guard.NewAttempt(u.UID, r.From), u.UID, current)
	if err != nil {
		return err
	}
	if checked.ID != u.ID { // the user was renamed since, and somebody else has the name
		return reply.ErrCredentials
	}
	hash, err := ls.Hasher.Hash(r.Context(), password)
	if err != nil {
		return err
	}
	return ls.endingOthers(r, func() error {
		return reply.UnlessGone(ls.Store.ChangePassword(r.ActorOf(u.UID), r.SessionCookie, hash), reply.ErrCredentials)
	})
}

func (ls *Logins) listSessions(w http.ResponseWriter, r *route.Request) error {
	list, own, err := ls.Store.Sessions(r.User.ID, r.SessionCookie)
	if err != nil {
		return err
	}
	out := make([]api.Session, 0, len(list))
	for i, v := range list {
		out = append(out, api.Session{
			Created: v.Created, LastUsed: v.Seen, Method: v.Method, Address: v.Address, Agent: v.Agent, Current: i == own,
		})
	}
	return reply.OK(w, out, nil)
}

func (ls *Logins) endSessions(w http.ResponseWriter, r *route.Request) error {
	return reply.NoContent(w, ls.EndOthers(r))
}

// EndOthers ends the caller's other sessions.
func (ls *Logins) EndOthers(r *route.Request) error {
	return ls.endingOthers(r, func() error {
		return reply.UnlessGone(ls.Store.EndOtherSessions(r.Actor(), r.SessionCookie), reply.ErrCredentials)
	})
}

// endingOthers makes a change that also ends the caller's other sessions. Earlier changes
// never lead to a refusal: somebody else may have used up the hour with one of those
// sessions. If there is no other session, the change counts as one of those that a user
// may make in an hour, because each is an event in the audit log.
func (ls *Logins) endingOthers(r *route.Request, change func() error) error {
	list, own, err := ls.Store.Sessions(r.User.ID, r.SessionCookie)
	if err != nil {
		return err
	}
	if len(list) == 1 && own == 0 {
		return ls.Changes.Spend(r.User.ID, change)
	}
	return change()
}
