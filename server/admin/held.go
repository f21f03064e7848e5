package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/directory"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// held serves GET /admin/offboard: what waits for an administrator to confirm it.
func (a *Admin) held(w http.ResponseWriter, _ *route.Request) error {
	v := api.HeldSweep{Changes: []api.HeldChange{}}
	var reasons []string
	for _, sweeps := range a.Sweeps() {
		held := sweeps.Held()
		v.Asked += held.Asked
		v.Changes = append(v.Changes, held.Changes...)
		if held.Why != "" && !slices.Contains(reasons, held.Why) {
			reasons = append(reasons, held.Why)
		}
	}
	v.Why = strings.Join(reasons, ", and because ")
	v.Clock, v.Acts = a.clockDoubt(), a.heldActs()
	return reply.OK(w, v, nil)
}

func (a *Admin) confirm(w http.ResponseWriter, r *route.Request) error {
	return reply.NoContent(w, a.confirmHeld(r.Context(), r.Actor()))
}

// confirmHeld does what is held. It confirms the clock first: what is held because of the
// clock can't be done before that. If a part can't be done, it goes on with the others.
func (a *Admin) confirmHeld(ctx context.Context, by storage.Actor) error {
	people, doubt := a.holding(), a.clockDoubt() != ""
	if people == 0 && !doubt && len(a.heldActs()) == 0 {
		return directory.ErrNothingHeld
	}
	if doubt {
		a.store.ConfirmTime(by)
	}
	failed := []error{a.store.DropHeldEvents(by), a.Idle.Confirm(by)}
	for _, sweeps := range a.Sweeps() {
		if ctx.Err() != nil {
			failed = append(failed, ctx.Err()) // the administrator has gone away
			break
		}
		failed = append(failed, sweeps.Confirm(ctx, by))
	}
	failed = slices.DeleteFunc(failed, func(err error) bool {
		return err == nil || errors.Is(err, directory.ErrNothingHeld) // or no longer
	})
	err := errors.Join(failed...)
	if len(failed) > 1 { // the reply tells only of one
		a.Log.Warn("not all that was confirmed could be done", "error", err)
	}
	return err
}

// holding returns how many changes of people are held.
func (a *Admin) holding() (n int) {
	for _, sweeps := range a.Sweeps() {
		n += sweeps.Holding()
	}
	return n
}

// heldActs returns what is held besides off-boarding.
func (a *Admin) heldActs() []api.HeldAct {
	acts := append([]api.HeldAct{}, a.Idle.Held()...)
	if n, of, why := a.store.HeldEvents(); why != nil {
		acts = append(acts, api.HeldAct{Action: api.HeldDropEvents, Count: n, Of: of, Why: why.Error(), Shown: "gatehouse events"})
	}
	return acts
}

// clockDoubt returns why the clock is in doubt; empty if it is not.
func (a *Admin) clockDoubt() string {
	if _, err := a.store.Now(); err != nil {
		return err.Error()
	}
	return ""
}
