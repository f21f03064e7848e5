package directory

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// A sweep that would change more than fewChanges people and more than one in
// changeShare of those it asked about is held.
const (
	fewChanges  = 5
	changeShare = 10
)

// brake returns the changes that may go on, and keeps the others for an administrator
// to confirm. It keeps all of them if they are too many to be believed, or if changes that
// outlast a restart (Keeps) are held already. If the configuration may name another
// directory than before, it keeps those of people who are missing; changes that a person's
// own entry proves may go on. certain is true if the source has told about everybody.
func (s *Sweeps) brake(changes []change, asked int, certain bool) (due []change, err error) {
	moved := false
	if s.recorded != nil {
		if moved, err = s.recorded.moved(); err != nil {
			return nil, err
		}
	}
	gone := func(c change) bool { return c.gone }
	var held []change
	why := ""
	recent, stops := 0, 0
	if s.Recent != nil {
		recent = s.Recent()
	}
	for _, c := range changes {
		if c.action != api.OffboardResume {
			stops++ // resumptions do not count towards the limit
		}
	}
	kept, err := s.kept()
	if err != nil {
		return nil, err
	}
	switch {
	case len(changes) > 0 && (kept || TooMany(len(changes), asked) || stops > 0 && TooMany(stops+recent, asked)):
		held = changes
	case moved && slices.ContainsFunc(changes, gone):
		why = ", because base_dn, id_attribute or urls have changed"
		for _, c := range changes {
			if c.gone {
				held = append(held, c)
			} else {
				due = append(due, c)
			}
		}
	default:
		due = changes
		if moved && certain && asked > 0 { // nobody is missing: it is the same directory
			s.recorded.settle()
		}
	}
	s.keep(held, asked, why)
	return due, nil
}

// TooMany reports whether n changes out of a number of people or tokens are more than can
// be believed.
func TooMany(n, of int) bool { return n > max(fewChanges, of/changeShare) }

// keep replaces the changes that are held. If nothing was held before, it logs that a sweep
// is held, and writes an event.
func (s *Sweeps) keep(held []change, asked int, why string) {
	if news := s.set(held, asked); !news {
		return
	}
	s.Log.Warn("an off-boarding sweep is held until an administrator confirms it"+why+"; see `gatehouse user offboard`", "source", s.Source, "changes", len(held), "asked", asked)
	s.Store.Note(s.Actor, storage.Event{
		Action: storage.ActionOffboardHeld, Count: len(held),
		Detail: fmt.Sprintf("of %d asked about%s; `gatehouse user offboard` shows them", asked, why),
	})
}

// set replaces what is held, and reports whether holding begins. With Keeps, it stores
// whether anything is held.
func (s *Sweeps) set(held []change, asked int) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.held)
	s.held, s.asked = held, asked
	if kept, err := s.kept(); s.Keeps && (err != nil || kept != (len(held) > 0)) {
		s.Store.Expiring().Put(s.keptName(), bytes.Repeat([]byte{1}, min(1, len(held))), recordedKept)
	}
	return len(held) > 0 && before == 0
}

// kept reports whether something is held that must stay so.
func (s *Sweeps) kept() (bool, error) {
	if !s.Keeps {
		return false, nil
	}
	b, err := s.Store.Expiring().Get(s.keptName())
	return len(b) > 0, err
}

func (s *Sweeps) keptName() string { return "held " + s.Source }

// Holding returns how many changes are held.
func (s *Sweeps) Holding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Held returns the changes that are held, as the administration shows them.
func (s *Sweeps) Held() api.HeldSweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := api.HeldSweep{Changes: []api.HeldChange{}}
	for _, c := range s.held {
		v.Asked = s.asked
		v.Changes = append(v.Changes, api.HeldChange{UID: c.uid, Action: c.action, Why: c.why})
	}
	return v
}

// ErrNothingHeld is returned by a confirmation when nothing is held.
var ErrNothingHeld = reply.Refuse(http.StatusConflict, "Nothing is held: there is nothing to confirm")

// InDoubt reports whether the last sweep could not tell what became of everybody.
func (s *Sweeps) InDoubt() bool { return s.Doubt.Lasts() }
