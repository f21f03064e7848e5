package unlogged

import (
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
