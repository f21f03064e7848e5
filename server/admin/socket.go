package admin

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
	"gatehouse/server/route"
)

// peerKey is the context key of the name of who administers.
type peerKey struct{}

// OnSocket serves next to root and to the account that the server runs as, and to nobody
// else, even if somebody has opened up the directory.
func OnSocket(next http.Handler) http.Handler {
	refusal := fmt.Sprintf("Only root and %s, the owner of the data directory, may administer Gatehouse", userName(uint32(os.Geteuid())))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, known := listen.Peer(r.Context())
		if !known || uid != 0 && int(uid) != os.Geteuid() {
			reply.JSON(w, http.StatusForbidden, api.Error{Message: refusal})
			return
		}
		As(userName(uid), next).ServeHTTP(w, r)
	})
}

// As serves next to a person or program of that name in the audit log.
func As(peer string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, peer)))
	})
}

// Caller returns who sends a request on the socket. It is the authenticate of the
// administration: without a peer, nobody may do anything.
func Caller(r *http.Request) (route.Caller, error) {
	peer, _ := r.Context().Value(peerKey{}).(string)
	if peer == "" {
		return route.Caller{}, reply.ErrCredentials
	}
	return route.Caller{Peer: peer}, nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
