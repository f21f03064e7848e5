package storage

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/unlogged"
)

func filePaths(t testing.TB, s *Store, u User) (paths []string) {
	t.Helper()
	list, err := s.Files(u.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		paths = append(paths, f.Path)
	}
	return paths
}

// TestFilesLeaveNoTrail posts a very large number of recent files: the journal
// must not grow by a byte, and the index must not keep more records than listings
// show.
func TestFilesLeaveNoTrail(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	u := addUser(t, s, "ada@example.com")
	last, size := s.Audit().Last(), s.journal.Size()
	for n := range 500 {
		f := File{ID: json.RawMessage(fmt.Sprint(n)), Revision: json.RawMessage("1"), Path: fmt.Sprint("/", n%300)}
		if err := s.OpenedFile(u.ID, f); err != nil {
			t.Fatal(err)
		}
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

// TestFilesOfOlderVersions opens a store with recent files in the journal.
func TestFilesOfOlderVersions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	ada, bob := addUser(t, s, "ada@example.com"), addUser(t, s, "bob@example.com")
	want := map[UserID][]string{}
	for _, u := range []User{ada, bob} {
		for n := range unlogged.MaxFiles {
			f := File{ID: json.RawMessage(fmt.Sprint(n)), Revision: json.RawMessage("1"), Name: u.UID, Path: fmt.Sprint("/", n), Time: s.clock.Now(), Order: uint64(n + 1)}
			b, _ := json.Marshal(f)
			sum := sha256.Sum256(slices.Concat(f.ID, []byte{0}, []byte(f.Path)))
			err := s.change(admin, func(t *tx) error {
				t.Put(record.Key('v', u.ID.Bytes(), sum[:16]), b)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want[u.ID] = append([]string{f.Path}, want[u.ID]...)
		}
	}
	// What was opened after an interrupted move stays in front.
	if err := s.OpenedFile(bob.ID, File{ID: json.RawMessage("7"), Revision: json.RawMessage("2"), Path: "/7", Time: s.clock.Now() + 1000}); err != nil {
		t.Fatal(err)
	}
	want[bob.ID] = append([]string{"/7"}, slices.DeleteFunc(want[bob.ID], func(p string) bool { return p == "/7" })...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		s = open(t, dir)
		create(t, s, ada) // this change waits for the writer's first task
		for _, u := range []User{ada, bob} {
			if got := filePaths(t, s, u); !slices.Equal(got, want[u.ID]) {
				t.Errorf("%s: got %q, want %q", u.UID, got, want[u.ID])
			}
		}
		err := s.view(func(rd *read.Reader) error {
			for k := range rd.Scan([]byte{'v'}) {
				t.Errorf("%q is still in the old place", k)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := s.index.Compare(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
