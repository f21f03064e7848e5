package storage

import (
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/read"
	"gatehouse/storage/writer"
)

// tx is one change of the store. Its methods are what the changes consist of.
type tx struct {
	*writer.Tx
	s *Store
}

// noted is what the changes remember beside the records. Only the writer's goroutine uses
// it.
type noted struct {
	allowances map[UserID]allowance
	saved      map[UserID]bool // users that this commit saves; owners does not have their new state yet
	stamped    stamp           // of the latest token or user
}

// stamp distinguishes things that are created in the same millisecond, so that a
// listing keeps the order of creation.
type stamp struct {
	ms int64
	n  uint16
}

func (s *stamp) at(ms int64) uint16 {
	if s.ms != ms {
		s.ms, s.n = ms, 0
	}
	s.n++
	return s.n
}

// change makes the writer run fn. It returns nil when the effect is on the
// disk, and otherwise the error that prevented it.
func (s *Store) change(by Actor, fn func(*tx) error) error { return s.do(by, journal.Ordinary, fn) }

// takeAway is like change, for changes that must work even when the disk is
// full. They use the space that is reserved for them.
func (s *Store) takeAway(by Actor, fn func(*tx) error) error { return s.do(by, journal.Essential, fn) }

func (s *Store) do(by Actor, need journal.Need, fn func(*tx) error) error {
	if s.isClosing() {
		return ErrClosed
	}
	if err := s.opening.Await(); err != nil {
		return err
	}
	return s.writer.Do(by, need, func(t *writer.Tx) error { return fn(&tx{t, s}) })
}

// write runs the writer when the store is open.
func (s *Store) write() {
	if err := s.opening.Await(); err != nil {
		s.writer.Refuse(err)
		return
	}
	s.table.Reached(s.journal.End())
	s.noted.allowances, s.noted.saved = make(map[UserID]allowance), make(map[UserID]bool)
	s.writer.Run(writer.Target{
		Journal: s.journal, Index: s.index, Table: s.table, Space: s.space, Seals: s.seals,
		Read: func(v *index.View) *read.Reader { return s.reads.At(v) },
		Now: func() int64 {
			s.Now() // notice a clock that was just set before writing its time
			return s.clock.Now()
		},
		Begin: func() { clear(s.noted.saved) },
	})
}
