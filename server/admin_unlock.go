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
	return reply.NoContent(w, s.liftDelay(u))
}

// bucketsOf names the counts of failed logins of a user, by every way in.
func (s *Server) bucketsOf(u storage.User) ([]string, error) {
	list := []string{accountBucket(u.UID), nameBucket(u.UID)}
	for _, id := range u.Identities {
		if id.Source != storage.SourceLDAP {
			continue
		}
		names, err := s.throttle.namesOf(personBucket(id.Subject))
		if err != nil {
			return nil, err
		}
		list = append(append(list, personBucket(id.Subject)), names...)
	}
	return list, nil
}

// liftDelay forgets the failed logins of a user.
func (s *Server) liftDelay(u storage.User) error {
	list, err := s.bucketsOf(u)
	if err != nil {
		return err
	}
	for _, bucket := range list {
		if err := s.throttle.lift(bucket); err != nil {
			return err
		}
	}
	return nil
}

// liftDelayOf does so for the user of a name, whom a change has just found.
func (s *Server) liftDelayOf(uid string) error {
	u, err := s.store.User(uid)
	if err != nil {
		return err
	}
	return s.liftDelay(u)
}

// loginDelay tells of a user's login delay; nil if there is none.
func (s *Server) loginDelay(u storage.User) (*api.LoginDelay, error) {
	list, err := s.bucketsOf(u)
	if err != nil {
		return nil, err
	}
	var longest *api.LoginDelay
	for _, bucket := range list {
		v, err := s.throttle.delay(bucket)
		if err != nil {
			return nil, err
		}
		if v.Until > 0 && (longest == nil || v.Until > longest.Until) {
			longest = &api.LoginDelay{Failures: int(v.Failures), Until: v.Until}
		}
	}
	return longest, nil
}
