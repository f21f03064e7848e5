package server

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// adminRoutes shows every URL of the administration. Who may connect at all,
// the socket decides (admin_socket.go).
func (s *Server) adminRoutes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /admin/ping":   s.adminPing,
		"GET /admin/status": s.adminStatus,

		"GET /admin/users":                 s.adminUsers,
		"GET /admin/users/count":           s.adminUserCount,
		"POST /admin/users":                s.adminAddUser,
		"GET /admin/users/{uid}":           s.adminUser,
		"DELETE /admin/users/{uid}":        s.adminRemoveUser,
		"POST /admin/users/{uid}/password": s.adminSetPassword,
		"POST /admin/users/{uid}/disable":  s.adminDisableUser,
		"POST /admin/users/{uid}/enable":   s.adminEnableUser,
		"POST /admin/users/{uid}/unlock":   s.adminUnlock,
		"POST /admin/users/{uid}/rename":   s.adminRename,
		"POST /admin/users/{uid}/link":     s.adminLink,
		"POST /admin/users/{uid}/unlink":   s.adminUnlink,

		"GET /admin/offboard":          s.adminOffboard,
		"POST /admin/offboard/confirm": s.adminConfirmOffboard,

		"GET /admin/tokens":              s.adminTokens,
		"GET /admin/tokens/count":        s.adminTokenCount,
		"GET /admin/tokens/matching":     s.adminMatching,
		"GET /admin/tokens/{id}":         s.adminToken,
		"POST /admin/tokens":             s.adminCreateToken,
		"POST /admin/tokens/revoke":      s.adminRevoke,
		"POST /admin/tokens/{id}/rotate": s.adminRotateToken,
		"POST /admin/tokens/{id}/rename": s.adminRenameToken,
		"POST /admin/identify":           s.adminIdentify,

		"POST /admin/revocations":            s.adminRevokeMatching,
		"POST /admin/revocations/{job}/stop": s.adminStopRevocation,

		"GET /admin/events":         s.adminEvents,
		"GET /admin/events/history": s.adminHistory,
		"GET /admin/events/verify":  s.adminVerify,
		"GET /admin/backup":         s.adminBackup,
	}
}

// AdminHandler serves the administration: on the unix socket, or in the
// process of a command when no server runs. It must never be reachable by TCP.
// Where the socket has not noted who connected, the audit log names the actor.
func (s *Server) AdminHandler(actor string) http.Handler {
	var list []route.Route
	for pattern, serve := range s.adminRoutes() {
		list = append(list, route.Route{Pattern: pattern, Class: route.Admin, Serve: func(w http.ResponseWriter, r *route.Request) error {
			return serve(w, r.Request)
		}})
	}
	return reply.Unstored(s.mux(list, func(rt route.Route) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(actorKey{}) == nil {
				r = r.WithContext(context.WithValue(r.Context(), actorKey{}, actor))
			}
			if err := rt.Serve(w, &route.Request{Request: r}); err != nil {
				s.fail(w, r, err)
			}
		})
	}, s.fail))
}

// actorKey is the context key under which the socket notes who connected.
type actorKey struct{}

// adminActor is who asks, for the log.
func adminActor(r *http.Request) storage.Actor {
	name, _ := r.Context().Value(actorKey{}).(string)
	return storage.Actor{Name: name}
}

func (s *Server) adminUser(w http.ResponseWriter, r *http.Request) error {
	u, err := s.store.UserInfo(r.PathValue("uid"), s.staleSince())
	if err != nil {
		return err
	}
	uses, err := s.store.UsageOf(u.ID)
	if err != nil {
		return err
	}
	d := s.view.UserDetail(u, uses)
	if d.LoginDelay, err = s.loginDelay(u.User); err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, d)
	return nil
}

