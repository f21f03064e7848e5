package storage

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
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
}

func (f File) key(owner UserID) []byte {
	sum := sha256.Sum256(slices.Concat(f.ID, []byte{0}, []byte(f.Path)))
	return key('v', owner.bytes(), sum[:16])
}

// OpenedFile records that a user opened a file: it moves to the front, and the
// oldest beyond the limit is forgotten. A zero Time is taken as now.
func (s *Store) OpenedFile(owner UserID, f File) error {
	return s.change(Actor{}, func(t *tx) error {
		list, err := s.files(t.txn, owner)
		if err != nil {
			return err
		}
		if f.Time == 0 {
			f.Time = t.now
		}
		k := f.key(owner)
		list = slices.DeleteFunc(list, func(o File) bool { return string(o.key(owner)) == string(k) })
		f.Order = 1
		for _, o := range list {
			f.Order = max(f.Order, o.Order+1)
		}
		for ; len(list) >= maxFiles; list = list[:len(list)-1] {
			t.delete(list[len(list)-1].key(owner))
		}
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		t.put(k, b)
		return nil
	})
}

// Files lists a user's recent files, the newest first.
func (s *Store) Files(owner UserID) (list []File, err error) {
	err = s.view(func(txn *badger.Txn) error {
		list, err = s.files(txn, owner)
		return err
	})
	return list, err
}

func (s *Store) files(txn *badger.Txn, owner UserID) ([]File, error) {
	var list []File
	for item := range scan(txn, key('v', owner.bytes()), nil) {
		stored, err := item.ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		b, err := s.seals.open(item.Key(), stored)
		if err != nil {
			return nil, err
		}
		var f File
		if err := json.Unmarshal(b, &f); err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b File) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Order, a.Order))
	})
	return list, nil
}
