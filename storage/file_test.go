package storage_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"gatehouse/storage"
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
	last, size := s.Audit().Last(), s.Journal().Size()
	for n := range 500 {
		f := storage.File{ID: json.RawMessage(fmt.Sprint(n)), Revision: json.RawMessage("1"), Path: fmt.Sprint("/", n%300)}
		must.Do(t, s.Files().Opened(u.ID, f))
	}
	if got := s.Audit().Last(); got != last {
		t.Errorf("the journal has %d records more", got-last)
	}
	if got := s.Journal().Size(); got != size {
		t.Errorf("the journal has grown from %d to %d bytes", size, got)
	}
	keys := 0
	view(t, s, func(rd *read.Reader) {
		for range rd.Scan([]byte{'r'}) {
			keys++
		}
	})
	if keys != unlogged.MaxFiles {
		t.Errorf("the index has %d recent files; want %d", keys, unlogged.MaxFiles)
	}
}
