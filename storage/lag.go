package storage

import (
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// lag holds what the journal has and Badger does not, because its disk is full
// or failing. Whoever reads a record looks here first.
type lag struct {
	some atomic.Bool   // whether there is anything
	turn atomic.Uint64 // odd while there is

	// Whoever began to read while there was something reads here to the end,
	// also when Badger has caught up: what he sees of Badger is older.
	kept    atomic.Bool // whether there is anything to read
	readers atomic.Int64

	mu  sync.RWMutex
	ops []record.Op          // in order
	end journal.Position     // of the journal, after them
	why error                // Badger does not have them
	now map[string]record.Op // the latest for each key
}

// add keeps what Badger does not take, and why.
func (l *lag) add(ops []record.Op, end journal.Position, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = why
	if l.now == nil {
		l.now = make(map[string]record.Op)
	}
	for _, o := range ops {
		l.now[string(o.Key)] = o
	}
	l.ops = append(l.ops, ops...)
	l.end = end
	l.kept.Store(true)
	if !l.some.Swap(true) {
		l.turn.Add(1)
	}
}

// refresh keeps up with what went into Badger, while there are old readers.
func (l *lag) refresh(ops []record.Op) {
	if !l.kept.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range ops {
		l.now[string(o.Key)] = o
	}
}

// next is what goes into one transaction.
func (l *lag) next() []record.Op {
	size := 0
	for n, o := range l.ops {
		if size += len(o.Key) + len(o.Value); size > batchBytes {
			return l.ops[:max(n, 1)]
		}
	}
	return l.ops
}

// forget is the writer's: it lets go of what nobody reads any more.
func (l *lag) forget() {
	if !l.kept.Load() || l.some.Load() || l.readers.Load() > 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = nil
	l.kept.Store(false)
}

// reader counts one who begins to read; he calls the function when he ends.
func (l *lag) reader() (end func()) {
	if !l.some.Load() {
		return func() {}
	}
	l.readers.Add(1)
	return func() { l.readers.Add(-1) }
}

func (l *lag) get(key []byte) (o record.Op, ok bool) {
	if !l.kept.Load() {
		return o, false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	o, ok = l.now[string(key)]
	return o, ok
}

// because is why there is something; nil: there is nothing.
func (l *lag) because() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.some.Load() {
		return nil
	}
	return l.why
}

func (l *lag) blame(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = why
}

// wakeWriter has the writer catch up although nobody wants a change.
func (s *Store) wakeWriter() {
	select {
	case s.writer.changes <- &change{fn: func(*tx) error { return nil }, done: make(chan struct{})}:
	default: // it has work, and catches up before that
	}
}

// catchUp brings what waits into Badger, if it will take it. It is the writer's.
func (s *Store) catchUp() {
	s.lag.forget()
	if !s.lag.some.Load() {
		return
	}
	for len(s.lag.ops) > 0 {
		why := s.space.Short()
		if why == nil {
			why = s.space.ready(1 << 20)
		}
		if why != nil {
			s.lag.blame(why)
			return
		}
		part := s.lag.next()
		err := s.db.Update(func(txn *badger.Txn) error {
			if err := setAll(txn, part); err != nil {
				return err
			}
			if len(part) < len(s.lag.ops) {
				return nil // applied stays behind until all is in
			}
			s.marks.at = s.lag.end
			return s.setApplied(txn)
		})
		if err != nil {
			s.lag.blame(disk.NotWritten("write to the index", err))
			return
		}
		s.mark(part)
		s.lag.mu.Lock()
		s.lag.ops = s.lag.ops[len(part):]
		s.lag.mu.Unlock()
	}
	s.visible.Lock()
	s.lag.ops = nil
	s.lag.some.Store(false)
	s.lag.turn.Add(1)
	s.visible.Unlock()
	s.states.behind.Set(nil)
}
