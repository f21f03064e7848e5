package storage

import (
	"errors"
	"time"

	"gatehouse/storage/index"
	"gatehouse/storage/record"
	"gatehouse/storage/unlogged"
)

// Attempts is what is remembered of failed logins.
type Attempts = unlogged.Attempts

// unloggedIndex is the index as package unlogged sees it.
type unloggedIndex struct{ s *Store }

func (x unloggedIndex) Writable() error { return x.s.Writable() }

func (x unloggedIndex) View(fn func(*index.View) error) error {
	return x.s.view(func(rd *reader) error { return fn(rd.View) })
}

func (x unloggedIndex) Update(fn func(*index.Update) error) error {
	if err := x.s.opening.await(); err != nil {
		return err
	}
	return x.s.index.Update(1<<10, fn)
}

// initUnlogged makes ready what is in the index alone.
func (s *Store) initUnlogged() {
	x := unloggedIndex{s}
	s.sessions.Index, s.sessions.Now = x, s.clock.now
	s.sessions.Owner = func(id UserID) (record.Owner, bool) {
		o, _, ok := s.table.Owners.Find(id)
		return o, ok
	}
	s.sessions.Unsaved = func(err error) { s.states.sessions.Set(err) }
	s.files.Index, s.files.Now = x, s.clock.now
	s.memory.Index = x
	s.memory.Write = func(bytes int, fn func(*index.Update) error) error { return s.index.Write(bytes, fn) }
}

// OpenedFile records that a user opened a file: it moves to the front, and the
// oldest beyond the limit is forgotten. A zero Time is taken as now.
func (s *Store) OpenedFile(owner UserID, f File) error { return s.files.Opened(owner, f) }

// Files lists a user's recent files, the newest first.
func (s *Store) Files(owner UserID) ([]File, error) { return s.files.List(owner) }

// moveFiles brings recent files of an older version to their place. It is the writer's
// first task.
func (w *writer) moveFiles() {
	err := w.s.files.MoveOld(func(keys [][]byte) error {
		c := &change{done: make(chan struct{}), fn: func(t *tx) error {
			for _, k := range keys {
				t.delete(k)
			}
			return nil
		}}
		w.commit([]*change{c})
		return c.err
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		w.s.opts.Log.Warn("recent files of an older version are not yet shown; the next start tries again", "error", err)
	}
}

// Remembered returns what is remembered under a name; nil for nothing.
func (s *Store) Remembered(name string) (value []byte, err error) { return s.memory.Get(name) }

// Remember keeps a value under a name for as long as keep. It reaches the disk
// within a second.
func (s *Store) Remember(name string, value []byte, keep time.Duration) {
	s.memory.Put(name, value, keep)
}

// Attempts returns what is remembered under a name; the zero value for nothing.
func (s *Store) Attempts(name string) (Attempts, error) { return s.memory.Attempts(name) }

// SetAttempts remembers attempts under a name.
func (s *Store) SetAttempts(name string, v Attempts) { s.memory.SetAttempts(name, v) }
