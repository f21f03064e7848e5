package storage

import (
	"bytes"
	"errors"
	"slices"

	"gatehouse/storage/record"
)

// moveFiles brings the recent files of a store that older programs have written,
// which kept them in the journal, to where they are now. It is the writer's first
// task. A user's files are written in their new place before they are deleted
// from the old one, so if it is interrupted the next start goes on with it.
func (s *Store) moveFiles() error {
	for {
		owner, keys, list, err := s.oldFiles()
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := s.update(func(u *updater) error { return u.moveInto(owner, list) }); err != nil {
			return err
		}
		c := &change{done: make(chan struct{}), fn: func(t *tx) error {
			for _, k := range keys {
				t.delete(k)
			}
			return nil
		}}
		if s.writer.commit([]*change{c}); c.err != nil {
			return c.err
		}
	}
}

// oldFiles returns the keys and the files of one user that are in the old place.
func (s *Store) oldFiles() (owner UserID, keys [][]byte, list []File, err error) {
	err = s.view(func(rd *reader) error {
		for k := range rd.Scan([]byte{'v'}) {
			k := bytes.Clone(k)
			if len(k) < 9 {
				keys = append(keys, k)
				return nil
			}
			owner = record.DecodeUserID(k[1:9])
			break
		}
		if owner == 0 {
			return nil
		}
		prefix := record.Key('v', owner.Bytes())
		for k := range rd.Scan(prefix) {
			keys = append(keys, bytes.Clone(k))
		}
		list, err = rd.readFiles(prefix)
		return err
	})
	return owner, keys, list, err
}

// moveInto writes files that the new place does not have, the oldest first.
func (u *updater) moveInto(owner UserID, old []File) error {
	for _, f := range slices.Backward(old) {
		list, err := u.filesOf(owner)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(g File) bool { return g.Same(&f) }) {
			continue
		}
		if err := u.putFile(owner, list, f); err != nil {
			return err
		}
	}
	return nil
}

// bringUp is what the writer does first, once.
func (s *Store) bringUp() {
	if err := s.moveFiles(); err != nil && !errors.Is(err, ErrClosed) {
		s.opts.Log.Warn("recent files of an older version are not yet shown; the next start tries again", "error", err)
	}
}
