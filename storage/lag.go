package storage

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
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

	mu   sync.RWMutex
	ops  []op // in order
	last uint64
	now  map[string]op // the latest for each key
}

func (l *lag) add(ops []op, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		l.now = make(map[string]op)
	}
	for _, o := range ops {
		l.now[string(o.key)] = o
	}
	l.ops = append(l.ops, ops...)
	l.last = last
	l.kept.Store(true)
	if !l.some.Swap(true) {
		l.turn.Add(1)
	}
}

// refresh keeps up with what went into Badger, while there are old readers.
func (l *lag) refresh(ops []op) {
	if !l.kept.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range ops {
		l.now[string(o.key)] = o
	}
}

// next is what goes into one transaction.
func (l *lag) next() []op {
	size := 0
	for n, o := range l.ops {
		if size += len(o.key) + len(o.value); size > batchBytes {
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

func (l *lag) get(key []byte) (o op, ok bool) {
	if !l.kept.Load() {
		return o, false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	o, ok = l.now[string(key)]
	return o, ok
}

// wakeWriter has the writer catch up although nobody wants a change.
func (s *Store) wakeWriter() {
	select {
	case s.changes <- &change{fn: func(*tx) error { return nil }, done: make(chan struct{})}:
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
		if s.space.short() || !s.space.ready(1<<20) {
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
			s.marks.last = s.lag.last
			return s.setApplied(txn)
		})
		if err != nil {
			s.opts.Log.Warn("the index is still behind the journal", "error", err)
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
	s.opts.Log.Info("the index has caught up with the journal")
}

// marks say how far Badger is, and where in the journal it was some while ago.
//
// Badger keeps its newest data, at most four memory tables of it, in a log
// that it does not sync and of which it drops silently whatever follows a
// damaged byte, possibly from the middle. A kill leaves the log whole; after
// the power has gone nothing says how much of it is left. Then the records that
// may have been only there are brought in again from the journal; putting what
// is put already does no harm. That it was enough is not taken for granted: the
// counts tell.
type marks struct {
	last uint64            // the highest sequence in Badger
	size uint64            // bytes of operations since the last step
	past [pastMarks]uint64 // the sequences at the steps before, the newest first
}

const (
	pastMarks = 8
	markStep  = 5 << 20 // bytes of operations; times pastMarks-1 it exceeds the memory tables
)

// mark notes that operations are about to be put into Badger.
func (s *Store) mark(ops []op) {
	m := &s.marks
	for _, o := range ops {
		m.size += uint64(len(o.key) + len(o.value))
	}
	if m.size >= markStep {
		copy(m.past[1:], m.past[:])
		m.past[0], m.size = m.last, 0
	}
}

func (m marks) value() []byte {
	b := binary.BigEndian.AppendUint64(nil, m.last)
	b = binary.BigEndian.AppendUint64(b, m.size)
	for _, p := range m.past {
		b = binary.BigEndian.AppendUint64(b, p)
	}
	return b
}

// parseMarks reads what value wrote, and returns what follows.
func parseMarks(b []byte) (m marks, rest []byte, ok bool) {
	const size = 8 * (2 + pastMarks)
	if len(b) < size {
		return m, nil, false
	}
	m.last, m.size = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	for i := range m.past {
		m.past[i] = binary.BigEndian.Uint64(b[16+8*i:])
	}
	return m, b[size:], true
}

// settled is a sequence up to which Badger has put everything into tables,
// which it syncs and whose checksums it keeps.
func (m marks) settled() uint64 { return m.past[pastMarks-1] }