func (s *Server) adminAddUser(w http.ResponseWriter, r *http.Request) error {
	var n api.NewUser
	if err := body.JSON(r, &n, false); err != nil {
		return err
	}
	if err := record.CheckUID(n.UID); err != nil {
		return err
	}
	hash, err := s.newPassword(r.Context(), &n.Password)
	if err != nil {
		return err
	}
	if _, err := s.store.AddUser(adminActor(r), n.UID, n.Name, hash); err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, api.Password{Password: n.Password})
	return nil
}

func (s *Server) adminSetPassword(w http.ResponseWriter, r *http.Request) error {
	var p api.Password
	if err := body.JSON(r, &p, false); err != nil {
		return err
	}
	hash, err := s.newPassword(r.Context(), &p.Password)
	if err != nil {
		return err
	}
	if err := s.store.SetPassword(adminActor(r), r.PathValue("uid"), hash); err != nil {
		return err
	}
	s.firstLoginDone(r.PathValue("uid")) // what is in that file is no password any more
	if err := s.liftDelayOf(r.PathValue("uid")); err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, p)
	return nil
}

// newPassword hashes a password, and makes one where none is given.
func (s *Server) newPassword(ctx context.Context, password *string) (storage.PasswordHash, error) {
	if *password == "" {
		*password = rand.Text()
	}
	return s.hasher.Hash(ctx, *password)
}

func (s *Server) adminDisableUser(w http.ResponseWriter, r *http.Request) error {
	return reply.NoContent(w, s.store.DisableUser(adminActor(r), r.PathValue("uid")))
}

func (s *Server) adminEnableUser(w http.ResponseWriter, r *http.Request) error {
	if err := s.store.EnableUser(adminActor(r), r.PathValue("uid")); err != nil {
		return err
	}
	return reply.NoContent(w, s.liftDelayOf(r.PathValue("uid")))
}

func (s *Server) adminRemoveUser(w http.ResponseWriter, r *http.Request) error {
	return reply.NoContent(w, s.store.RemoveUser(adminActor(r), r.PathValue("uid")))
}

func (s *Server) adminCreateToken(w http.ResponseWriter, r *http.Request) error {
	var req api.TokenRequest
	if err := body.JSON(r, &req, false); err != nil {
		return err
	}
	spec, err := s.spec(tokenOptions{Name: req.Name, ExpiresIn: req.ExpiresIn, Scopes: req.Scopes, Addresses: req.Addresses})
	if err != nil {
		return err
	}
	warning, err := s.config().Tokens.CheckScopes(req.Scopes)
	if err != nil {
		return reply.Refuse(http.StatusBadRequest, "scopes: %v", err)
	}
	u, err := s.store.User(req.UID)
	if err != nil {
		return err
	}
	if u.State != storage.UserActive {
		return reply.Refuse(http.StatusConflict, "The user is not active: enable it first")
	}
	t, secret, err := s.store.CreateToken(adminActor(r), u.ID, spec)
	if err != nil {
		return err
	}
	made := view.NewToken(t, u.UID, secret)
	made.Warning = warning
	reply.JSON(w, http.StatusOK, made)
	return nil
}

// adminRevoke finds all the tokens before it revokes any.
func (s *Server) adminRevoke(w http.ResponseWriter, r *http.Request) error {
	var req api.Revocation
	if err := body.JSON(r, &req, false); err != nil {
		return err
	}
	ids := make([]storage.ID, 0, len(req.IDs))
	for _, text := range req.IDs {
		id, err := s.store.FindToken(text)
		switch {
		case errors.Is(err, storage.ErrNoToken):
			return reply.Refuse(http.StatusNotFound, "no token has an id that begins with %s", text)
		case errors.Is(err, storage.ErrAmbiguous):
			return reply.Refuse(http.StatusBadRequest, "more than one token has an id that begins with %s: type more of it", text)
		case err != nil:
			return err
		}
		ids = append(ids, id)
	}
	n, err := s.revoke(adminActor(r), ids...)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, api.Revoked{Revoked: n})
	return nil
}
