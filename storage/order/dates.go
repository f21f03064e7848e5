package order

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/keys"
)

func (v *Views) dropDates() {
	o := &v.tokens
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows != nil {
		r := *o.rows
		r.created, r.byCreated = nil, nil
		o.rows = &r
		o.turn, o.late = o.turn+1, nil
	}
}

// dateTokens finds out when the tokens were created, by walking the index by
// owner. Queries in the other order need not wait for it.
func (v *Views) dateTokens() error {
	o := &v.tokens
	o.dating.Lock()
	defer o.dating.Unlock()
	o.mu.Lock()
	for o.rows != nil && o.late != nil { // wait: a merge is soon over
		o.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if o.rows == nil || o.rows.created != nil {
		return nil
	}
	turn, r := o.turn, *o.rows
	o.late = map[keys.ID]struct{}{} // no merge until the rows have their dates
	o.mu.Unlock()
	created := make([]int64, r.len())
	err := v.readCreated(&r, created)
	if err == nil {
		r.date(created)
	}
	o.mu.Lock()
	if o.turn != turn {
		return err // the rows were dropped
	}
	o.late = nil
	if err != nil {
		return err
	}
	for id, one := range o.recent {
		if n, ok := r.find(id); ok && one.created == 0 {
			one.created = created[n]
			o.recent[id] = one
		}
	}
	o.rows = &r
	return nil
}

func (v *Views) readCreated(r *rows, created []int64) error {
	var next atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, min(4, runtime.GOMAXPROCS(0)))
	for w := range errs {
		wg.Go(func() {
			for b := next.Add(1) - 1; b < 256 && errs[w] == nil; b = next.Add(1) - 1 { // by the owner's first byte
				errs[w] = v.index.Owned(byte(b), func(id keys.ID, ms int64) {
					if n, ok := r.find(id); ok {
						created[n] = ms
					}
				})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
