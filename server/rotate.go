package server

import (
	"net/http"
	"time"

	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// rotateToken serves POST /api/token/{id}/rotate.
func (s *Server) rotateToken(w http.ResponseWriter, r *route.Request) error {
	in := struct {
		Overlap string `json:"overlap"`
	}{defaultOverlap}
	if err := body.JSON(r.Request, &in, true); err != nil {
		return err
	}
	overlap, err := parseOverlap(in.Overlap)
	if err != nil {
		return err
	}
	t, err := s.own(r)
	if err != nil {
		return err
	}
	if t.Expired(s.now().UnixMilli()) {
		return reply.Refuse(http.StatusConflict, errRotateExpired)
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

const errRotateExpired = "The token has expired: a new secret would not work either"

// defaultOverlap is how long the old secret is good when nobody says.
const defaultOverlap = "24h"

func parseOverlap(text string) (time.Duration, error) {
	if text == "0" || text == "0s" {
		return 0, nil
	}
	d, err := config.ParseSpan(text)
	if err != nil {
		return 0, reply.Refuse(http.StatusBadRequest, "overlap: %v", err)
	}
	return d, nil
}
