package server

import (
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/directory"
	"gatehouse/server/reply"
)

// adminOffboard serves GET /admin/offboard: what is held.
func (s *Server) adminOffboard(w http.ResponseWriter, _ *http.Request) error {
	held := api.HeldSweep{Changes: []api.HeldChange{}}
	if s.directory != nil {
		held = s.directory.Held()
	}
	held.Clock, held.Acts = s.clockDoubt(), s.heldActs()
	reply.JSON(w, http.StatusOK, held)
	return nil
}

// adminConfirmOffboard serves POST /admin/offboard/confirm. The clock comes first: what
// is held because of it can't be done before.
func (s *Server) adminConfirmOffboard(w http.ResponseWriter, r *http.Request) error {
	by, acts, doubt := adminActor(r), len(s.heldActs()) > 0, s.clockDoubt() != ""
	people := s.directory != nil && s.directory.Holding() > 0
	if !acts && !doubt && !people {
		return directory.ErrNothingHeld
	}
	if doubt {
		s.store.ConfirmTime(by)
	}
	if err := s.store.DropHeldEvents(by); err != nil {
		return err
	}
	if err := s.idle.Confirm(by); err != nil {
		return err
	}
	if !people {
		return reply.NoContent(w, nil)
	}
	return reply.NoContent(w, s.directory.Confirm(r.Context(), by))
}

// heldActs is what is held beside off-boarding.
func (s *Server) heldActs() []api.HeldAct {
	acts := append([]api.HeldAct{}, s.idle.Held()...)
	if n, of, why := s.store.HeldEvents(); why != nil {
		acts = append(acts, api.HeldAct{Action: api.HeldDropEvents, Count: n, Of: of, Why: why.Error(), Shown: "gatehouse events"})
	}
	return acts
}

// clockDoubt is why the clock is in doubt; empty if it is not.
func (s *Server) clockDoubt() string {
	if _, err := s.store.Now(); err != nil {
		return err.Error()
	}
	return ""
}
