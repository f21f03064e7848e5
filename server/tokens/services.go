package tokens

import (
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// An owner sees the service accounts and their tokens, and can rename, rotate and revoke
// these tokens by the same calls as her own (OwnIn). She can't make new ones, because a new
// token could have fewer limits than those that an administrator gave.

func (ts *Tokens) services(w http.ResponseWriter, r *route.Request) error {
	list, err := ts.ServicesOf(r)
	if err != nil {
		return err
	}
	out := make([]api.OwnService, 0, len(list))
	for _, s := range list {
		out = append(out, ts.view.OwnService(s))
	}
	return reply.OK(w, out, nil)
}

// ServicesOf lists the service accounts that the caller owns now, in the caller's turn.
func (ts *Tokens) ServicesOf(r *route.Request) ([]storage.ServiceInfo, error) {
	give, err := ts.Turns.Take(r.Context(), r.User.ID)
	if err != nil {
		return nil, err
	}
	defer give()
	return ts.Store.Services(r.User.ID, 0)
}

// ServiceIn returns the service account that the path names, if the caller owns it now. To
// others it does not exist.
func (ts *Tokens) ServiceIn(r *route.Request) (s storage.ServiceInfo, err error) {
	uid, err := record.ServiceUID(record.Fold(r.PathValue("name")))
	if err != nil {
		return s, storage.ErrNoService
	}
	s, err = ts.Store.Service(uid, 0)
	if err == nil && s.Owner.ID != r.User.ID {
		err = storage.ErrNoService
	}
	if err != nil {
		return storage.ServiceInfo{}, err
	}
	return s, nil
}

func (ts *Tokens) serviceTokens(w http.ResponseWriter, r *route.Request) error {
	s, err := ts.ServiceIn(r)
	if err != nil {
		return err
	}
	return ts.sendTokens(w, r, s.ID, func(t storage.Token) any { return ts.view.ServiceToken(t, s.UID) })
}
