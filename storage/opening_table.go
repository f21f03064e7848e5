package storage

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/index"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// loadTable fills table and owners by the records of the index, unless the table's file
// had everything. Nothing is changed yet.
func (o *opening) loadTable() error {
	if isClosed(o.loaded) {
		return nil
	}
	start := time.Now()
	if err := o.loadRecords(); err != nil {
		return index.FaultOf("load the tokens", err)
	}
	o.whole()
	o.s.opts.Log.Info("the table of tokens is loaded from the records", "tokens", o.s.table.Len(), "took", time.Since(start))
	return nil
}

func (o *opening) loadRecords() error {
	s := o.s
	v, end, err := s.index.Begin()
	if err != nil {
		return err
	}
	defer end()
	if s.table.Owners.Len() == 0 {
		if err := o.loadOwners(v); err != nil {
			return err
		}
	}
	for kid := range 256 {
		if !s.keys.Has(byte(kid)) {
			continue // tokens of a retired key are dead, and not loaded
		}
		if err := o.loadTokens(v, byte(kid)); err != nil {
			return err
		}
	}
	return s.raiseFromLog()
}

func (o *opening) loadOwners(v *index.View) error {
	return v.Each([]byte{'u'}, func(k, b []byte) error {
		owner, _, err := record.ParseOwner(record.DecodeUserID(k[1:]), b)
		if err == nil {
			o.s.table.Owners.Set(owner)
		}
		return err
	})
}

// loadTokens shares the ids out by their first random byte, which is also their shard:
// the workers never meet.
func (o *opening) loadTokens(v *index.View, kid byte) error {
	var next atomic.Int32
	return inParallel(func(int) error {
		for b := next.Add(1) - 1; b < table.Shards; b = next.Add(1) - 1 {
			if o.s.isClosing() {
				return ErrClosed
			}
			if err := o.loadShard(v, kid, byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadShard reads the last uses first, so that no token is seen with an older one than it
// has.
func (o *opening) loadShard(v *index.View, kid, b byte) error {
	s := o.s
	uses := map[ID]record.LastUse{}
	err := v.Each([]byte{'l', kid, b}, func(k, b []byte) error {
		uses[ID(k[1:])] = record.ParseLastUse(b)
		return nil
	})
	if err != nil {
		return err
	}
	return v.Each([]byte{'t', kid, b}, func(k, b []byte) error {
		t, err := record.ParseTokenHead(ID(k[1:]), b)
		if err == nil {
			o.loadToken(t, max(s.clock.believe(record.CreatedAt(t.Created)), s.clock.believe(uses[t.ID])))
		}
		return err
	})
}

// loadToken puts a token into the table unless it is dead, or its owner is.
func (o *opening) loadToken(t record.TokenHead, used record.LastUse) {
	s := o.s
	if used&1 == 1 {
		used = record.UsedAt(used.Shown(s.clock.believe(record.CreatedAt(t.Created)).Ms())) // as raise leaves it
	}
	if owner, n, ok := s.table.Owners.Find(t.Owner); ok && owner.State != UserRemoved && t.Revoked == 0 {
		s.table.Load(table.Entry{ID: t.ID, Generation: t.Generation, Flags: t.Flags, Owner: n, Used: used})
	}
}

// whole says that verification needs nothing but the table.
func (o *opening) whole() {
	o.s.table.Whole()
	close(o.loaded)
	debug.FreeOSMemory() // what growing left behind is not needed again
}

// lookup finds a live token. Before all of the table's file is loaded, the token's shard
// is loaded first. Where the file is damaged, the records have the token.
func (s *Store) lookup(id ID) (table.Entry, bool, error) {
	e, ok, whole := s.table.Lookup(id)
	if ok || whole {
		return e, ok, nil
	}
	if err := s.opening.await(); err != nil {
		return table.Entry{}, false, err
	}
	e, ok, _ = s.table.Get(id)
	return e, ok, nil
}

// inParallel runs a function by as many workers as there are processors.
func inParallel(work func(worker int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() { errs[w] = work(w) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// apply brings into table and owners what an operation says of a token or
// a user.
func (o *opening) apply(op record.Op) error {
	if op.Key[0] != 't' && op.Key[0] != 'u' {
		return nil
	}
	if op.Value == nil && op.Key[0] == 't' {
		o.s.table.Remove(ID(op.Key[1:])) // it was revoked, and only its end is kept
		return nil
	}
	if op.Value == nil {
		return fmt.Errorf("%w: the journal takes the record %q away", ErrDamaged, op.Key)
	}
	b, err := o.s.seals.Open(op.Key, op.Value)
	if err != nil {
		return err
	}
	if op.Key[0] == 'u' {
		v, _, err := record.ParseOwner(record.DecodeUserID(op.Key[1:]), b)
		if err == nil {
			o.s.table.Owners.Set(v)
		}
		return err
	}
	t, err := record.ParseTokenHead(ID(op.Key[1:]), b)
	switch {
	case err != nil:
		return err
	case t.Revoked != 0 || !o.s.keys.Has(t.ID[0]):
		o.s.table.Remove(t.ID)
		return nil
	}
	if v, n, ok := o.s.table.Owners.Find(t.Owner); ok && v.State != UserRemoved {
		o.s.table.Put(table.Entry{ID: t.ID, Generation: t.Generation, Flags: t.Flags, Owner: n, Used: o.s.clock.believe(record.CreatedAt(t.Created))})
	}
	return nil
}
