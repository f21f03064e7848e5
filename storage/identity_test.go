package storage_test

import (
	"errors"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

func TestUnlink(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	hub, dir := storage.Identity{Source: "github", Subject: "7"}, storage.Identity{Source: storage.SourceLDAP, Subject: "6f1d"}
	must.Do(t, errors.Join(s.Link(admin, alice.UID, hub), s.Link(admin, alice.UID, dir)))
	_, secret := create(t, s, alice)
	cookie := must.Get(s.CreateSession(admin, alice.ID, hub.Source, ""))(t)

	if err := s.Unlink(admin, alice.UID, storage.Identity{Source: "github", Subject: "8"}); !errors.Is(err, storage.ErrNoIdentity) {
		t.Errorf("another subject: got %v, want ErrNoIdentity", err)
	}
	if _, err := s.Session(cookie.Reveal()); err != nil {
		t.Errorf("the session, after nothing was done: %v", err)
	}
	must.Do(t, s.Unlink(admin, "Alice@Example.com", hub))
	if _, err := s.Session(cookie.Reveal()); !errors.Is(err, storage.ErrNoSession) {
		t.Errorf("the session: got %v, want ErrNoSession", err)
	}
	wantLive(t, s, secret)
	if _, err := s.UserByIdentity(hub); !errors.Is(err, storage.ErrNoUser) {
		t.Errorf("who has the identity: got %v, want ErrNoUser", err)
	}
	if u, err := s.UserByIdentity(dir); u.ID != alice.ID || err != nil {
		t.Errorf("by the other identity: got %+v, %v", u, err)
	}

	// The next login with the identity makes another user.
	bob, err := s.LogIn(admin, storage.Login{Identity: hub, Addresses: []string{"bob@example.com"}})
	if err != nil || bob.ID == alice.ID {
		t.Fatalf("got %+v, %v, want a new user", bob, err)
	}
	if err, invalid := s.Unlink(admin, bob.UID, hub), (*storage.InvalidError)(nil); !errors.As(err, &invalid) {
		t.Errorf("the only identity: got %v, want an InvalidError", err)
	}
	lab := storage.Identity{Source: "gitlab", Subject: "9"}
	must.Do(t, errors.Join(s.Link(admin, bob.UID, lab), s.Unlink(admin, bob.UID, hub)))
	if bob, err = s.User(bob.UID); bob.Source != lab.Source || err != nil {
		t.Errorf("got source %q, %v, want %q", bob.Source, err, lab.Source)
	}
}
