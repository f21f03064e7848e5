package index

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest/must"
)

// The index is written as the store's format says. TestEncodings of package storage
// explains what is compared here.
func TestEncodings(t *testing.T) {
	key := [32]byte{4, 31: 5}
	x := New(Options{Seals: keys.Ring{Current: 7, Tokens: map[byte][32]byte{7: key}, Root: key}.Seals()})
	b := must.Get(os.ReadFile("../testdata/format3/encodings"))(t)
	want := strings.Split(string(b), "\n")
	p := progress{at: journal.Position{Sequence: 9, Hash: key}, size: 3, earlier: [earlierKept]uint64{1, 2, 7: 9}}
	for name, b := range map[string][]byte{
		"index-counts":      Counts{1, 2, 3, 4}.value(),
		"index-fingerprint": binary.BigEndian.AppendUint64(nil, x.fingerprint([]byte("n name"), []byte("value"))),
		"index-place":       p.value(),
	} {
		if line := fmt.Sprintf("%s %x", name, sha256.Sum256(b)); !slices.Contains(want, line) {
			t.Errorf("this was not written so: %s", line)
		}
	}
}

// Decoding returns what was encoded.
func TestEncodingsAgain(t *testing.T) {
	p := progress{at: journal.Position{Sequence: 5, Hash: [32]byte{1}}, size: 3, earlier: [earlierKept]uint64{1, 2, 7: 9}}
	got, rest, ok := parseProgress(append(p.value(), "rest"...))
	if !ok || got != p || string(rest) != "rest" {
		t.Errorf("got %+v, %q, %t, want %+v", got, rest, ok, p)
	}
	for n := range len(p.value()) {
		if _, _, ok := parseProgress(p.value()[:n]); ok {
			t.Errorf("%d bytes of it were read", n)
		}
	}
}
