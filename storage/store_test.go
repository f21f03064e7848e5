package storage

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestQuick(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.AddUser(Actor{}, "Alice@example.com", "Alice", "hash")
	if err != nil {
		t.Fatal(err)
	}
	tok, sec, err := s.CreateToken(Actor{}, u.ID, TokenSpec{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(sec.Reveal(), netip.MustParseAddr("10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var us []User
	for i := range 1000 {
		us = append(us, User{UID: fmt.Sprintf("u%d@x", i), Source: "local"})
	}
	us, err = s.ImportUsers(Actor{}, us)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		var l []Imported
		for j := range 100 {
			l = append(l, Imported{Owner: us[(i*100+j)%1000].ID, Name: "tok", Created: 1e12, LastUsed: 1e12 + int64(i), From: netip.MustParseAddr("10.0.0.1")})
		}
		if _, err := s.ImportTokens(Actor{}, l); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("import", time.Since(start))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("open", time.Since(start), s.TokenCount())
	got, err := s.Token(tok.ID)
	t.Log(got, err)
	s.Close()
}
