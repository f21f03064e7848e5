package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
)

// A sweep keeps the users of the directory in step with it. Users who are stopped there are
// suspended here and come back when that ends. Users who are missing in two sweeps are
// removed, and their tokens revoked; a user who is also known by a password or a provider
// is suspended instead, since the link may be a mistake.
//
// A sweep acts on the directory's verdict on each person (ldap.State), and an unknown one
// changes nothing: not even how often somebody was missed. A directory that would
// change many people at once is more likely broken than right: such a sweep is held
// until an administrator confirms it. All this is kept only in memory: after a
// restart, a person has to be missed in two more sweeps, and the next sweep is held again.

var actor = storage.Actor{Name: "directory"}

// Run sweeps at once, and then every [ldap] recheck, until the context ends. It returns at
// once if recheck is off.
func (p *People) Run(ctx context.Context) {
	every := p.cfg.RecheckEvery()
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("an off-boarding sweep could not make all changes", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Sweep asks the directory once, and makes the changes or holds them. What the
// directory leaves open is in the log; an error is one of the store.
func (p *People) Sweep(ctx context.Context) error {
	p.sweeping.Lock()
	defer p.sweeping.Unlock()
	found, err := p.ask(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() == nil {
		p.tell(found)
	}
	missing := map[storage.UserID]bool{}
	for _, c := range found.changes {
		missing[c.id] = c.gone
	}
	// Somebody who is found has to be missed in two sweeps again, even when this one
	// is held.
	for id := range p.missed {
		if !missing[id] && !found.unknown[id] {
			delete(p.missed, id)
		}
	}
	changes, err := p.brake(found.changes, found.asked, found.doubt == nil)
	if err != nil {
		return err
	}
	var due []change
	for _, c := range changes {
		if missing[c.id] && !p.missed[c.id] {
			p.missed[c.id] = true
			continue
		}
		due = append(due, c)
	}
	if err := p.apply(due); err != nil {
		return err
	}
	now, _ := p.store.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swept = now
	return nil
}

// Sweeps reports whether there are any sweeps.
func (p *People) Sweeps() bool { return p.cfg.RecheckEvery() != 0 }

// LastSweep returns when the last sweep ended that made or held all of its changes. It
// returns the zero time before the first.
func (p *People) LastSweep() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.swept
}

// tell logs that a sweep could not find out everything, for as long as that lasts.
func (p *People) tell(found findings) {
	if found.doubt != nil {
		p.doubt.Set(found.doubt, "users", len(found.unknown), "asked", found.asked)
	} else {
		p.doubt.Set(nil, "asked", found.asked)
	}
}

// Confirm asks the directory again, and makes those held changes that it still asks for.
// The administrator has not seen the others: they are left to the next sweep.
func (p *People) Confirm(ctx context.Context, by storage.Actor) error {
	p.mu.Lock()
	agreed := map[change]bool{}
	for _, c := range p.held {
		agreed[c.key()] = true
	}
	p.mu.Unlock()
	if len(agreed) == 0 {
		return ErrNothingHeld
	}
	p.sweeping.Lock()
	defer p.sweeping.Unlock()
	found, err := p.ask(ctx)
	if err != nil {
		return err
	}
	var due, open []change
	all := found.doubt == nil // whether the removal of all missing people was agreed to
	for _, c := range found.changes {
		if agreed[c.key()] {
			due = append(due, c)
		} else if c.gone {
			all = false
		}
	}
	if all {
		p.mark.settle()
	}
	p.mu.Lock()
	for _, c := range p.held {
		if found.unknown[c.id] {
			open = append(open, c)
		}
	}
	p.held = open
	p.mu.Unlock()
	if len(due) > 0 || len(open) == 0 {
		p.store.Note(by, storage.Event{Action: storage.ActionOffboardConfirm, Detail: "held changes confirmed", Count: len(due)})
	}
	if err := p.apply(due); err != nil || len(open) == 0 {
		return err
	}
	return found.doubt // what is held for those who are unknown now stays held
}

// ask asks the directory about all of its users who have live tokens.
func (p *People) ask(ctx context.Context) (findings, error) {
	var holders []storage.Holder
	var subjects []string
	for h, err := range p.store.Holders(storage.SourceLDAP) {
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
	states, err := p.Lookup(ctx, subjects)
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

// apply makes the changes. When one fails, it goes on with the others; the next sweep
// tries again.
func (p *People) apply(changes []change) error {
	var first error
	failed := 0
	for _, c := range changes {
		var err error
		switch {
		case c.gone:
			if err = p.store.Leave(actor, c.id, storage.SourceLDAP, c.why); err == nil {
				delete(p.missed, c.id)
			}
		case c.action == api.OffboardSuspend:
			err = p.store.Suspend(actor, c.id, c.why)
		case c.action == api.OffboardResume:
			err = p.store.Resume(actor, c.id)
		}
		if err == nil {
			p.log.Info("off-boarding", "uid", c.uid, "action", c.action, "reason", c.why)
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
