package storage_test

import (
	"errors"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestNamesAreCleanWhereTheyAreKept: every way to store a name cleans it.
func TestNamesAreCleanWhereTheyAreKept(t *testing.T) {
	s := open(t, t.TempDir())
	u, err := s.AddUser(admin, "alice@example.com", " می\u200cخواهم ", "hash")
	if err != nil || u.Name != "می\u200cخواهم" {
		t.Errorf("got user %+q, %v", u.Name, err)
	}
	made, _, err := s.CreateToken(admin, u.ID, storage.TokenSpec{Name: "  "})
	if err != nil || made.Name != "" {
		t.Errorf("got token %+q, %v", made.Name, err)
	}
	must.Do(t, s.RenameToken(admin, made.ID, " 👩\u200d👧 "))
	if v, err := s.Token(made.ID); err != nil || v.Name != "👩\u200d👧" {
		t.Errorf("got token %+q, %v", v.Name, err)
	}
	login := storage.Login{Identity: storage.Identity{Source: "ldap", Subject: "1"}, Addresses: []string{"bob@example.com"}, Name: "\u202eBob"}
	for range 2 { // a new user, and one who comes again
		u, err = s.LogIn(admin, login)
		if err != nil || u.Name != `\u202eBob` {
			t.Errorf("got user %+q, %v", u.Name, err)
		}
	}
	for what, err := range map[string]error{
		"user":   func() error { _, err := s.AddUser(admin, "c@example.com", "a\u202e", "hash"); return err }(),
		"token":  func() error { _, _, err := s.CreateToken(admin, u.ID, storage.TokenSpec{Name: "a\u202e"}); return err }(),
		"rename": s.RenameToken(admin, made.ID, "a\u202e"),
	} {
		if !errors.As(err, new(*storage.InvalidError)) {
			t.Errorf("%s: got %v, want an *InvalidError", what, err)
		}
	}
}
