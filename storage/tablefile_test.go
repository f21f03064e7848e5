package storage_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

// TestTableFile starts from the table that a clean stop has written. The table
// is whole, has a flipped bit anywhere, is cut short, comes from another
// moment, or is missing: every answer is right.
func TestTableFile(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	s := openWith(t, dir, timed(t, clock))
	u, locked := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	id, live := create(t, s, u)
	gone, dead := create(t, s, u)
	_, sleeping := create(t, s, locked)
	<-s.Loaded() // a stop writes no incomplete table
	must.Do(t, s.Close())
	file := filepath.Join(dir, "store", "table")
	before := must.Get(os.ReadFile(file))(t)
	s = openWith(t, dir, timed(t, clock))
	must.Get(s.RevokeTokens(admin, gone))(t)
	must.Do(t, s.DisableUser(admin, locked.UID))
	clock.Move(time.Hour)
	wantLive(t, s, live)
	used := clock.Milli()
	<-s.Loaded()
	must.Do(t, s.Close())
	now := must.Get(os.ReadFile(file))(t)
	check := func(name string, b []byte, taken bool) {
		t.Run(name, func(t *testing.T) {
			at := copyDir(t, dir)
			file := filepath.Join(at, "store", "table")
			must.Do(t, os.WriteFile(file, b, 0o600))
			if b == nil {
				os.Remove(file)
			}
			s := openWith(t, at, timed(t, clock))
			if (s.Opening().File != nil) != taken {
				t.Errorf("taken: %v, want %v", s.Opening().File != nil, taken)
			}
			wantDead(t, s, dead)
			wantDead(t, s, sleeping)
			wantUsed(t, s, id, used)
			<-s.Loaded()
			wantDead(t, s, dead)
			wantDead(t, s, sleeping)
			wantUsed(t, s, id, used)
			clock.Move(time.Second)
			wantLive(t, s, live)
			wantUsed(t, s, id, clock.Milli())
			if n := s.TokenCount(); n != 2 {
				t.Errorf("%d tokens, want 2", n)
			}
		})
	}
	check("whole", now, true)
	check("of another moment", before, false)
	check("gone", nil, false)
	check("cut off", now[:table.HeadSize/2], false)
	check("without its end", now[:len(now)-1], true)
	r := rand.New(rand.NewPCG(5, 5))
	heads, parts := 10, 20
	if testing.Short() {
		heads, parts = 2, 2
	}
	for range heads {
		b := append([]byte{}, now...)
		at := r.IntN(table.HeadSize)
		b[at] ^= 1 << r.IntN(8)
		check("a flipped bit in the head", b, false)
	}
	for range parts {
		b := append([]byte{}, now...)
		at := len(b) - 1 - r.IntN(table.Shards*keys.SealSize)
		b[at] ^= 1 << r.IntN(8)
		check("a flipped bit", b, true)
	}
}
