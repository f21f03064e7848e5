package order

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// tokens has all tokens sorted by their last use, for callers that page through them. It
// is made at the first query, and dropped when nobody has queried it for a while.
//
// It is exact, although the rows show one past moment. The flusher and the writer note
// each token that was used, created or revoked later; until the flusher has noted a
// use, the token is among the table's unsaved ones. Each query first processes the
// notes: such a token leaves the rows and joins the recent tokens. These stay few,
// since from time to time they are merged into new rows.
type tokens struct {
	on    atomic.Bool
	feed  feed
	mu    sync.Mutex // one query at a time
	turn  int        // counts the rows
	rows  *rows      // nil: not made
	drop  *time.Timer
	more  *time.Timer // drops the columns of the rows that the table does not have
	facts *facts      // nil: rows.fact is nil
	dead  *dead       // nil: not read

	reading sync.Mutex
	warming atomic.Bool

	recent     map[keys.ID]row  // replaces the rows that are gone
	held       []Holding        // by owner
	lost       map[uint32]bool  // owners with a dead token as their latest used one
	staleSince int64            // the staleSince of held
	late       map[keys.ID]bool // tokens renewed while new rows are made, and whether the record changed; nil: no rows are being made
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
	created int64 // ms; 0: as before
	changed bool  // its record may have
	fact    uint32
}

// mostNoted is how long the feed may become before it is processed without a
// query.
const mostNoted = 64 << 10

func (o *tokens) note(id keys.ID, created int64) {
	if !o.on.Load() {
		return
	}
	o.feed.mu.Lock()
	defer o.feed.mu.Unlock()
	o.feed.add(noted{id: id, created: created, changed: true})
}

func (o *tokens) noteUses(unsaved func() []keys.ID) {
	if !o.on.Load() {
		return
	}
	used := unsaved()
	o.feed.mu.Lock()
	defer o.feed.mu.Unlock()
	for _, id := range used {
		o.feed.add(noted{id: id})
	}
}

