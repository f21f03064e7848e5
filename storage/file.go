package storage

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"gatehouse/storage/record"
)

// maxFiles is how many recent files are kept for a user.
const maxFiles = 100

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
		f.Time = s.clock.now()
	}
	s.files.Lock()
	defer s.files.Unlock()
	return s.update(func(u *updater) error {
		list, err := u.filesOf(owner)
		if err != nil {
			return err
		}
		return u.putFile(owner, list, f)
	})
}

// putFile writes a file beside those in the list, which is sorted, into the slot
// of the same file, a free one, or that of the oldest.
func (u *updater) putFile(owner UserID, list []File, f File) error {
	f.Order = 1
	f.Slot = freeSlot(list)
	for i := range list {
		f.Order = max(f.Order, list[i].Order+1)
		if list[i].Same(&f) {
			f.Slot = list[i].Slot
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	k := record.FileKey(owner, f.Slot)
	return u.out.Put(k, b, 0)
}

func freeSlot(list []File) byte {
	if len(list) >= maxFiles {
		return list[len(list)-1].Slot
	}
	var taken [maxFiles]bool
	for i := range list {
		taken[list[i].Slot] = true
	}
	return byte(slices.Index(taken[:], false))
}

// Files lists a user's recent files, the newest first.
func (s *Store) Files(owner UserID) (list []File, err error) {
	err = s.view(func(rd *reader) error {
		list, err = rd.filesOf(owner)
		return err
	})
	return list, err
}

func (rd *reader) filesOf(owner UserID) ([]File, error) {
	return rd.readFiles(record.FilesOf(owner))
}

// readFiles reads the files under a prefix and sorts them, the newest first.
func (rd *reader) readFiles(prefix []byte) ([]File, error) {
	var list []File
	err := rd.Each(prefix, func(k, v []byte) error {
		f := File{Slot: k[len(k)-1]}
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
