package unlogged

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"testing"

	"gatehouse/storage/record"
)

// The key under which something is remembered is part of the store's format.
func TestEncoding(t *testing.T) {
	bucket := (&Expiring{Key: [32]byte{4, 31: 5}}).bucket("name")
	const want = "b059d385bf1d3507cc11f62162aec140b5e5ededb1a8cab8df2858b280244e49" // of format 2
	if got := fmt.Sprintf("%x", sha256.Sum256(bucket[:])); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A session that ended while somebody read it is not kept in memory, and at most
// mostSeen are kept.
func TestSeen(t *testing.T) {
	var s Sessions
	v := record.Session{Method: "local"}
	_, turn, _ := s.find([]byte("a"))
	s.keep([]byte("a"), v, turn)
	if got, _, ok := s.find([]byte("a")); !ok || got != v {
		t.Errorf("got %+v, %t", got, ok)
	}
	_, turn, _ = s.find([]byte("a"))
	s.mu.Lock()
	s.drop([]byte("a"))
	s.mu.Unlock()
	s.keep([]byte("a"), v, turn) // what a slow reader does then
	if _, _, ok := s.find([]byte("a")); ok {
		t.Error("what has ended is kept")
	}
	for n := range mostSeen + 10 {
		_, turn, _ := s.find(nil)
		s.keep([]byte(strconv.Itoa(n)), v, turn)
	}
	if got := len(s.seen); got != mostSeen {
		t.Errorf("%d are kept, want %d", got, mostSeen)
	}
}
