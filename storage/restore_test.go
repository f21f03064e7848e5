package storage

import (
	"bytes"
	"context"
	"testing"
	"time"
)

// TestRestoreTwice restores a backup over a store with a journal that no longer
// has the ends since the backup: it began again with an earlier restore.
func TestRestoreTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	id, revoked := create(t, s, alice)
	leaked, old := create(t, s, alice)
	_, kept := create(t, s, alice)
	_, bobs := create(t, s, bob)
	first := new(bytes.Buffer)
	if _, err := s.Snapshot(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RevokeTokens(admin, id); err != nil {
		t.Fatal(err)
	}
	_, secret, err := s.RotateToken(admin, leaked, 0, ByUser)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DisableUser(admin, bob.UID); err != nil {
		t.Fatal(err)
	}
	second := new(bytes.Buffer)
	if _, err := s.Snapshot(context.Background(), second); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, backup := range []*bytes.Buffer{second, first} {
		if _, err := Restore(context.Background(), bytes.NewReader(backup.Bytes()), dir, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	wantDead(t, s, revoked)
	wantDead(t, s, old)
	wantDead(t, s, bobs)
	wantLive(t, s, secret.Reveal())
	wantLive(t, s, kept)
}

// TestRestoredAt: a restored store does not revoke tokens as unused that were
// used all the time since the backup was made.
func TestRestoredAt(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	s := openWith(t, dir, timed(t, clock))
	backup := new(bytes.Buffer)
	if _, err := s.Snapshot(context.Background(), backup); err != nil {
		t.Fatal(err)
	}
	if at := s.RestoredAt(); at != 0 {
		t.Errorf("before: got %d, want 0", at)
	}
	s.Close()
	clock.Move(1000 * time.Hour)
	if _, err := Restore(context.Background(), bytes.NewReader(backup.Bytes()), dir, timed(t, clock)); err != nil {
		t.Fatal(err)
	}
	clock.Move(time.Hour)
	want := clock.Milli()
	for range 2 {
		s = openWith(t, dir, timed(t, clock))
		if at := s.RestoredAt(); at != want {
			t.Errorf("after: got %d, want %d, when it was first opened", at, want)
		}
		s.Close()
		clock.Move(time.Hour)
	}
}
