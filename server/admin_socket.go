package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"strconv"

	"gatehouse/server/api"
	"gatehouse/server/listen"
	"gatehouse/server/reply"
)

// socketHandler serves the administration to root and to the account that the server
// runs as, and to nobody else, even if somebody has opened up the directory.
func (s *Server) socketHandler() http.Handler {
	inner := s.AdminHandler("")
	refusal := fmt.Sprintf("Only root and %s, the owner of the data directory, may administer Gatehouse", userName(uint32(os.Geteuid())))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, known := listen.Peer(r.Context())
		if !known || uid != 0 && int(uid) != os.Geteuid() {
			reply.JSON(w, http.StatusForbidden, api.Error{Message: refusal})
			return
		}
		ctx := context.WithValue(r.Context(), actorKey{}, userName(uid))
		inner.ServeHTTP(w, r.WithContext(ctx))
	})
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
