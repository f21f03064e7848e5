package admin

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

func (a *Admin) user(w http.ResponseWriter, r *route.Request) error {
	u, err := a.store.UserInfo(r.PathValue("uid"), a.staleSince())
	if err != nil {
		return err
	}
	uses, err := a.store.UsageOf(u.ID)
	if err != nil {
		return err
	}
	d := a.view.UserDetail(u, uses)
	if d.LoginDelay, err = a.loginDelay(u.User); err != nil {
		return err
	}
	if d.Service, err = a.answering(u.User); err != nil {
		return err
	}
	if d.Rechecks, err = a.rechecks(u.User); err != nil {
		return err
	}
	sessions, _, err := a.store.Sessions(u.ID, "")
	if err != nil {
		return err
	}
	for _, s := range sessions {
		d.Sessions = append(d.Sessions, api.Session{Created: s.Created, LastUsed: s.Seen, Method: s.Method, Address: s.Address, Agent: s.Agent})
	}
	return reply.OK(w, d, nil)
}

// rechecks returns what came of asking providers about a user again.
func (a *Admin) rechecks(u storage.User) (list []api.Asked, err error) {
	for _, id := range u.Identities {
		g, ok, err := a.Recheck.Known(id)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, api.Asked{
				Source: id.Source, Subject: id.Subject, Asked: a.store.Past(g.Asked), Answered: a.store.Past(g.Answered),
				Left: g.Left, Since: a.store.Past(g.Since), Doubt: g.Doubt,
			})
		}
	}
	return list, nil
}

func (a *Admin) addUser(w http.ResponseWriter, r *route.Request, n api.NewUser) error {
	if err := record.CheckUID(n.UID); err != nil {
		return err
	}
	hash, err := a.newPassword(r.Context(), &n.Password)
	if err != nil {
		return err
	}
	_, err = a.store.AddUser(r.Actor(), n.UID, n.Name, hash)
	return reply.OK(w, api.Password{Password: n.Password, Unusable: !a.Config().Logins.Local}, err)
}

func (a *Admin) setPassword(w http.ResponseWriter, r *route.Request, p api.Password) error {
	hash, err := a.newPassword(r.Context(), &p.Password)
	if err != nil {
		return err
	}
	if err := a.store.SetPassword(r.Actor(), r.PathValue("uid"), hash); err != nil {
		return err
	}
	a.FirstLoginDone(r.PathValue("uid")) // the password in that file no longer works
	p.Unusable = !a.Config().Logins.Local
	return reply.OK(w, p, a.lift(r.PathValue("uid")))
}

// newPassword hashes a password, and makes one where none is given.
func (a *Admin) newPassword(ctx context.Context, password *string) (storage.PasswordHash, error) {
	if *password == "" {
		*password = rand.Text()
	}
	return a.Hasher.Hash(ctx, *password)
}

func (a *Admin) disableUser(w http.ResponseWriter, r *route.Request) error {
	return reply.NoContent(w, a.store.DisableUser(r.Actor(), r.PathValue("uid")))
}

func (a *Admin) enableUser(w http.ResponseWriter, r *route.Request) error {
	if err := a.store.EnableUser(r.Actor(), r.PathValue("uid")); err != nil {
		return err
	}
	return reply.NoContent(w, a.lift(r.PathValue("uid")))
}

func (a *Admin) removeUser(w http.ResponseWriter, r *route.Request) error {
	if err := a.store.RemoveUser(r.Actor(), r.PathValue("uid")); err != nil {
		return err
	}
	a.FirstLoginDone(r.PathValue("uid"))
	return reply.NoContent(w, nil)
}

func (a *Admin) unlock(w http.ResponseWriter, r *route.Request) error {
	u, err := a.store.UnlockUser(r.Actor(), r.PathValue("uid"))
	if err != nil {
		return err
	}
	return reply.NoContent(w, a.Throttle.Lift(u))
}

// lift forgets the failed logins of the user uid, whom a change has just found.
func (a *Admin) lift(uid string) error {
	u, err := a.store.User(uid)
	if err != nil {
		return err
	}
	return a.Throttle.Lift(u)
}

func (a *Admin) rename(w http.ResponseWriter, r *route.Request, in api.Rename) error {
	uid := r.PathValue("uid")
	if record.Fold(uid) == FirstUser {
		// The first login of that name removes the file.
		if _, err := os.Stat(a.FirstLoginFile()); err == nil {
			return reply.Refuse(http.StatusConflict, "The first password of %s is still in %s: set another with `gatehouse user passwd %s` before you rename it",
				FirstUser, a.FirstLoginFile(), FirstUser)
		}
	}
	return reply.NoContent(w, a.store.RenameUser(r.Actor(), uid, in.UID))
}

// loginDelay returns a user's login delay; nil if there is none.
func (a *Admin) loginDelay(u storage.User) (*api.LoginDelay, error) {
	v, err := a.Throttle.Delay(u)
	if err != nil || v.Until == 0 {
		return nil, err
	}
	return &api.LoginDelay{Failures: int(v.Failures), Until: v.Until}, nil
}
