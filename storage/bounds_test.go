package storage_test

import (
	"errors"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestSetBounds: the bound on a user's tokens can be changed while the store is open.
func TestSetBounds(t *testing.T) {
	s := must.Get(storage.Open(t.TempDir(), storage.Options{MaxPerUser: 1}))(t)
	defer s.Close()
	u := must.Get(s.AddUser(storage.Actor{Name: "test"}, "ada@example.com", "", ""))(t)
	for _, c := range []struct {
		most, made int
	}{{1, 1}, {3, 2}, {2, 0}, {0, 5}, {9, 1}} {
		s.SetBounds(storage.Bounds{MaxPerUser: c.most})
		for n := 0; ; n++ {
			_, _, err := s.CreateToken(storage.Actor{Name: "test"}, u.ID, storage.TokenSpec{})
			if err == nil && (c.most > 0 || n+1 < c.made) {
				continue
			}
			if err != nil && !errors.Is(err, storage.ErrTooMany) {
				t.Fatal(err)
			}
			if made := n + map[bool]int{err == nil: 1}[true]; made != c.made {
				t.Errorf("at most %d: %d more were made, want %d", c.most, made, c.made)
			}
			break
		}
	}
}
