package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/listen"
	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// peer is who administers.
type peer struct {
	name string // in the audit log
	role api.Role
}

// peerKey is the context key of the peer.
type peerKey struct{}

// OnSocket serves next to root, to the account that the server runs as, and to the
// members of [admin] groups. It serves nobody else, even if somebody has opened up the
// directory. The routes say what each role may do.
func OnSocket(next http.Handler, settings func() *config.Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, known := listen.PeerOf(r.Context())
		groups := settings().Admin
		role := roleOf(p, groups.Roles())
		if !known || role == "" {
			reply.JSON(w, http.StatusForbidden, api.Error{Message: refusal(groups)})
			return
		}
		serveAs(peer{UserName(p.Person), role}, next, w, r)
	})
}

// roleOf returns the role of a process. If it has several, that is the one that may do
// most.
func roleOf(p listen.Peer, groups map[uint32]string) (role api.Role) {
	if p.UID == 0 || int(p.UID) == os.Geteuid() {
		return api.Admin
	}
	for _, gid := range p.Groups {
		if its := api.Role(groups[gid]); its.Covers(role) {
			role = its
		}
	}
	return role
}

func refusal(groups config.Admin) string {
	who := fmt.Sprintf("root and %s, the owner of the data directory,", UserName(uint32(os.Geteuid())))
	if names := slices.Sorted(maps.Keys(groups.Groups)); len(names) > 0 {
		who = fmt.Sprintf("root, %s, the owner of the data directory, and members of %s", UserName(uint32(os.Geteuid())), strings.Join(names, ", "))
	}
	return "Only " + who + " may administer Gatehouse"
}

// As serves next to the owner of the store. The audit log calls the owner by that name.
func As(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveAs(peer{name, api.Admin}, next, w, r) })
}

func serveAs(p peer, next http.Handler, w http.ResponseWriter, r *http.Request) {
	next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, p)))
}

// Caller returns who sends a request on the socket. It authenticates the requests of the
// administration: one without a peer may do nothing.
func Caller(r *http.Request) (route.Caller, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok || p.name == "" {
		return route.Caller{}, reply.ErrCredentials
	}
	return route.Caller{Peer: p.name, Role: p.role}, nil
}

// UserName names an account of this host.
func UserName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
