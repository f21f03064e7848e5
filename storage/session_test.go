package storage_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestEndOtherSessions: the other sessions end for good, and the caller's goes
// on.
func TestEndOtherSessions(t *testing.T) {
	for what, end := range map[string]func(*storage.Store, string) error{
		"sessions": func(s *storage.Store, cookie string) error { return s.EndOtherSessions(admin, cookie) },
		"password": func(s *storage.Store, cookie string) error { return s.ChangePassword(admin, cookie, "hash") },
	} {
		t.Run(what, func(t *testing.T) {
			clock := newClock()
			s := openWith(t, t.TempDir(), timed(t, clock))
			alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
			var cookies []string
			for _, u := range []storage.User{alice, alice, alice, bob} {
				cookie := must.Get(s.CreateSession(admin, u.ID, storage.SourceLocal, ""))(t)
				cookies = append(cookies, cookie.Reveal())
			}
			good := func(want ...bool) {
				t.Helper()
				for i, cookie := range cookies {
					if _, err := s.Session(cookie); (err == nil) != want[i] || err != nil && !errors.Is(err, storage.ErrNoSession) {
						t.Errorf("session %d: got %v, want it good: %t", i, err, want[i])
					}
				}
			}
			good(true, true, true, true)
			clock.Move(2 * time.Minute) // so that the next visit writes the session
			must.Do(t, end(s, cookies[1]))
			good(false, true, false, true)
			if err := end(s, cookies[0]); !errors.Is(err, storage.ErrNoSession) {
				t.Errorf("one that has ended: got %v", err)
			}
			good(false, true, false, true)
			if list, own, err := s.Sessions(alice.ID, cookies[1]); err != nil || len(list) != 1 || own != 0 {
				t.Errorf("got %d sessions, own %d, %v", len(list), own, err)
			}
			must.Do(t, end(s, cookies[1])) // again
			good(false, true, false, true)
			must.Do(t, s.SetPassword(admin, alice.UID, "another"))
			good(false, false, false, true)
			if err := end(s, "no cookie"); !errors.Is(err, storage.ErrNoSession) {
				t.Errorf("a cookie of nobody: got %v", err)
			}
		})
	}
}
