package server

import (
	"net/http"
	"os"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/storage/record"
)

// adminRename serves POST /admin/users/{uid}/rename.
func (s *Server) adminRename(w http.ResponseWriter, r *http.Request) error {
	var in api.Rename
	if err := body.JSON(r, &in, false); err != nil {
		return err
	}
	uid := r.PathValue("uid")
	if record.Fold(uid) == FirstUser {
		// The file goes with the first login of that name.
		if _, err := os.Stat(s.firstLoginFile()); err == nil {
			return reply.Refuse(http.StatusConflict, "The first password of %s is still in %s: set another with `gatehouse user passwd %s` before you rename it",
				FirstUser, s.firstLoginFile(), FirstUser)
		}
	}
	return reply.NoContent(w, s.store.RenameUser(adminActor(r), uid, in.UID))
}
