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

// held is what waits for an administrator to confirm it.
type held struct {
	changes []change // none: nothing is held
	asked   int      // how many users the sweep was about
	why     string   // one of the reasons below
}

// The reasons. They follow "because".
const (
	tooMany   = "so many changes in a short time may be a mistake"
	stillHeld = "earlier changes wait for a confirmation"
	otherTree = "base_dn, id_attribute or urls have changed"
)

// brake returns the changes that may go on, and keeps the others for an administrator
// to confirm. It keeps all of them if they are too many to be believed, or if changes that
// outlast a restart (Keeps) are held already. If the configuration may name another
// directory than before, it keeps those of people who are missing; changes that a person's
// own entry proves may go on. certain is true if the source has told about everybody.
func (s *Sweeps) brake(changes []change, asked int, certain bool) (due []change, err error) {
	moved, err := s.recorded.moved()
	if err != nil {
		return nil, err
	}
	kept, err := s.kept()
	if err != nil {
		return nil, err
	}
	same := !moved
	hold := held{asked: asked}
	gone := func(c change) bool { return c.gone }
	switch {
	case s.tooMany(changes, asked):
		hold.changes, hold.why = changes, tooMany
	case kept && len(changes) > 0:
		hold.changes, hold.why = changes, stillHeld
	case moved && slices.ContainsFunc(changes, gone):
		hold.why = otherTree
		for _, c := range changes {
			if c.gone {
				hold.changes = append(hold.changes, c)
			} else {
				due = append(due, c)
			}
		}
	default:
		due = changes
		same = same || certain && asked > 0 // nobody is missing
	}
	if same {
		s.recorded.settle()
	}
	s.keep(hold)
	return due, nil
}

// tooMany reports whether the changes are too many to be believed: all of them, or those
// that stop somebody together with the recent stops. People who come back do not count
// together with those who were stopped a moment ago.
func (s *Sweeps) tooMany(changes []change, asked int) bool {
	stops := 0
	for _, c := range changes {
		if c.action != api.OffboardResume {
			stops++
		}
	}
	if stops > 0 && s.Recent != nil {
		stops += s.Recent()
	}
	return TooMany(max(len(changes), stops), asked)
}

// TooMany reports whether n changes out of a number of people or tokens are more than can
// be believed.
func TooMany(n, of int) bool { return n > max(fewChanges, of/changeShare) }

// keep replaces the changes that are held. If nothing was held before, it logs that a sweep
// is held, and writes an event.
func (s *Sweeps) keep(hold held) {
	if news := s.set(hold); !news {
		return
	}
	n := len(hold.changes)
	s.Log.Warn("an off-boarding sweep is held until an administrator confirms it; see `gatehouse user offboard`",
		"source", s.Source, "changes", n, "asked", hold.asked, "reason", hold.why)
	s.Store.Note(s.Actor, storage.Event{
		Action: storage.ActionOffboardHeld, Count: n,
		Detail: fmt.Sprintf("of %d asked about, because %s; `gatehouse user offboard` shows them", hold.asked, hold.why),
	})
}

// set replaces what is held, and reports whether holding begins. With Keeps, it stores
// whether anything is held.
func (s *Sweeps) set(hold held) (news bool) {
	n := len(hold.changes)
	if n == 0 {
		hold = held{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news = n > 0 && len(s.held.changes) == 0
	s.held = hold
	if kept, err := s.kept(); s.Keeps && (err != nil || kept != (n > 0)) {
		s.Store.Expiring().Put(s.keptName(), bytes.Repeat([]byte{1}, min(1, n)), recordedKept)
	}
	return news
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
	return len(s.held.changes)
}

// Held returns the changes that are held, as the administration shows them.
func (s *Sweeps) Held() api.HeldSweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := api.HeldSweep{Asked: s.held.asked, Why: s.held.why, Changes: []api.HeldChange{}}
	for _, c := range s.held.changes {
		v.Changes = append(v.Changes, api.HeldChange{UID: c.uid, Action: c.action, Why: c.why})
	}
	return v
}

// ErrNothingHeld is returned by a confirmation when nothing is held.
var ErrNothingHeld = reply.Refuse(http.StatusConflict, "Nothing is held: there is nothing to confirm")

// InDoubt reports whether the last sweep could not tell what became of everybody.
func (s *Sweeps) InDoubt() bool { return s.Doubt.Lasts() }
