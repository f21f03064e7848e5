package storage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// maxFiles is how many recent files are kept for a user.
const maxFiles = 100

// File is a file that a user opened. ID and Revision are JSON scalars, kept as
// they came.
type File struct {
	ID       json.RawMessage `json:"id"`
	Name     string          `json:"name"`
	Time     int64           `json:"time"` // ms, as the client said or when it came
	Revision json.RawMessage `json:"revision"`
	Path     string          `json:"path"`
	Order    uint64          `json:"order"` // raised with each opening: tells files of one millisecond apart

	slot byte // where it is stored
}

// same reports whether two records are of the same file.
func (f *File) same(g *File) bool { return bytes.Equal(f.ID, g.ID) && f.Path == g.Path }

func fileKey(owner UserID, slot byte) []byte { return key('r', owner.Bytes(), []byte{slot}) }

// OpenedFile records that a user opened a file: it moves to the front, and the
// oldest beyond the limit is forgotten. A zero Time is taken as now.
//
// Recent files are a convenience, and a script that posts them all day must not
// fill the audit log. So they are written to the index alone: a kill loses
// nothing, a power failure what the kernel had not yet written, and an index that
// is built again has them as of the last checkpoint. Each user has maxFiles
// slots, which are written again and again, so that no deleted keys pile up.
func (s *Store) OpenedFile(owner UserID, f File) error {
	if err := s.Writable(); err != nil {
		return err
	}
	if f.Time == 0 {
		f.Time = s.now()
	}
	s.files.Lock()
	defer s.files.Unlock()
	return s.update(func(txn *badger.Txn) error {
		list, err := s.filesOf(txn, owner)
		if err != nil {
			return err
		}
		return s.putFile(txn, owner, list, f)
	})
}

// putFile writes a file beside those in the list, which is sorted, into the slot
// of the same file, a free one, or that of the oldest.
func (s *Store) putFile(txn *badger.Txn, owner UserID, list []File, f File) error {
	f.Order = 1
	f.slot = freeSlot(list)
	for i := range list {
		f.Order = max(f.Order, list[i].Order+1)
		if list[i].same(&f) {
			f.slot = list[i].slot
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	k := fileKey(owner, f.slot)
	return txn.Set(k, s.seals.Seal(k, b))
}

func freeSlot(list []File) byte {
	if len(list) >= maxFiles {
		return list[len(list)-1].slot
	}
	var taken [maxFiles]bool
	for i := range list {
		taken[list[i].slot] = true
	}
	return byte(slices.Index(taken[:], false))
}

// Files lists a user's recent files, the newest first.
func (s *Store) Files(owner UserID) (list []File, err error) {
	err = s.view(func(txn *badger.Txn) error {
		list, err = s.filesOf(txn, owner)
		return err
	})
	return list, err
}

func (s *Store) filesOf(txn *badger.Txn, owner UserID) ([]File, error) {
	return s.readFiles(txn, key('r', owner.Bytes()))
}

// readFiles reads the files under a prefix and sorts them, the newest first.
func (s *Store) readFiles(txn *badger.Txn, prefix []byte) ([]File, error) {
	var list []File
	err := s.each(txn, prefix, func(k, v []byte) error {
		f := File{slot: k[len(k)-1]}
		if err := json.Unmarshal(v, &f); err != nil {
			return fmt.Errorf("%w: a recent file: %w", ErrDamaged, err)
		}
		list = append(list, f)
		return nil
	})
	slices.SortFunc(list, func(a, b File) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Order, a.Order))
	})
	return list, err
}
