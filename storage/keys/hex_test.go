package keys

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// TestDecodeLowerHex tries every byte in every place.
func TestDecodeLowerHex(t *testing.T) {
	for place := range 24 {
		for c := range 256 {
			text := []byte("0123456789abcdef7f00fa5c")
			text[place] = byte(c)
			want, err := hex.DecodeString(string(text))
			good := err == nil && (c < 'A' || c > 'F')
			got := make([]byte, len(text)/2)
			if ok := decodeLowerHex(got, string(text)); ok != good || ok && !bytes.Equal(got, want) {
				t.Fatalf("%q: got %x, %v, want %x, %v", text, got, ok, want, good)
			}
		}
	}
}
