package server

import (
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// adminUnlock serves POST /admin/users/{uid}/unlock.
func (s *Server) adminUnlock(w http.ResponseWriter, r *http.Request) error {
	u, err := s.store.UnlockUser(adminActor(r), r.PathValue("uid"))
	if err != nil {
		return err
	}
	return reply.NoContent(w, s.throttle.Lift(u))
}

// liftDelayOf forgets the failed logins of the user of a uid, whom a change has just found.
func (s *Server) liftDelayOf(uid string) error {
	u, err := s.store.User(uid)
	if err != nil {
		return err
	}
	return s.throttle.Lift(u)
}

// loginDelay returns a user's login delay; nil if there is none.
func (s *Server) loginDelay(u storage.User) (*api.LoginDelay, error) {
	v, err := s.throttle.Delay(u)
	if err != nil || v.Until == 0 {
		return nil, err
	}
	return &api.LoginDelay{Failures: int(v.Failures), Until: v.Until}, nil
}
