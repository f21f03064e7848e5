package server

import (
	"cmp"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// adminRotateToken serves POST /admin/tokens/{id}/rotate.
func (s *Server) adminRotateToken(w http.ResponseWriter, r *http.Request) error {
	var in api.Rotation
	if err := body.JSON(r, &in, true); err != nil {
		return err
	}
	overlap, err := parseOverlap(cmp.Or(in.Overlap, defaultOverlap))
	if err != nil {
		return err
	}
	if in.Hold {
		overlap = storage.MaxOverlap
	}
	id, err := s.store.FindToken(r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := s.store.Token(id)
	if err != nil {
		return err
	}
	if t.Expired(s.now().UnixMilli()) {
		return reply.Refuse(http.StatusConflict, errRotateExpired)
	}
	t, secret, err := s.store.RotateToken(adminActor(r), id, overlap, storage.ByUser)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, view.NewToken(t, s.store.UID(t.Owner), secret))
	return nil
}

// adminRenameToken serves POST /admin/tokens/{id}/rename.
func (s *Server) adminRenameToken(w http.ResponseWriter, r *http.Request) error {
	var in api.TokenName
	if err := body.JSON(r, &in, false); err != nil {
		return err
	}
	id, err := s.store.FindToken(r.PathValue("id"))
	if err != nil {
		return err
	}
	return reply.NoContent(w, s.store.RenameToken(adminActor(r), id, in.Name))
}
