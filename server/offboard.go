package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
)

// offboard keeps the users of the directory in step with it: whoever is stopped
// there is suspended here and comes back when that ends, and whoever is missing
// in two sweeps is removed, the tokens revoked; a user who is also known by a
// password or a provider is suspended instead, since the link may be a mistake.
//
// When in doubt it does nothing. A directory that does not answer, or only in part,
// says nothing. One that would change many people at once is more likely broken than
// right: such a sweep is held until an administrator confirms it. All this is kept in
// memory alone: after a restart, two more sweeps have to miss somebody, and the next
// sweep is held again.
type offboard struct {
	store *storage.Store
	dir   directory
	mark  *directoryMark
	log   *slog.Logger

	sweeping sync.Mutex              // one sweep at a time
	missed   map[storage.UserID]bool // whom the last sweep did not find

	mu    sync.Mutex
	held  []offboarding // none: nothing is held
	asked int           // how many users the held sweep was about
}

func newOffboard(store *storage.Store, dir directory, mark *directoryMark, log *slog.Logger) *offboard {
	return &offboard{store: store, dir: dir, mark: mark, log: log, missed: map[storage.UserID]bool{}}
}

var directoryActor = storage.Actor{Name: "directory"}

// offboarding is what a sweep would do to one user.
type offboarding struct {
	id     storage.UserID
	uid    string
	action string // api.OffboardSuspend, OffboardResume, OffboardRemove
	why    string
	gone   bool // the directory has none of the user's subjects
}

// sweepDirectory sweeps at once, and then every [ldap] recheck, until the context
// ends.
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
	for ctx.Err() == nil {
		if err := s.offboard.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("an off-boarding sweep has failed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// sweep asks the directory once, and makes the changes or holds them.
func (o *offboard) sweep(ctx context.Context) error {
	o.sweeping.Lock()
	defer o.sweeping.Unlock()
	changes, asked, err := o.ask(ctx)
	if err != nil {
		return err
	}
	missing := map[storage.UserID]bool{}
	for _, c := range changes {
		missing[c.id] = c.gone
	}
	// Whoever is found has to be missed in two sweeps again, whatever comes of this one.
	for id := range o.missed {
		if !missing[id] {
			delete(o.missed, id)
		}
	}
	if changes, err = o.brake(changes, asked, true); err != nil {
		return err
	}
	var due []offboarding
	for _, c := range changes {
		if missing[c.id] && !o.missed[c.id] {
			o.missed[c.id] = true
			continue
		}
		due = append(due, c)
	}
	return o.apply(due)
}

// confirm asks the directory again, and makes those held changes that it still asks
// for. The administrator has not seen any others: they are the next sweep's.
func (o *offboard) confirm(ctx context.Context, by storage.Actor) error {
	o.mu.Lock()
	agreed := map[offboarding]bool{}
	for _, c := range o.held {
		agreed[c.key()] = true
	}
	o.mu.Unlock()
	if len(agreed) == 0 {
		return refuse(http.StatusConflict, "No sweep is held: there is nothing to confirm")
	}
	o.sweeping.Lock()
	defer o.sweeping.Unlock()
	changes, _, err := o.ask(ctx)
	if err != nil {
		return err
	}
	var due []offboarding
	all := true // that the directory no longer has were agreed to
	for _, c := range changes {
		if agreed[c.key()] {
			due = append(due, c)
		} else if c.gone {
			all = false
		}
	}
	if all {
		o.mark.settle()
	}
	o.store.Note(by, storage.Event{Action: storage.ActionOffboardConfirm, Detail: "held changes let go on", Count: len(due)})
	o.mu.Lock()
	o.held = nil
	o.mu.Unlock()
	return o.apply(due)
}

// key is what has to be the same when a held change is confirmed: not the reason.
func (c offboarding) key() offboarding { return offboarding{id: c.id, action: c.action} }

// ask returns the changes that would bring the users in step with the directory, and
// how many users it asked about.
func (o *offboard) ask(ctx context.Context) (changes []offboarding, asked int, err error) {
	var holders []storage.Holder
	var subjects []string
	for h, err := range o.store.Holders(storage.SourceLDAP) {
		if err != nil {
			return nil, 0, err
		}
		if h.State == storage.UserActive || h.State == storage.UserSuspended {
			holders = append(holders, h)
			subjects = append(subjects, h.Subjects...)
		}
	}
	if len(holders) == 0 {
		return nil, 0, nil
	}
	states, err := o.dir.Lookup(ctx, subjects)
	if err != nil {
		return nil, 0, err
	}
	for _, h := range holders {
		if c := compare(h, states); c.action != "" {
			changes = append(changes, c)
		}
	}
	return changes, len(holders), nil
}

// compare returns the change for one user; its action is empty if there is none. All
// the subjects of a user are one person: that one may log in if any of them may, and
// is missing only if all of them are.
func compare(h storage.Holder, states map[string]ldap.State) offboarding {
	c := offboarding{id: h.ID, uid: h.UID}
	var stopped ldap.Reason
	for _, subject := range h.Subjects {
		st, known := states[subject]
		switch {
		case !known:
			return c // in doubt: nothing
		case st.Missing:
		case st.Stopped != "":
			stopped = st.Stopped
		case h.State == storage.UserSuspended:
			c.action = api.OffboardResume
			return c
		default:
			return c
		}
	}
	switch {
	case stopped == "" && h.Only(storage.SourceLDAP):
		c.action, c.why, c.gone = api.OffboardRemove, noLonger, true
	case stopped == "" && h.State == storage.UserActive:
		c.action, c.why, c.gone = api.OffboardSuspend, noLonger, true
	case stopped == "":
	case h.State == storage.UserActive:
		c.action, c.why = api.OffboardSuspend, string(stopped)
	}
	return c
}

const noLonger = "no longer in the directory"

// apply makes the changes. When one fails, it goes on with the others; the next sweep
// tries again.
func (o *offboard) apply(changes []offboarding) error {
	var first error
	failed := 0
	for _, c := range changes {
		var err error
		switch {
		case c.gone:
			if err = o.store.Leave(directoryActor, c.id, storage.SourceLDAP, c.why); err == nil {
				delete(o.missed, c.id)
			}
		case c.action == api.OffboardSuspend:
			err = o.store.Suspend(directoryActor, c.id, c.why)
		case c.action == api.OffboardResume:
			err = o.store.Resume(directoryActor, c.id)
		}
		if err != nil && !errors.Is(err, storage.ErrNoUser) {
			if failed++; first == nil {
				first = err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d changes were not made: %w", failed, len(changes), first)
	}
	return nil
}
