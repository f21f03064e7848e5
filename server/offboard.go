package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
)

// offboard keeps the users of the directory in step with it: whoever is stopped
// there is suspended here and comes back when that ends, and whoever is missing
// in two sweeps is removed, the tokens revoked.
//
// It is built to do nothing when in doubt. A directory that does not answer, or
// not whole, tells nothing. One in which many people are suddenly different is
// more likely broken than right: nothing is done then until an administrator
// has confirmed it.
type offboard struct {
	store *storage.Store
	dir   directory

	sweeping sync.Mutex      // one sweep at a time
	missed   map[string]bool // subjects that the last sweep did not find

	mu   sync.Mutex
	held api.HeldSweep // without changes: nothing is held
}

// A sweep that would change more than fewChanges people and more than one in
// changeShare of those it asked about is held.
const (
	fewChanges  = 5
	changeShare = 10
)

var directoryActor = storage.Actor{Name: "directory"}

// offboarding is what a sweep would do to one user.
type offboarding struct {
	user    storage.Holder
	action  string // api.OffboardSuspend, OffboardResume, OffboardRemove
	why     string
	missing bool
}

// sweepDirectory sweeps until the context ends.
func (s *Server) sweepDirectory(ctx context.Context) {
	if s.offboard == nil {
		return
	}
	every := s.cfg.LDAP.Recheck.or(defaultRecheck)
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.offboard.sweep(ctx, false); err != nil && ctx.Err() == nil {
				s.log.Warn("the directory could not be asked who is still there: nobody is changed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// sweep asks the directory once. With confirmed, what was held is done.
func (o *offboard) sweep(ctx context.Context, confirmed bool) error {
	o.sweeping.Lock()
	defer o.sweeping.Unlock()
	var holders []storage.Holder
	var subjects []string
	for h, err := range o.store.Holders(storage.SourceLDAP) {
		if err != nil {
			return err
		}
		if h.State == storage.UserActive || h.State == storage.UserSuspended {
			holders = append(holders, h)
			subjects = append(subjects, h.Subject)
		}
	}
	if len(holders) == 0 {
		return nil
	}
	states, err := o.dir.Lookup(ctx, subjects)
	if err != nil {
		return err
	}
	changes := o.compare(holders, states)
	if o.hold(changes, len(holders), confirmed) {
		return nil
	}
	return o.apply(changes, confirmed)
}

// compare finds who is not as the directory says.
func (o *offboard) compare(holders []storage.Holder, states map[string]ldap.State) (changes []offboarding) {
	for _, h := range holders {
		st, known := states[h.Subject]
		switch {
		case !known:
		case st.Missing:
			changes = append(changes, offboarding{user: h, action: api.OffboardRemove, why: "no longer in the directory", missing: true})
		case st.Stopped != "" && h.State == storage.UserActive:
			changes = append(changes, offboarding{user: h, action: api.OffboardSuspend, why: string(st.Stopped)})
		case st.Stopped == "" && h.State == storage.UserSuspended:
			changes = append(changes, offboarding{user: h, action: api.OffboardResume})
		}
	}
	return changes
}

// hold reports whether the changes are too many to be believed, and notes them.
func (o *offboard) hold(changes []offboarding, asked int, confirmed bool) bool {
	sweep := api.HeldSweep{Asked: asked, Changes: []api.HeldChange{}}
	tooMany := !confirmed && len(changes) > max(fewChanges, asked/changeShare)
	if tooMany {
		for _, c := range changes {
			sweep.Changes = append(sweep.Changes, api.HeldChange{UID: c.user.UID, Action: c.action, Why: c.why})
		}
	}
	o.mu.Lock()
	news := len(o.held.Changes) == 0
	o.held = sweep
	o.mu.Unlock()
	if tooMany && news { // not at every sweep anew
		o.store.Note(directoryActor, storage.Event{
			Action: storage.ActionOffboardHeld, Count: len(changes),
			Detail: fmt.Sprintf("of %d asked about; `gatehouse user offboard` shows them", asked),
		})
	}
	return tooMany
}

// apply does what the directory says. A missing person is removed at the second
// sweep in a row that misses them, or once an administrator has confirmed it.
func (o *offboard) apply(changes []offboarding, confirmed bool) error {
	missed := map[string]bool{}
	for _, c := range changes {
		var err error
		switch {
		case c.missing && !confirmed && !o.missed[c.user.Subject]:
			missed[c.user.Subject] = true
		case c.missing:
			err = o.store.RemoveUserByID(directoryActor, c.user.ID, c.why)
		case c.action == api.OffboardSuspend:
			err = o.store.Suspend(directoryActor, c.user.ID, c.why)
		default:
			err = o.store.Resume(directoryActor, c.user.ID)
		}
		if err != nil {
			return err
		}
	}
	o.missed = missed
	return nil
}

// holding counts the changes that are held.
func (o *offboard) holding() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.held.Changes)
}

// adminOffboard serves GET /admin/offboard: what is held.
func (s *Server) adminOffboard(w http.ResponseWriter, _ *http.Request) error {
	if s.offboard == nil {
		return errNoDirectory
	}
	s.offboard.mu.Lock()
	defer s.offboard.mu.Unlock()
	reply(w, http.StatusOK, s.offboard.held)
	return nil
}

// adminConfirmOffboard serves POST /admin/offboard/confirm: it asks the
// directory again, and does what it says.
func (s *Server) adminConfirmOffboard(w http.ResponseWriter, r *http.Request) error {
	if s.offboard == nil {
		return errNoDirectory
	}
	held := s.offboard.holding()
	if held == 0 {
		return refuse(http.StatusConflict, "No sweep is held: there is nothing to confirm")
	}
	s.log.Info("a held sweep is confirmed", "by", adminActor(r).Name, "changes", held)
	return done(w, s.offboard.sweep(r.Context(), true))
}

// adminLink serves POST /admin/users/{uid}/link.
func (s *Server) adminLink(w http.ResponseWriter, r *http.Request) error {
	var in api.Identity
	if err := readJSON(r, &in, false); err != nil {
		return err
	}
	id := storage.Identity{Source: in.Source, Subject: in.Subject}
	return done(w, s.store.Link(adminActor(r), r.PathValue("uid"), id))
}
