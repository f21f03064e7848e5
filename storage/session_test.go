package storage

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/record"
)

// TestListSessions: a user's own, the latest first, as long as each is good.
func TestListSessions(t *testing.T) {
	clock := newClock()
	s := openWith(t, t.TempDir(), timed(t, clock))
	alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	begin := func(u User, address, agent string) string {
		t.Helper()
		cookie, err := s.CreateSession(Actor{Name: u.UID, Address: address}, u.ID, SourceLocal, agent)
		if err != nil {
			t.Fatal(err)
		}
		clock.Move(time.Minute)
		return cookie.Reveal()
	}
	want := func(cookie string, addresses ...string) {
		t.Helper()
		list, own, err := s.Sessions(alice.ID, cookie)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, v := range list {
			got = append(got, v.Address)
			if v.UID != alice.UID || v.Method != SourceLocal || v.Created == 0 || v.Seen < v.Created || (i == own) != (v.Address == "192.0.2.3") {
				t.Errorf("got %+v at %d, own %d", v, i, own)
			}
		}
		if !slices.Equal(got, addresses) {
			t.Errorf("got %q, want %q", got, addresses)
		}
	}
	want("", []string{}...)
	first := begin(alice, "192.0.2.1", "curl/8")
	begin(bob, "192.0.2.9", "")
	second := begin(alice, "192.0.2.2", strings.Repeat("x", 500))
	third := begin(alice, "192.0.2.3", "")
	want(third, "192.0.2.3", "192.0.2.2", "192.0.2.1")
	if list, _, _ := s.Sessions(alice.ID, third); len(list[1].Agent) != record.MaxAgent || list[2].Agent != "curl/8" {
		t.Errorf("got agents %q and %q", list[1].Agent, list[2].Agent)
	}
	if err := s.EndSession(second); err != nil {
		t.Fatal(err)
	}
	want(third, "192.0.2.3", "192.0.2.1")
	clock.Move(SessionIdle - 2*time.Minute)
	if _, err := s.Session(third); err != nil {
		t.Fatal(err)
	}
	want(third, "192.0.2.3")
	if _, err := s.Session(first); !errors.Is(err, ErrNoSession) {
		t.Errorf("got %v for one that was idle for too long", err)
	}
	if err := s.DisableUser(admin, alice.UID); err != nil {
		t.Fatal(err)
	}
	want(third)
}

// TestEndOtherSessions: the others end for good, and the one that asks goes on.
func TestEndOtherSessions(t *testing.T) {
	for what, end := range map[string]func(*Store, string) error{
		"sessions": func(s *Store, cookie string) error { return s.EndOtherSessions(admin, cookie) },
		"password": func(s *Store, cookie string) error { return s.ChangePassword(admin, cookie, "hash") },
	} {
		t.Run(what, func(t *testing.T) {
			clock := newClock()
			s := openWith(t, t.TempDir(), timed(t, clock))
			alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
			var cookies []string
			for _, u := range []User{alice, alice, alice, bob} {
				cookie, err := s.CreateSession(admin, u.ID, SourceLocal, "")
				if err != nil {
					t.Fatal(err)
				}
				cookies = append(cookies, cookie.Reveal())
			}
			good := func(want ...bool) {
				t.Helper()
				for i, cookie := range cookies {
					if _, err := s.Session(cookie); (err == nil) != want[i] || err != nil && !errors.Is(err, ErrNoSession) {
						t.Errorf("session %d: got %v, want it good: %t", i, err, want[i])
					}
				}
			}
			good(true, true, true, true)
			clock.Move(2 * time.Minute) // so that the next visit writes the session
			if err := end(s, cookies[1]); err != nil {
				t.Fatal(err)
			}
			good(false, true, false, true)
			if err := end(s, cookies[0]); !errors.Is(err, ErrNoSession) {
				t.Errorf("one that has ended: got %v", err)
			}
			good(false, true, false, true)
			if list, own, err := s.Sessions(alice.ID, cookies[1]); err != nil || len(list) != 1 || own != 0 {
				t.Errorf("got %d sessions, own %d, %v", len(list), own, err)
			}
			if err := end(s, cookies[1]); err != nil { // again
				t.Fatal(err)
			}
			good(false, true, false, true)
			if err := s.SetPassword(admin, alice.UID, "another"); err != nil {
				t.Fatal(err)
			}
			good(false, false, false, true)
			if err := end(s, "no cookie"); !errors.Is(err, ErrNoSession) {
				t.Errorf("a cookie of nobody: got %v", err)
			}
		})
	}
}

// TestChangePassword: only somebody with a password has one to change.
func TestChangePassword(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	cookie, err := s.CreateSession(admin, alice.ID, SourceLocal, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ChangePassword(admin, cookie.Reveal(), "hash"); err != nil {
		t.Fatal(err)
	}
	u, err := s.User(alice.UID)
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := s.PasswordHash(u); err != nil || hash != "hash" {
		t.Errorf("got %q, %v", hash, err)
	}
	hub := Identity{Source: "github", Subject: "17"}
	ada, err := s.LogIn(Actor{}, Login{Identity: hub, Addresses: []string{"ada@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := s.CreateSession(admin, ada.ID, hub.Source, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ChangePassword(admin, theirs.Reveal(), "hash"); !errors.Is(err, ErrNotLocal) {
		t.Errorf("got %v for somebody without a password", err)
	}
	if _, err := s.Session(theirs.Reveal()); err != nil {
		t.Errorf("got %v after a refusal", err)
	}
}
