package server

import (
	"errors"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// adminIdentify serves POST /admin/identify, for the command scan: which texts are
// tokens of this installation, and their state. That counts as no use of the tokens,
// and no text is logged.
func (s *Server) adminIdentify(w http.ResponseWriter, r *http.Request) error {
	var q api.Texts
	if err := body.JSON(r, &q, false); err != nil {
		return err
	}
	if len(q.Texts) > api.MaxTexts {
		return reply.Refuse(http.StatusBadRequest, "texts: at most %d at a time", api.MaxTexts)
	}
	out := api.Identified{Tokens: make([]api.Sighting, len(q.Texts))}
	for i, text := range q.Texts {
		id, generation, ok := s.store.Identify(text)
		if !ok {
			continue
		}
		state, err := s.secretState(id, generation)
		if err != nil {
			return err
		}
		out.Tokens[i] = api.Sighting{ID: id.String(), State: state}
	}
	reply.JSON(w, http.StatusOK, out)
	return nil
}

// secretState is the state of a token, or StateRotated if this generation of its
// secret no longer works.
func (s *Server) secretState(id storage.ID, generation byte) (string, error) {
	t, err := s.store.Token(id)
	if errors.Is(err, storage.ErrNoToken) {
		revoked, err := s.store.WasRevoked(id)
		if revoked {
			return api.StateRevoked, err
		}
		return api.StateUnknown, err
	}
	if err != nil {
		return "", err
	}
	state := s.view.State(t)
	if state != api.StateRevoked && !t.Accepts(generation, s.now().UnixMilli()) {
		state = api.StateRotated
	}
	return state, nil
}
