package directory

import (
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
// to confirm. It keeps all of them if they are too many to be believed. If the
// configuration may name another directory than before, it keeps those of people who
// are missing; what a person's own entry proves may go on. certain is true if the
// directory has told about everybody.
func (p *People) brake(changes []change, asked int, certain bool) (due []change, err error) {
	moved, err := p.mark.moved()
	if err != nil {
		return nil, err
	}
	gone := func(c change) bool { return c.gone }
	var held []change
	why := ""
	switch {
	case len(changes) > max(fewChanges, asked/changeShare):
		held = changes
	case moved && slices.ContainsFunc(changes, gone):
		why = ", with another base_dn, id_attribute or urls than before"
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
			p.mark.settle()
		}
	}
	p.keep(held, asked, why)
	return due, nil
}

// keep keeps the changes that are held. The first time it logs them, and writes an event.
func (p *People) keep(held []change, asked int, why string) {
	p.mu.Lock()
	news := len(held) > 0 && len(p.held) == 0
	p.held, p.asked = held, asked
	p.mu.Unlock()
	if !news {
		return
	}
	p.log.Warn("an off-boarding sweep is held"+why+"; see `gatehouse user offboard`", "changes", len(held), "asked", asked)
	p.store.Note(actor, storage.Event{
		Action: storage.ActionOffboardHeld, Count: len(held),
		Detail: fmt.Sprintf("of %d asked about%s; `gatehouse user offboard` shows them", asked, why),
	})
}

// Holding returns how many changes are held.
func (p *People) Holding() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// Held returns the changes that are held, as the administration shows them.
func (p *People) Held() api.HeldSweep {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := api.HeldSweep{Changes: []api.HeldChange{}}
	for _, c := range p.held {
		v.Asked = p.asked
		v.Changes = append(v.Changes, api.HeldChange{UID: c.uid, Action: c.action, Why: c.why})
	}
	return v
}

// ErrNothingHeld is returned by a confirmation when nothing is held.
var ErrNothingHeld = reply.Refuse(http.StatusConflict, "Nothing is held: there is nothing to confirm")

// InDoubt reports whether the last sweep could not tell what became of everybody.
func (p *People) InDoubt() bool { return p.doubt.Lasts() }
