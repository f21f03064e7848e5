package storage

import (
	"errors"

	"gatehouse/storage/index"
)

// reader reads the records as of one moment.
type reader struct {
	*index.View
	s *Store
}

// view runs fn on the store as it is now.
func (s *Store) view(fn func(rd *reader) error) error {
	if err := s.opening.await(); err != nil {
		return err
	}
	// Before it begins: what it finds in the index of a token's uses, and what it
	// finds in the table, must fit together.
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

// Size is what the store takes on the disk, in bytes, without the ballast. What the
// index takes of it is as of a minute ago at most.
func (s *Store) Size() int64 {
	n := s.journal.Size()
	if !s.IsOpen() {
		return n // nobody who asks for a figure waits
	}
	s.view(func(*reader) error {
		n += s.index.Size()
		return nil
	})
	return n
}