// add appends to the feed. If the feed has become long, add has it processed without
// waiting for a query.
func (f *feed) add(n noted) {
	f.list = append(f.list, n)
	if len(f.list) >= mostNoted && !f.called {
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

// withTokens runs fn on the current tokens. If created is set, they also have their order
// of creation. If described is set, they have their facts. If dead is set, the dead tokens
// are included. The table must be loaded.
func (v *Views) withTokens(created, described, dead bool, fn func(o *tokens)) error {
	o := &v.tokens
	o.mu.Lock()
	defer o.mu.Unlock()
	v.makeTokens()
	for {
		var read func() error
		switch {
		case described && o.rows.fact == nil, dead && o.dead == nil:
			read = func() error { return v.describeTokens(dead) }
		case created && o.rows.created == nil:
			read = v.dateTokens
		}
		if read == nil {
			break
		}
		o.mu.Unlock()
		err := read()
		o.mu.Lock()
		if err != nil {
			return err
		}
		v.makeTokens()
	}
	v.follow()
	if dead {
		if err := o.dead.bury(v); err != nil {
			return err
		}
	}
	if created || described || dead {
		o.more = postpone(o.more, v.dropMore)
	}
	fn(o)
	return nil
}

// Matching reports whether a filter with a Match can be answered from memory. If not, it
// starts to read the facts, and does not wait for them.
func (v *Views) Matching() bool {
	o := &v.tokens
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows != nil && o.rows.fact != nil {
		return true
	}
	if o.warming.CompareAndSwap(false, true) {
		go func() {
			defer o.warming.Store(false)
			v.withTokens(false, true, false, func(*tokens) {}) // a query that waits for it gets the error
		}()
	}
	return false
}

// makeTokens sorts the table, unless it is sorted already.
func (v *Views) makeTokens() {
	o := &v.tokens
	o.drop = postpone(o.drop, v.dropTokens)
	if o.rows != nil {
		return
	}
	o.feed.mu.Lock()
	o.feed.long = v.followAlone
	o.feed.mu.Unlock()
	o.on.Store(true) // changes are noted from here on
	r := rowsOf(v.table)
	o.set(r, r.holdings(0), 0)
}

// hold adds a token of an owner, or removes it.
func (o *tokens) hold(owner uint32, by int, used record.LastUse) {
	o.held = hold(o.held, owner, by, used, o.staleSince)
}

func hold(held []Holding, owner uint32, by int, used record.LastUse, staleSince int64) []Holding {
	if more := int(owner) + 1 - len(held); more > 0 {
		held = append(held, make([]Holding, more)...)
	}
	held[owner].Count(by, used, staleSince)
	return held
}

// stale updates the counts of stale tokens when the time that decides has changed. It
// looks only at the tokens used between the old time and the new one.
func (o *tokens) stale(since int64) {
	before := o.staleSince
	if since < before {
		before = math.MinInt64
		for i := range o.held {
			o.held[i].Stale = 0
		}
	}
	from, to := o.rows.until(LastUsed, Place{At: before + 1}), o.rows.until(LastUsed, Place{At: since + 1})
	if before == math.MinInt64 {
		from = 0
	}
	for n := from; n < to; n++ {
		if !o.rows.gone.has(uint32(n)) {
			o.held[o.rows.owner[n]].Stale++
		}
	}
	for _, r := range o.recent {
		if ms := r.used.Ms(); ms > before && ms <= since {
			o.held[r.owner].Stale++
		}
	}
	o.staleSince = since
}

func (v *Views) dropTokens() {
	o := &v.tokens
	o.mu.Lock()
	defer o.mu.Unlock()
	o.on.Store(false)
	o.set(nil, nil, 0)
	o.facts, o.dead = nil, nil
	o.take()
}

// follow processes the notes. It reads the unsaved tokens first: a token that leaves
// them has been noted by then.
func (v *Views) follow() {
	o := &v.tokens
	for _, id := range v.table.Unsaved(nil) {
		v.renew(noted{id: id})
	}
	for _, n := range o.take() {
		v.renew(n)
	}
	if len(o.recent) > v.MostRecent && o.late == nil {
		v.mergeRecent()
	}
}

// followAlone is follow without a query.
func (v *Views) followAlone() {
	v.tokens.mu.Lock()
	defer v.tokens.mu.Unlock()
	if v.tokens.rows != nil {
		v.follow()
	}
}

// renew updates one token from the table.
func (v *Views) renew(n noted) {
	o := &v.tokens
	old, known := o.recent[n.id]
	place, inRows := o.rows.find(n.id)
	if !known && inRows && !o.rows.gone.has(uint32(place)) {
		old, known = o.rows.at(place), true
		o.rows.gone.add(uint32(place))
	}
	if o.late != nil {
		o.late[n.id] = o.late[n.id] || n.changed
	}
	if known {
		o.hold(old.owner, -1, old.used)
	}
	e, ok, _ := v.table.Get(n.id)
	if !ok {
		if known && o.held[old.owner].Used == old.used.Ms() {
			o.lost[old.owner] = true
		}
		delete(o.recent, n.id)
		if o.dead != nil {
			o.dead.unread[n.id] = struct{}{}
		}
		return
	}
	r := row{used: e.Used, id: n.id, owner: e.Owner, created: n.created}
	if r.created == 0 {
		r.created = old.created
	}
	if o.facts != nil {
		r.fact = o.facts.follow(cmp.Or(old.fact, n.fact), n.changed)
	}
	if known && r.used < old.used && o.held[old.owner].Used == old.used.Ms() {
		o.lost[old.owner] = true // its time was in the future
	}
	o.hold(r.owner, 1, r.used)
	o.recent[n.id] = r
}

// mergeRecent makes new rows while queries go on.
func (v *Views) mergeRecent() {
	o := &v.tokens
	old, gone, turn, since := o.rows, slices.Clone(o.rows.gone), o.turn, o.staleSince
	others := slices.SortedFunc(maps.Values(o.recent), func(a, b row) int { return a.byUse().Compare(b.byUse()) })
	o.late = make(map[keys.ID]bool)
	go func() {
		r := old.merge(gone, others)
		held := r.holdings(since)
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.turn != turn {
			return // the rows have been replaced since
		}
		late, before := o.late, o.recent
		o.set(r, held, since)
		if o.facts != nil && o.facts.wasteful() || o.dead != nil && o.dead.facts.wasteful() {
			o.dropFacts()
		}
		for id := range late {
			v.renew(noted{id: id, created: before[id].created, fact: before[id].fact})
		}
	}()
}

// set installs new rows.
func (o *tokens) set(r *rows, held []Holding, staleSince int64) {
	o.turn++
	o.staleSince = staleSince
	o.rows, o.held, o.recent, o.lost, o.late = r, held, map[keys.ID]row{}, map[uint32]bool{}, nil
}

// page finds the places that a filter takes.
func (o *tokens) page(v *Sieve, takes func(row) bool) []Place {
	found := newSelection(v.TokenFilter)
	offer := func(r row) {
		if !takes(r) {
			return
		}
		at := r.byUse()
		if v.Order == Created {
			at.At = r.created
		}
		found.offer(at)
	}
	if v.few != nil {
		o.each(v.few, offer)
		return found.sorted()
	}
	for _, r := range o.recent {
		offer(r)
	}
	if v.Revoked {
		o.dead.each(offer)
	}
	found.cut()
	from, to := 0, o.last(v)
	if (v.After != Place{}) {
		at := o.rows.until(v.Order, v.After)
		if v.Reverse {
			to = min(to, at)
		} else {
			from = at // this may be the place itself, which offer skips
		}
	}
	taken := 0
	for nth := range max(0, to-from) {
		if v.Reverse {
			nth = to - 1 - nth
		} else {
			nth += from
		}
		n, at := o.rows.sorted(v.Order, nth)
		if o.rows.gone.has(uint32(n)) || at == v.After || !takes(o.rows.at(n)) {
			continue
		}
		found.list = append(found.list, at)
		if taken++; taken == v.Limit {
			break
		}
	}
	return found.sorted()
}

// last returns where, in the filter's order, the rows end that may have been idle for as
// long as the filter asks.
func (o *tokens) last(v *Sieve) int {
	if v.IdleSince == 0 {
		return o.rows.len()
	}
	return o.rows.until(v.Order, Place{At: v.IdleSince + 1}) // a token is never used before it is created
}

// each calls fn with each of the given tokens that exists.
func (o *tokens) each(ids []keys.ID, fn func(row)) {
	for _, id := range ids {
		if r, ok := o.recent[id]; ok {
			fn(r)
		} else if n, ok := o.rows.find(id); ok && !o.rows.gone.has(uint32(n)) {
			fn(o.rows.at(n))
		}
	}
}

// count counts the tokens that a filter takes.
func (o *tokens) count(v *Sieve, takes func(row) bool) (n int) {
	if v.few != nil {
		o.each(v.few, func(r row) {
			if takes(r) {
				n++
			}
		})
		return n
	}
	if v.Revoked {
		o.dead.each(func(r row) {
			if takes(r) {
				n++
			}
		})
	}
	if v.Match == nil && v.prefix.none && !v.NeverUsed && v.IdleSince == 0 && v.Prefix != "" {
		for _, owner := range v.numbers {
			if int(owner) < len(o.held) {
				n += o.held[owner].Tokens
			}
		}
		return n
	}
	for _, r := range o.recent {
		if takes(r) {
			n++
		}
	}
	to := o.last(v)
	if v.Match == nil && v.Prefix == "" && !v.NeverUsed {
		return n + to - o.rows.gone.below(to)
	}
	for i := range to {
		if !o.rows.gone.has(uint32(i)) && takes(o.rows.at(i)) {
			n++
		}
	}
	return n
}
