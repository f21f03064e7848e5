package unlogged

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"sync"

	"gatehouse/storage/index"
	"gatehouse/storage/record"
)

// MaxFiles is how many recent files are kept for a user.
const MaxFiles = 100

// Files are the files that users opened last. All fields are required.
//
// Each user has MaxFiles slots, which are written again and again, so that no deleted
// keys pile up.
type Files struct {
	Index Index
	Now   func() int64 // ms

	mu sync.Mutex // guards Opened, which reads before it writes
}

// Opened records that a user opened a file: it moves to the front, and the
// oldest beyond the limit is forgotten. A zero Time is taken as now.
func (f *Files) Opened(owner record.UserID, v record.File) error {
	if err := f.Index.Writable(); err != nil {
		return err
	}
	if v.Time == 0 {
		v.Time = f.Now()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Index.Update(func(u *index.Update) error {
		list, err := filesUnder(&u.View, record.FilesOf(owner))
		if err != nil {
			return err
		}
		return putFile(u, owner, list, v)
	})
}

// putFile writes a file to the slot of the same file, to a free slot, or to the
// slot of the oldest file. The list has the user's current files and is sorted.
func putFile(u *index.Update, owner record.UserID, list []record.File, v record.File) error {
	v.Order = 1
	v.Slot = freeSlot(list)
	for i := range list {
		v.Order = max(v.Order, list[i].Order+1)
		if list[i].Same(&v) {
			v.Slot = list[i].Slot
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return u.Put(record.FileKey(owner, v.Slot), b, 0)
}

func freeSlot(list []record.File) byte {
	if len(list) >= MaxFiles {
		return list[len(list)-1].Slot
	}
	var taken [MaxFiles]bool
	for i := range list {
		taken[list[i].Slot] = true
	}
	return byte(slices.Index(taken[:], false))
}

// List lists a user's recent files, the newest first.
func (f *Files) List(owner record.UserID) (list []record.File, err error) {
	err = f.Index.View(func(view *index.View) error {
		list, err = filesUnder(view, record.FilesOf(owner))
		return err
	})
	return list, err
}

// filesUnder reads the files under a prefix and sorts them, the newest first.
func filesUnder(view *index.View, prefix []byte) ([]record.File, error) {
	var list []record.File
	err := view.Each(prefix, func(k, b []byte) error {
		v, err := record.ParseFile(k, b)
		list = append(list, v)
		return err
	})
	slices.SortFunc(list, func(a, b record.File) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Order, a.Order))
	})
	return list, err
}

// MoveOld moves recent files of older programs, which kept them in the log, to their
// current place, and calls logged to delete them from the old one. It writes a user's
// files to the new place first, so if it is interrupted the next start continues. Nothing
// else may be written until it returns.
func (f *Files) MoveOld(logged func(keys [][]byte) error) error {
	for {
		owner, keys, list, err := f.old()
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := f.Index.Update(func(u *index.Update) error { return moveInto(u, owner, list) }); err != nil {
			return err
		}
		if err := logged(keys); err != nil {
			return err
		}
	}
}

// old returns the keys and the files of one user with files in the old place.
func (f *Files) old() (owner record.UserID, keys [][]byte, list []record.File, err error) {
	err = f.Index.View(func(view *index.View) error {
		for k := range view.Scan([]byte{'v'}) {
			if len(k) < 9 {
				keys = append(keys, bytes.Clone(k))
				return nil
			}
			owner = record.DecodeUserID(k[1:9])
			break
		}
		if owner == 0 {
			return nil
		}
		prefix := record.Key('v', owner.Bytes())
		for k := range view.Scan(prefix) {
			keys = append(keys, bytes.Clone(k))
		}
		list, err = filesUnder(view, prefix)
		return err
	})
	return owner, keys, list, err
}

// moveInto writes files that the new place does not have, the oldest first.
func moveInto(u *index.Update, owner record.UserID, old []record.File) error {
	for _, v := range slices.Backward(old) {
		list, err := filesUnder(&u.View, record.FilesOf(owner))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(g record.File) bool { return g.Same(&v) }) {
			continue
		}
		if err := putFile(u, owner, list, v); err != nil {
			return err
		}
	}
	return nil
}
