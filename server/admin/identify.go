package admin

import (
	"errors"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// identify serves POST /admin/identify, for the command scan: which texts are tokens of
// this installation, and their state. It does not count as a use of the tokens, and no
// text is logged.
func (a *Admin) identify(w http.ResponseWriter, r *route.Request, q api.Texts) error {
	if len(q.Texts) > api.MaxTexts {
		return reply.Refuse(http.StatusBadRequest, "texts: at most %d at a time", api.MaxTexts)
	}
	out := api.Identified{Tokens: make([]api.Sighting, len(q.Texts))}
	for i, text := range q.Texts {
		id, generation, ok := a.store.Identify(text)
		if !ok {
			continue
		}
		state, err := a.secretState(id, generation)
		if err != nil {
			return err
		}
		out.Tokens[i] = api.Sighting{ID: id.String(), State: state}
	}
	return reply.OK(w, out, nil)
}

// found serves POST /admin/found, for scan --revoke: it revokes the tokens whose secret
// was found. The secret of a suspended token would work again later, so that counts too.
// A secret that a rotation ended says nothing about the present one.
func (a *Admin) found(w http.ResponseWriter, r *route.Request, in api.Finds) error {
	if len(in.Finds) > api.MaxFinds {
		return reply.Refuse(http.StatusBadRequest, "finds: at most %d at a time", api.MaxFinds)
	}
	places := map[storage.ID]storage.Found{}
	for _, f := range in.Finds {
		if f.Place == "" || len(f.Place) > api.MaxPlace {
			return reply.Refuse(http.StatusBadRequest, "place: say where the token was found, in at most %d bytes", api.MaxPlace)
		}
		id, generation, ok := a.store.Identify(f.Token)
		if !ok {
			continue
		}
		state, err := a.secretState(id, generation)
		if err != nil {
			return err
		}
		if _, twice := places[id]; !twice && (state == api.StateLive || state == api.StateSuspended) {
			n, err := a.Notices.Found(id, f.Place)
			if err != nil {
				return err
			}
			places[id] = storage.Found{Place: f.Place, Notice: n}
		}
	}
	n, posted, err := a.store.RevokeFound(r.Actor(), places)
	a.Revoked(n)
	a.Notices.Tell(posted)
	return reply.OK(w, api.Revoked{Revoked: n}, err)
}

// secretState is the state of a token, or StateRotated if this generation of its
// secret no longer works.
func (a *Admin) secretState(id storage.ID, generation byte) (string, error) {
	t, err := a.store.Token(id)
	if errors.Is(err, storage.ErrNoToken) {
		revoked, err := a.store.WasRevoked(id)
		if revoked {
			return api.StateRevoked, err
		}
		return api.StateUnknown, err
	}
	if err != nil {
		return "", err
	}
	state := a.view.State(t)
	if state != api.StateRevoked && !t.Accepts(generation, a.Now().UnixMilli()) {
		state = api.StateRotated
	}
	return state, nil
}
