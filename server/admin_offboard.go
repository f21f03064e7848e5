package server

import (
	"net/http"

	"gatehouse/server/api"
)

var errNoOffboarding = refuse(http.StatusConflict, "There is no section [ldap] in the configuration: nobody is off-boarded")

// adminOffboard serves GET /admin/offboard: the changes that are held. Without a
// directory there are none.
func (s *Server) adminOffboard(w http.ResponseWriter, _ *http.Request) error {
	held := api.HeldSweep{Changes: []api.HeldChange{}}
	if s.offboard != nil {
		held = s.offboard.view()
	}
	reply(w, http.StatusOK, held)
	return nil
}

// adminConfirmOffboard serves POST /admin/offboard/confirm.
func (s *Server) adminConfirmOffboard(w http.ResponseWriter, r *http.Request) error {
	if s.offboard == nil {
		return errNoOffboarding
	}
	return noContent(w, s.offboard.confirm(r.Context(), adminActor(r)))
}

// view is what is held, on the wire.
func (o *offboard) view() api.HeldSweep {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := api.HeldSweep{Changes: []api.HeldChange{}}
	for _, c := range o.held {
		v.Asked = o.asked
		v.Changes = append(v.Changes, api.HeldChange{UID: c.uid, Action: c.action, Why: c.why})
	}
	return v
}
