package storage

import (
	"errors"

	"gatehouse/storage/index"
)

// reader reads the records as they were at one moment.
type reader struct {
	*index.View
	s *Store
}

// view runs fn on the current state of the store.
func (s *Store) view(fn func(rd *reader) error) error {
	if err := s.opening.await(); err != nil {
		return err
	}
	// Take the lock before the view begins: the uses in the index and the uses in
	// the table must fit together.
	s.uses.RLock()
	defer s.uses.RUnlock()
	v, end, err := s.index.Begin()
	if err != nil {
		return err
	}
	defer end()
	err = fn(&reader{v, s})
	if errors.Is(err, ErrDamaged) && !s.index.Damaged() {
		s.index.NoteDamage(err)
	}
	return err
}

// Size returns the disk space of the store in bytes, without the ballast. The
// index's share is at most a minute old.
func (s *Store) Size() int64 {
	n := s.journal.Size()
	if !s.IsOpen() {
		return n // a caller that asks for a figure must not wait
	}
	s.view(func(*reader) error {
		n += s.index.Size()
		return nil
	})
	return n
}
