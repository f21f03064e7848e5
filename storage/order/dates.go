package order

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// dropMore drops the columns of the rows that the table does not have.
func (v *Views) dropMore() {
	o := &v.tokens
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows != nil {
		r := *o.rows
		r.created, r.byCreated = nil, nil
		o.rows = &r
		o.turn, o.late = o.turn+1, nil
		o.dropFacts()
	}
}

// dropFacts drops the facts and their numbers. The caller holds mu.
func (o *tokens) dropFacts() {
	r := *o.rows
	r.fact = nil
	o.rows, o.facts, o.dead = &r, nil, nil
	for id, one := range o.recent {
		one.fact = 0
		o.recent[id] = one
	}
}

// dateTokens finds out when the tokens were created, by walking the index by owner.
func (v *Views) dateTokens() error {
	dated := func(r *rows) bool { return r.created != nil }
	return v.readMore(dated, v.readCreated, func(o *tokens, r *rows) {
		for id, one := range o.recent {
			if n, ok := r.find(id); ok && one.created == 0 {
				one.created = r.created[n]
				o.recent[id] = one
			}
		}
	})
}

// describeTokens reads the facts of the tokens and, if withDead is set, the dead tokens.
func (v *Views) describeTokens(withDead bool) error {
	o := &v.tokens
	var f *facts
	var d *dead
	described := func(r *rows) bool {
		if r.fact == nil {
			f = newFacts(r.len()) // in the order of the rows, which searches follow
		}
		if withDead && o.dead == nil {
			d = newDead()
		}
		return f == nil && d == nil
	}
	read := func(r *rows) error { return v.readFacts(r, f, d) }
	return v.readMore(described, read, func(o *tokens, r *rows) {
		if d != nil {
			for id := range o.late {
				if _, live := o.recent[id]; !live {
					d.unread[id] = struct{}{}
				}
			}
			d.facts.settle()
			o.dead = d
		}
		if f != nil {
			o.adoptFacts(f, r)
		}
	})
}

// adoptFacts makes new facts fit the recent tokens.
func (o *tokens) adoptFacts(f *facts, r *rows) {
	for id, one := range o.recent {
		if n, ok := r.find(id); ok {
			one.fact = r.fact[n]
		} else {
			one.fact = f.new()
		}
		if changed, since := o.late[id]; changed {
			f.forget(one.fact)
		} else if since {
			f.unsee(one.fact)
		}
		o.recent[id] = one
	}
	f.settle()
	o.facts = f
}

// readMore adds a column to the rows unless has reports that they have it. The function
// read fills the column of a copy of the rows from the index, and adopt fits it to the
// recent tokens. Queries that do not need the column go on at the same time.
func (v *Views) readMore(has func(*rows) bool, read func(*rows) error, adopt func(*tokens, *rows)) error {
	o := &v.tokens
	o.reading.Lock()
	defer o.reading.Unlock()
	o.mu.Lock()
	for o.rows != nil && o.late != nil { // wait: a merge is soon over
		o.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if o.rows == nil || has(o.rows) {
		return nil
	}
	turn, r := o.turn, *o.rows
	o.late = map[keys.ID]bool{} // no merge until this is done
	o.mu.Unlock()
	err := read(&r)
	o.mu.Lock()
	if o.turn != turn {
		return err // the rows were dropped
	}
	if err == nil {
		adopt(o, &r)
		o.rows = &r
	}
	o.late = nil
	return err
}

func (v *Views) readCreated(r *rows) error {
	created := make([]int64, r.len())
	err := eachByte(func(b byte) error { // of the owner's id
		return v.index.Owned(b, func(id keys.ID, ms int64) {
			if n, ok := r.find(id); ok {
				created[n] = ms
			}
		})
	})
	if err == nil {
		r.date(created)
	}
	return err
}

// readFacts reads the facts of the rows unless f is nil, and the dead tokens unless d is
// nil.
func (v *Views) readFacts(r *rows, f *facts, d *dead) error {
	var mu sync.Mutex
	err := eachByte(func(b byte) error {
		return v.index.TokensIn(b, func(t record.Token) {
			if d != nil {
				if _, live, _ := v.table.Get(t.ID); !live {
					mu.Lock()
					defer mu.Unlock()
					d.add(v, &t)
					return
				}
			}
			if n, ok := r.find(t.ID); ok && f != nil {
				mu.Lock()
				defer mu.Unlock()
				f.set(uint32(n+1), &t)
			}
		})
	})
	if d != nil {
		slices.SortFunc(d.list, compareIDs)
	}
	if f != nil {
		r.fact = make([]uint32, r.len())
		for n := range r.fact {
			r.fact[n] = uint32(n + 1)
		}
		f.compact()
	}
	return err
}

// eachByte calls read with all bytes, from a few goroutines. It stops at an error.
func eachByte(read func(byte) error) error {
	var next atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, min(4, runtime.GOMAXPROCS(0)))
	for w := range errs {
		wg.Go(func() {
			for b := next.Add(1) - 1; b < 256 && errs[w] == nil; b = next.Add(1) - 1 {
				errs[w] = read(byte(b))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
