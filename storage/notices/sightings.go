package notices

import (
	"errors"
	"sync"

	"gatehouse/storage/index"
	"gatehouse/storage/record"
)

// mostSighted is how many keys of sightings are kept in memory. There are more only when a
// large site moves to other addresses; a walk finds the others.
const mostSighted = 4096

// Sightings are the uses of tokens in new networks that are not told yet. They wait in the
// index, and their keys in memory. A walk finds the keys that are not in memory: those from
// before the start, and those beyond mostSighted.
type Sightings struct {
	Index Index

	walk *Walk
	mu   sync.Mutex
	keys []string // that wait, the oldest first
	has  map[string]bool
}

// NewSightings returns the sightings in an index.
func NewSightings(x Index) *Sightings {
	return &Sightings{Index: x, walk: NewWalk(), has: map[string]bool{}}
}

// Sighted notes a sighting that is now in the index.
func (s *Sightings) Sighted(key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := string(key); {
	case s.has[k]:
	case len(s.keys) >= mostSighted:
		s.walk.News()
	default:
		s.keys, s.has[k] = append(s.keys, k), true
	}
}

// Waiting lists up to most sightings.
func (s *Sightings) Waiting(most int) (list []record.Sighting, err error) {
	keys := s.first(most)
	if len(keys) == 0 && s.walk.Due() {
		if err := s.walkOn(); err != nil {
			return nil, err
		}
		keys = s.first(most)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	var gone []string
	err = s.Index.View(func(v *index.View) error {
		for _, k := range keys {
			b, ok, err := v.Get([]byte(k))
			if err != nil {
				return err
			}
			if !ok {
				gone = append(gone, k)
				continue
			}
			one, err := record.ParseSighting([]byte(k), b)
			if err != nil {
				return err
			}
			list = append(list, one)
		}
		return nil
	})
	s.drop(gone)
	return list, err
}

func (s *Sightings) first(most int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.keys[:min(most, len(s.keys))]...)
}

// walkOn finds the next keys in the index.
func (s *Sightings) walkOn() error {
	found := 0
	return s.walk.on(s.Index, 'c', func(key, _ []byte) (enough bool, err error) {
		s.Sighted(key)
		found++
		return found == mostSighted/2, nil // the other half is for those that come during the walk
	})
}

// drop forgets keys. They are among the first.
func (s *Sightings) drop(keys []string) {
	if len(keys) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		delete(s.has, k)
	}
	kept := s.keys[:0]
	for _, k := range s.keys {
		if s.has[k] {
			kept = append(kept, k)
		}
	}
	s.keys = kept
}

// Seen deletes sightings.
func (s *Sightings) Seen(list []record.Sighting) error {
	if len(list) == 0 {
		return nil
	}
	keys := make([]string, len(list))
	for i, one := range list {
		keys[i] = string(one.Key())
	}
	s.drop(keys) // first: one that is sighted again from now on must be noted again
	err := s.Index.Update(func(u *index.Update) (err error) {
		for _, k := range keys {
			err = errors.Join(err, u.Delete([]byte(k)))
		}
		return err
	})
	if err != nil {
		for _, k := range keys {
			s.Sighted([]byte(k))
		}
	}
	return err
}
