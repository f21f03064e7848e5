package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
)

// offboard keeps the users of the directory in step with it: whoever is stopped
// there is suspended here and comes back when that ends, and whoever is missing
// in two sweeps is removed, the tokens revoked; a user who is also known by a
// password or a provider is suspended instead, since the link may be a mistake.
//
// It acts on the directory's verdict on each person (ldap.State), and an unknown one
// changes nothing: not even how often somebody was missed. A directory that would
// change many people at once is more likely broken than right: such a sweep is held
// until an administrator confirms it. All this is kept in memory alone: after a
// restart, two more sweeps have to miss somebody, and the next sweep is held again.
type offboard struct {
	store *storage.Store
	dir   directory
	mark  *directoryMark
	log   *slog.Logger

	sweeping sync.Mutex              // one sweep at a time
	missed   map[storage.UserID]bool // whom the last sweep that could tell did not find
	doubt    lasting.State           // the last sweep could not tell of everybody

	mu    sync.Mutex
	held  []offboarding // none: nothing is held
	asked int           // how many users the held sweep was about
}

func newOffboard(store *storage.Store, dir directory, mark *directoryMark, log *slog.Logger) *offboard {
	return &offboard{store: store, dir: dir, mark: mark, log: log, missed: map[storage.UserID]bool{},
		doubt: lasting.State{Log: log, Level: slog.LevelWarn,
			Begins: "the directory does not tell what has become of some users, who stay as they are",
			Ends:   "the directory tells again what has become of all users"}}
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
	every := s.config().LDAP.RecheckEvery()
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := s.offboard.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("an off-boarding sweep could not make all changes", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// sweep asks the directory once, and makes the changes or holds them. What the
// directory leaves open is in the log; an error is one of the store.
func (o *offboard) sweep(ctx context.Context) error {
	o.sweeping.Lock()
	defer o.sweeping.Unlock()
	found, err := o.ask(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() == nil {
		o.tell(found)
	}
	missing := map[storage.UserID]bool{}
	for _, c := range found.changes {
		missing[c.id] = c.gone
	}
	// Somebody who is found has to be missed in two sweeps again, even when this one
	// is held.
	for id := range o.missed {
		if !missing[id] && !found.unknown[id] {
			delete(o.missed, id)
		}
	}
	changes, err := o.brake(found.changes, found.asked, found.doubt == nil)
	if err != nil {
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

// tell logs that a sweep could not find out everything, for as long as that lasts.
func (o *offboard) tell(found findings) {
	if found.doubt != nil {
		o.doubt.Set(found.doubt, "users", len(found.unknown), "asked", found.asked)
	} else {
		o.doubt.Set(nil, "asked", found.asked)
	}
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
		return errNothingHeld
	}
	o.sweeping.Lock()
	defer o.sweeping.Unlock()
	found, err := o.ask(ctx)
	if err != nil {
		return err
	}
	var due, open []offboarding
	all := found.doubt == nil // that the directory no longer has were agreed to
	for _, c := range found.changes {
		if agreed[c.key()] {
			due = append(due, c)
		} else if c.gone {
			all = false
		}
	}
	if all {
		o.mark.settle()
	}
	o.mu.Lock()
	for _, c := range o.held {
		if found.unknown[c.id] {
			open = append(open, c)
		}
	}
	o.held = open
	o.mu.Unlock()
	if len(due) > 0 || len(open) == 0 {
		o.store.Note(by, storage.Event{Action: storage.ActionOffboardConfirm, Detail: "held changes let go on", Count: len(due)})
	}
	if err := o.apply(due); err != nil || len(open) == 0 {
		return err
	}
	return found.doubt // what is held for those who are unknown now stays held
}

// key is what has to be the same when a held change is confirmed: not the reason.
func (c offboarding) key() offboarding { return offboarding{id: c.id, action: c.action} }

// findings are what the directory says about the users it was asked about.
type findings struct {
	changes []offboarding // that would bring the users in step with it
	asked   int           // how many users that was
	unknown map[storage.UserID]bool
	doubt   error // why there are unknown ones
}

func (o *offboard) ask(ctx context.Context) (findings, error) {
	var holders []storage.Holder
	var subjects []string
	for h, err := range o.store.Holders(storage.SourceLDAP) {
		if err != nil {
			return findings{}, err
		}
		if h.State == storage.UserActive || h.State == storage.UserSuspended {
			holders = append(holders, h)
			subjects = append(subjects, h.Subjects...)
		}
	}
	if len(holders) == 0 {
		return findings{}, nil
	}
	states, err := o.dir.Lookup(ctx, subjects)
	found := findings{asked: len(holders), unknown: map[storage.UserID]bool{}, doubt: err}
	for _, h := range holders {
		switch c, known := compare(h, states); {
		case !known:
			found.unknown[h.ID] = true
		case c.action != "":
			found.changes = append(found.changes, c)
		}
	}
	return found, nil
}

// compare returns the change for one user, whose action is empty if there is none,
// and whether the directory tells enough to decide. All the subjects of a user are
// one person: that one may log in if any of them may, and is missing only if all of
// them are.
func compare(h storage.Holder, states map[string]ldap.State) (c offboarding, known bool) {
	c = offboarding{id: h.ID, uid: h.UID}
	var stopped ldap.Reason
	open, missing := false, 0
	for _, subject := range h.Subjects {
		st, asked := states[subject]
		switch st.Verdict {
		case ldap.Unknown:
			// One that the directory can't be asked about lets nobody in, and proves nothing.
			open = open || asked
		case ldap.Missing:
			missing++
		case ldap.Stopped:
			stopped = st.Stop.Reason
		case ldap.Active:
			if h.State == storage.UserSuspended {
				c.action = api.OffboardResume
			}
			return c, true
		}
	}
	switch {
	case open:
		return c, false
	case stopped != "":
		if h.State == storage.UserActive {
			c.action, c.why = api.OffboardSuspend, string(stopped)
		}
	case missing == 0 || missing < len(h.Subjects):
		return c, false
	case h.Only(storage.SourceLDAP):
		c.action, c.why, c.gone = api.OffboardRemove, noLonger, true
	case h.State == storage.UserActive:
		c.action, c.why, c.gone = api.OffboardSuspend, noLonger, true
	}
	return c, true
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
		if err == nil {
			o.log.Info("off-boarding", "uid", c.uid, "action", c.action, "reason", c.why)
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
