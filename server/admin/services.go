package admin

import (
	"errors"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

func (a *Admin) services(w http.ResponseWriter, r *route.Request) error {
	var owner storage.UserID
	if uid := r.URL.Query().Get("owner"); uid != "" {
		u, err := a.store.User(uid)
		if err != nil {
			return err
		}
		owner = u.ID
	}
	list, err := a.store.Services(owner, a.staleSince())
	if err != nil {
		return err
	}
	return a.stream(w, r, 0, func(yield func(any, error) bool) {
		for _, s := range list {
			if !yield(a.view.Service(s), nil) {
				return
			}
		}
	})
}

// serviceIn returns the uid of the service account in the path, which may be named by its
// uid too.
func serviceIn(r *route.Request) (string, error) {
	uid, err := record.ServiceUID(record.Fold(r.PathValue("name")))
	if err != nil {
		return "", storage.ErrNoService // nothing is named like this
	}
	return uid, nil
}

func (a *Admin) service(w http.ResponseWriter, r *route.Request) error {
	uid, err := serviceIn(r)
	if err != nil {
		return err
	}
	return a.showService(w, uid)
}

func (a *Admin) showService(w http.ResponseWriter, uid string) error {
	s, err := a.store.Service(uid, a.staleSince())
	if err != nil {
		return err
	}
	return reply.OK(w, a.view.Service(s), nil)
}

func (a *Admin) addService(w http.ResponseWriter, r *route.Request, n api.NewService) error {
	if err := a.there(n.Owner, n.Successor); err != nil {
		return err
	}
	u, err := a.store.AddService(r.Actor(), n.Name, n.Owner, n.Successor, n.Description)
	if err != nil {
		return err
	}
	return a.showService(w, u.UID)
}

// there refuses the first uid that nobody has, with its name: a request names several. An
// empty one is left to the store.
func (a *Admin) there(uids ...string) error {
	for _, uid := range uids {
		if _, err := a.store.User(uid); errors.Is(err, storage.ErrNoUser) && uid != "" {
			return reply.Refuse(http.StatusNotFound, "No such user: %s", uid)
		} else if err != nil && uid != "" {
			return err
		}
	}
	return nil
}

func (a *Admin) transferService(w http.ResponseWriter, r *route.Request, in api.Transfer) error {
	uid, err := serviceIn(r)
	if err != nil {
		return err
	}
	people := []string{in.Owner}
	if in.Successor != nil {
		people = append(people, *in.Successor)
	}
	if err := a.there(people...); err != nil {
		return err
	}
	if err := a.store.TransferService(r.Actor(), uid, in.Owner, in.Successor); err != nil {
		return err
	}
	return a.showService(w, uid)
}

func (a *Admin) removeService(w http.ResponseWriter, r *route.Request) error {
	uid, err := serviceIn(r)
	if err != nil {
		return err
	}
	return reply.NoContent(w, a.store.RemoveService(r.Actor(), uid))
}

// answering says who answers for a user that is a service account; nil for others.
func (a *Admin) answering(u storage.User) (*api.Answering, error) {
	if !u.IsService() {
		return nil, nil
	}
	s, err := a.store.Service(u.UID, a.staleSince())
	if err != nil {
		return nil, err
	}
	shown := a.view.Service(s).Answering
	return &shown, nil
}
