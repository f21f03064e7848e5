package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
)

// Sweeps keep the users of a source in step with what it says of them. The source is the
// directory or, with other States, an OAuth provider or its SCIM client. Users who are
// stopped there are suspended here and come back when that ends. Users who are missing in
// two sweeps are removed, and their tokens revoked; a user who is also known by a password
// or another source is suspended instead, since the link may be a mistake.
//
// A sweep acts on the source's verdict on each person (ldap.State), and an unknown one
// changes nothing: not even how often somebody was missed. A source that would
// change many people at once is more likely to be broken than right, so such a sweep is
// held until an administrator confirms it. What is held is lost at a restart, except with
// Keeps: the next sweep is then held again. Who was missed is always lost: after a restart, a
// person has to be missed in two more sweeps.
//
// Set the exported fields before the first use. Those up to States are required.
type Sweeps struct {
	Source string // storage.SourceLDAP, a provider's name, or record.SCIMSource of it
	Actor  storage.Actor
	Every  time.Duration // 0: never
	Store  *storage.Store
	Log    *slog.Logger
	Doubt  lasting.State // logged while sweeps can't tell about everybody

	// States returns a verdict for each subject. The error is the reason for those that
	// are left open.
	States func(ctx context.Context, subjects []string) (map[string]ldap.State, error)
	// Each, unless it is nil, makes one change by calling do. It may find that the
	// verdict no longer stands, and not call it.
	Each func(subjects []string, do func() error) error

	// UntilLogin makes suspensions last until the next login. Recent, unless it is nil,
	// returns how many people were stopped just before. They count together with those whom
	// a sweep would stop.
	UntilLogin bool
	Recent     func() int

	// These are for a source that reports changes by itself, and only once. Holders, if it is
	// not nil, lists the people to look at instead of all holders of tokens, and Of returns the
	// total that they are measured against. With Keeps, held changes survive a restart: they
	// stay held until they are confirmed, or the source takes them back.
	Holders func() iter.Seq2[storage.Holder, error]
	Of      func() (int, error)
	Keeps   bool

	recorded *recorded               // nil: the source has no settings that could mean another one
	sweeping sync.Mutex              // one sweep at a time
	missed   map[storage.UserID]bool // people not found by the last sweep that could tell

	mu    sync.Mutex
	held  held
	swept time.Time // the end of the last sweep whose changes the store accepted
}

var directoryActor = storage.Actor{Name: "directory"}

// Run sweeps at once, and then as often as Every says, until the context ends. It returns
// at once if that is never.
func (s *Sweeps) Run(ctx context.Context) {
	if s.Every == 0 {
		return
	}
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn("an off-boarding sweep could not make all changes", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Sweep asks the source once, and makes the changes or holds them. The log
// says what the source did not answer; an error comes from the store.
func (s *Sweeps) Sweep(ctx context.Context) error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	found, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() == nil {
		s.Doubt.Set(found.doubt, "users", len(found.unknown), "asked", found.asked)
	}
	s.forgive(found)
	changes, err := s.brake(found.changes, found.asked, found.doubt == nil)
	if err != nil {
		return err
	}
	if err := s.apply(s.afterMiss(changes)); err != nil {
		return err
	}
	now, _ := s.Store.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept = now
	return nil
}

// forgive forgets the misses of those who are found: they have to be missed in two sweeps
// again, even when this one is held.
func (s *Sweeps) forgive(found findings) {
	missing := map[storage.UserID]bool{}
	for _, c := range found.changes {
		if c.gone {
			missing[c.id] = true
		}
	}
	maps.DeleteFunc(s.missed, func(id storage.UserID, _ bool) bool { return !missing[id] && !found.unknown[id] })
}

// afterMiss returns the changes without those of people who are missed for the first time.
// It notes their misses.
func (s *Sweeps) afterMiss(changes []change) (due []change) {
	if s.missed == nil {
		s.missed = map[storage.UserID]bool{}
	}
	for _, c := range changes {
		if c.gone && !s.missed[c.id] {
			s.missed[c.id] = true
			continue
		}
		due = append(due, c)
	}
	return due
}

// LastSweep returns when the last sweep ended that made or held all of its changes. It
// returns the zero time before the first.
func (s *Sweeps) LastSweep() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.swept
}

// Confirm asks the source again, and makes the held changes that are still right.
// The administrator has not seen the others: they are left to the next sweep.
func (s *Sweeps) Confirm(ctx context.Context, by storage.Actor) error {
	s.mu.Lock()
	agreed := map[agreement]bool{}
	for _, c := range s.held.changes {
		agreed[agreement{c.id, c.action}] = true
	}
	s.mu.Unlock()
	if len(agreed) == 0 {
		return ErrNothingHeld
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	found, err := s.ask(ctx)
	if err != nil {
		return err
	}
	var due []change
	all := found.doubt == nil // whether the removal of all missing people was agreed to
	for _, c := range found.changes {
		if agreed[agreement{c.id, c.action}] {
			due = append(due, c)
		} else if c.gone {
			all = false
		}
	}
	if all {
		s.recorded.settle()
	}
	s.mu.Lock()
	open := s.held
	s.mu.Unlock()
	open.changes = slices.DeleteFunc(slices.Clone(open.changes), func(c change) bool {
		return found.doubt == nil || !found.unknown[c.id] // without doubt, the source no longer says it
	})
	s.set(open)
	if len(due) > 0 || len(open.changes) == 0 {
		s.Store.Note(by, storage.Event{Action: storage.ActionOffboardConfirm, Detail: "held changes confirmed", Count: len(due)})
	}
	if err := s.apply(due); err != nil || len(open.changes) == 0 {
		return err
	}
	return found.doubt // what is held for those who are unknown now stays held
}

// ask asks the source about the active and suspended users whom Holders lists. By default
// these are its users who have a token or may have a session: they logged in within
// storage.SessionLife, or have a password here.
func (s *Sweeps) ask(ctx context.Context) (findings, error) {
	var holders []storage.Holder
	var subjects []string
	list := s.Store.Holders(s.Source)
	if s.Holders != nil {
		list = s.Holders()
	}
	for h, err := range list {
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
	states, err := s.States(ctx, subjects)
	found := findings{asked: len(holders), unknown: map[storage.UserID]bool{}, doubt: err}
	if s.Of != nil {
		all, err := s.Of()
		if err != nil {
			return findings{}, err
		}
		found.asked = max(found.asked, all)
	}
	for _, h := range holders {
		switch c, known := s.compare(h, states); {
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
func (s *Sweeps) apply(changes []change) error {
	var failed []error
	for _, c := range changes {
		do := func() error { return s.change(c) }
		var err error
		if s.Each != nil {
			err = s.Each(c.subjects, do)
		} else {
			err = do()
		}
		if err != nil && !errors.Is(err, storage.ErrNoUser) {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d changes were not made: %w", len(failed), len(changes), failed[0])
	}
	return nil
}

// change makes one change.
func (s *Sweeps) change(c change) (err error) {
	switch {
	case c.gone:
		if err = s.Store.Leave(s.Actor, c.id, s.Source, c.why); err == nil {
			delete(s.missed, c.id)
		}
	case c.action == api.OffboardSuspend:
		err = s.Store.Suspend(s.Actor, c.id, storage.Suspension{Source: s.Source, UntilLogin: s.UntilLogin}, c.why)
	case c.action == api.OffboardResume:
		err = s.Store.Resume(s.Actor, c.id, s.Source)
	}
	if err == nil {
		s.Log.Info("off-boarding", "uid", c.uid, "action", c.action, "reason", c.why)
	}
	return err
}
