package storage

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/record"
)

func postpone(t *time.Timer, f func()) *time.Timer {
	if t == nil {
		return time.AfterFunc(lookedAt, f)
	}
	t.Reset(lookedAt)
	return t
}

func (s *Store) dropDates() {
	o := &s.order
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows != nil {
		r := *o.rows
		r.created, r.byCreated = nil, nil
		o.rows = &r
		o.turn, o.late = o.turn+1, nil
	}
}

// dateOrder finds out when the tokens were created, by a walk through the index
// by owner. Who looks at other orders meanwhile need not wait.
func (s *Store) dateOrder() error {
	o := &s.order
	o.dating.Lock()
	defer o.dating.Unlock()
	o.mu.Lock()
	for o.rows != nil && o.late != nil { // a merge will soon be over
		o.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if o.rows == nil || o.rows.created != nil {
		return nil
	}
	turn, r := o.turn, *o.rows
	o.late = map[ID]struct{}{} // no merge, until the rows have their dates
	o.mu.Unlock()
	created := make([]int64, r.len())
	err := s.readCreated(&r, created)
	if err == nil {
		r.date(created)
	}
	o.mu.Lock()
	if o.turn != turn {
		return err // the rows were let go
	}
	o.late = nil
	if err != nil {
		return err
	}
	for id, v := range o.recent {
		if n, ok := r.find(id); ok && v.created == 0 {
			v.created = created[n]
			o.recent[id] = v
		}
	}
	o.rows = &r
	return nil
}

func (s *Store) readCreated(r *rows, created []int64) error {
	var next atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, min(4, runtime.GOMAXPROCS(0)))
	for w := range errs {
		wg.Go(func() {
			errs[w] = s.view(func(rd *reader) error {
				for b := next.Add(1) - 1; b < 256; b = next.Add(1) - 1 { // by the first byte of the owner
					for k := range rd.Scan([]byte{'o', byte(b)}) {
						ms, id := record.CutOwnedKey(k)
						if n, ok := r.find(id); ok {
							created[n] = ms
						}
					}
				}
				return nil
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
