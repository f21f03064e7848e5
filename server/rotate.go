package server

import (
	"net/http"

	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// rotateToken serves POST /api/token/{id}/rotate.
func (s *Server) rotateToken(w http.ResponseWriter, r *route.Request) error {
	in := struct {
		Overlap string `json:"overlap"`
	}{tokens.DefaultOverlap}
	if err := body.JSON(r.Request, &in, true); err != nil {
		return err
	}
	overlap, err := tokens.ParseOverlap(in.Overlap)
	if err != nil {
		return err
	}
	t, err := s.own(r)
	if err != nil {
		return err
	}
	if t.Expired(s.now().UnixMilli()) {
		return tokens.ErrExpired
	}
	with := storage.ByUser
	if r.Token != nil {
		if r.Token.ID != t.ID {
			return reply.Refuse(http.StatusForbidden, "A token may rotate only itself")
		}
		with = int(r.Token.Generation)
	}
	var secret storage.Secret
	err = s.changes.Spend(r.User.ID, func() (err error) {
		t, secret, err = s.store.RotateToken(r.Actor(), t.ID, overlap, with)
		return err
	})
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, view.NewToken(t, r.User.UID, secret))
	return nil
}
