package server

import (
	"fmt"
	"slices"

	"gatehouse/storage"
)

// A sweep that would change more than fewChanges people and more than one in
// changeShare of those it asked about is held.
const (
	fewChanges  = 5
	changeShare = 10
)

// brake returns the changes that may go on, and keeps the others for an administrator
// to confirm. It keeps all of them when they are too many to be believed. When the
// configuration may name another directory than before, it keeps those of people who
// are missing; what a person's own entry proves goes on. The caller is certain if the
// directory has told of everybody.
func (o *offboard) brake(changes []offboarding, asked int, certain bool) (due []offboarding, err error) {
	moved, err := o.mark.moved()
	if err != nil {
		return nil, err
	}
	gone := func(c offboarding) bool { return c.gone }
	var held []offboarding
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
			o.mark.settle()
		}
	}
	o.keep(held, asked, why)
	return due, nil
}

// keep keeps the changes that are held, and tells of them when that begins.
func (o *offboard) keep(held []offboarding, asked int, why string) {
	o.mu.Lock()
	news := len(held) > 0 && len(o.held) == 0
	o.held, o.asked = held, asked
	o.mu.Unlock()
	if !news {
		return
	}
	o.log.Warn("an off-boarding sweep is held"+why+"; see `gatehouse user offboard`", "changes", len(held), "asked", asked)
	o.store.Note(directoryActor, storage.Event{
		Action: storage.ActionOffboardHeld, Count: len(held),
		Detail: fmt.Sprintf("of %d asked about%s; `gatehouse user offboard` shows them", asked, why),
	})
}

// holding counts the changes that are held.
func (o *offboard) holding() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.held)
}
