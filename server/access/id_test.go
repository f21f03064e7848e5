package access

import (
	crypto "crypto/rand"
	"encoding/hex"
	"net/http"
	"testing"
)

// BenchmarkID compares the id of a request with one from crypto/rand.
func BenchmarkID(b *testing.B) {
	r := &http.Request{Header: http.Header{}}
	var id []string
	b.Run("math/rand/v2", func(b *testing.B) {
		for b.Loop() {
			id = idOf(r)
		}
	})
	b.Run("crypto/rand", func(b *testing.B) {
		for b.Loop() {
			var x [8]byte
			crypto.Read(x[:])
			id = []string{hex.EncodeToString(x[:])}
		}
	})
	if len(id[0]) != 16 {
		b.Error(id)
	}
}

// TestIDsDiffer: no two requests get one id.
func TestIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 100_000 {
		seen[idOf(&http.Request{})[0]] = true
	}
	if len(seen) != 100_000 {
		t.Errorf("got %d ids for 100,000 requests", len(seen))
	}
}
