package order

import (
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/table"
)

// tokens has the facts that queries have asked for, and learns which of them are old.
type tokens struct {
	on      atomic.Bool // notes are taken
	feed    feed
	mu      sync.Mutex // one query at a time
	facts   *facts     // nil: nothing was read
	drop    *time.Timer
	reading sync.Mutex // held while a column is read
	warming atomic.Bool

	// The tokens noted while a column is read, and whether the record changed; nil: none is
	// read.
	late map[keys.ID]bool
}

// feed lists the tokens that were used or changed since the last query.
type feed struct {
	mu     sync.Mutex
	list   []noted
	long   func() // processes the feed
	called bool
}

type noted struct {
	id      keys.ID
	changed bool // its record may have
}

// mostNoted is how long the feed may become before it is processed without a query.
const mostNoted = 64 << 10

func (o *tokens) note(id keys.ID) {
	if !o.on.Load() {
		return
	}
	o.feed.mu.Lock()
	defer o.feed.mu.Unlock()
	o.feed.add(noted{id, true})
}

func (o *tokens) noteUses(unsaved func() []keys.ID) {
	if !o.on.Load() {
		return
	}
	used := unsaved()
	o.feed.mu.Lock()
	defer o.feed.mu.Unlock()
	for _, id := range used {
		o.feed.add(noted{id, false})
	}
}

// add appends to the feed. If the feed has become long, add has it processed without
// waiting for a query.
func (f *feed) add(n noted) {
	f.list = append(f.list, n)
	if len(f.list) >= mostNoted && !f.called && f.long != nil {
		f.called = true
		go f.long()
	}
}

func (o *tokens) take() []noted {
	o.feed.mu.Lock()
	defer o.feed.mu.Unlock()
	list := o.feed.list
	o.feed.list, o.feed.called = nil, false
	return list
}

// follow processes the notes. It reads the unsaved tokens first: a token that leaves them
// has been noted by then. The caller holds mu.
func (v *Views) follow() {
	o := &v.tokens
	if o.facts == nil {
		return
	}
	for _, id := range v.table.Unsaved(nil) {
		o.forget(v.table, noted{id, false})
	}
	for _, n := range o.take() {
		o.forget(v.table, n)
	}
}

// followAlone is follow without a query.
func (v *Views) followAlone() {
	v.tokens.mu.Lock()
	defer v.tokens.mu.Unlock()
	v.follow()
}

func (o *tokens) forget(t *table.Table, n noted) {
	if o.late != nil {
		o.late[n.id] = o.late[n.id] || n.changed
	}
	p := &o.facts.parts[n.id[1]]
	at, ok := p.find(unknown, n.id)
	if ok {
		p.forget(at, n.changed)
	}
	if !n.changed {
		return
	}
	switch _, live, _ := t.Get(n.id); {
	case live && !ok && p.has != 0:
		p.add(n.id) // a search by the columns must find it
	case !live && o.facts.dead != nil:
		o.facts.dead.unread[n.id] = struct{}{}
	}
}

// withFacts runs fn on facts that have the columns and, if withDead is set, the dead
// tokens. They do not change until fn returns, except that fn may read what is unknown.
func (v *Views) withFacts(which column, withDead bool, fn func(*facts) error) error {
	o := &v.tokens
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.facts != nil && o.facts.wasteful(v.table.Len()) {
		o.set(nil)
	}
	for !o.have(which, withDead) {
		o.mu.Unlock()
		err := v.read(which, withDead)
		o.mu.Lock()
		if err != nil {
			return err
		}
	}
	v.follow()
	o.drop = postpone(o.drop, v.dropTokens)
	return fn(o.facts)
}

// have reports whether the facts have the columns and the dead. The caller holds mu.
func (o *tokens) have(which column, withDead bool) bool {
	f := o.facts
	if f == nil || withDead && f.dead == nil {
		return false
	}
	for b := range f.parts {
		if f.parts[b].has&which != which {
			return false
		}
	}
	return true
}

func (o *tokens) set(f *facts) {
	o.facts = f
	o.on.Store(f != nil)
	if f == nil {
		o.take()
	}
}

func (v *Views) dropTokens() {
	v.tokens.mu.Lock()
	defer v.tokens.mu.Unlock()
	v.tokens.set(nil)
}

// Matching reports whether a filter with this match can be answered from memory. If not,
// it starts to read the facts, and does not wait for them.
func (v *Views) Matching(m *Match) bool {
	o := &v.tokens
	if m.columns() == 0 {
		return true
	}
	if !o.mu.TryLock() {
		return false // another query runs, or a column is added
	}
	defer o.mu.Unlock()
	if o.have(m.columns(), false) {
		return true
	}
	if o.warming.CompareAndSwap(false, true) {
		go func() {
			defer o.warming.Store(false)
			// A query that waits for it gets the error.
			v.withFacts(m.columns(), false, func(*facts) error { return nil })
			if m.Person {
				v.withPeople(true, func(*people) {})
			}
		}()
	}
	return false
}

// columns returns the columns that a match reads.
func (m *Match) columns() (which column) {
	if m.Times {
		which |= heads
	}
	if m.Texts {
		which |= details
	}
	if m.Seen {
		which |= seen
	}
	return which
}

// read reads columns, and the dead tokens. Queries that do not need them go on.
func (v *Views) read(which column, withDead bool) error {
	o := &v.tokens
	o.reading.Lock()
	defer o.reading.Unlock()
	o.mu.Lock()
	if o.facts == nil {
		o.facts = new(facts)
		o.feed.mu.Lock()
		o.feed.long = v.followAlone
		o.feed.mu.Unlock()
		o.on.Store(true) // changes are noted from here on
	}
	f := o.facts
	var d *dead
	if withDead && f.dead == nil {
		d = newDead()
	}
	v.follow()
	o.late = map[keys.ID]bool{}
	o.mu.Unlock()
	err := eachByte(func(b byte, h *harvest) error { return v.readPart(f, b, which, d, h) })
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil && d != nil && o.facts == f {
		v.follow()
		for id := range o.late {
			d.unread[id] = struct{}{}
		}
		f.dead = d
	}
	f.first, o.late = len(f.texts.blocks), nil
	return err
}

// readPart reads columns of one part, and its dead tokens unless d is nil.
func (v *Views) readPart(f *facts, b byte, which column, d *dead, h *harvest) error {
	o := &v.tokens
	p := &f.parts[b]
	o.mu.Lock()
	which &^= p.has
	o.mu.Unlock()
	if which == 0 && d == nil {
		return nil
	}
	if err := v.gather(h, b, which, d != nil); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.facts != f {
		return nil // nobody has asked for a while: they were dropped
	}
	if which != 0 {
		f.store(p, h, which)
	}
	for i := range h.buried {
		d.add(v, f, &h.buried[i])
	}
	v.follow()
	p.has |= which
	for id, changed := range o.late {
		if id[1] == b {
			o.forget(v.table, noted{id, changed})
		}
	}
	return nil
}
