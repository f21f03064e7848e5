package storage

import (
	"encoding/json"
	"fmt"
	"testing"

	"gatehouse/storage/read"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/unlogged"
)

// TestFilesLeaveNoTrail posts a very large number of recent files: the journal
// must not grow by a byte, and the index must not keep more records than listings
// show.
func TestFilesLeaveNoTrail(t *testing.T) {
	s := open(t, t.TempDir())
	u := addUser(t, s, "ada@example.com")
	last, size := s.Audit().Last(), s.journal.Size()
	for n := range 500 {
		f := File{ID: json.RawMessage(fmt.Sprint(n)), Revision: json.RawMessage("1"), Path: fmt.Sprint("/", n%300)}
		must.Do(t, s.Files().Opened(u.ID, f))
	}
	if got := s.Audit().Last(); got != last {
		t.Errorf("the journal has %d records more", got-last)
	}
	if got := s.journal.Size(); got != size {
		t.Errorf("the journal has grown from %d to %d bytes", size, got)
	}
	keys := 0
	err := s.view(func(rd *read.Reader) error {
		for range rd.Scan([]byte{'r'}) {
			keys++
		}
		return nil
	})
	if err != nil || keys != unlogged.MaxFiles {
		t.Errorf("the index has %d recent files, %v; want %d", keys, err, unlogged.MaxFiles)
	}
}
