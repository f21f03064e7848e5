package journal

import (
	"crypto/sha256"
	"fmt"
	"testing"
)

// The bytes of a header and of a batch are those of this version. A change of
// the bytes needs the next version, and a program that reads both.
func TestEncoding(t *testing.T) {
	key := [32]byte{1, 2, 31: 3}
	e := encoder{keyed: newKeyed(key)}
	out, chain := e.batch(7, link{4, 5}, 1_700_000_000_000, []Entry{
		{Time: 1, Actor: "alice@example.com", Payload: []byte("first")},
		{Payload: make([]byte, 700)},
	})
	h := header{number: 3, size: 8 << 10, started: 9, first: 7, chain: chain}
	b := make([]byte, sector)
	h.encode(b, e.keyed)
	got := fmt.Sprintf("%x", sha256.Sum256(append(b, out...)))
	const want = "13bb87bb703c70ed1f9648a4f9d3267b6ea5d90d9f0ae07a3608875edd7db386" // of version 1
	if got != want {
		t.Errorf("version %d: got %s, want %s", version, got, want)
	}
}
