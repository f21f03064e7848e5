package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
)

// macLen is the length to which the HMAC of a record is cut (RFC 2104,
// section 5, asks for at least half).
const macLen = sha256.Size / 2

// sealer puts an HMAC over key and value in front of a value.
type sealer struct{ macs sync.Pool }

func newSealer(key [32]byte) *sealer {
	return &sealer{sync.Pool{New: func() any { return hmac.New(sha256.New, key[:]) }}}
}

func (s *sealer) mac(dst, key, value []byte) []byte {
	h := s.macs.Get().(hash.Hash)
	h.Reset()
	h.Write([]byte{byte(len(key))}) // so that key and value can't trade bytes
	h.Write(key)
	h.Write(value)
	var sum [sha256.Size]byte
	dst = append(dst, h.Sum(sum[:0])[:macLen]...)
	s.macs.Put(h)
	return dst
}

// seal returns what is stored under the key for the value.
func (s *sealer) seal(key, value []byte) []byte {
	return append(s.mac(make([]byte, 0, macLen+len(value)), key, value), value...)
}

// open returns the value of what was stored under the key. The value shares
// its memory with stored.
func (s *sealer) open(key, stored []byte) ([]byte, error) {
	if len(stored) >= macLen {
		var want [macLen]byte
		value := stored[macLen:]
		if hmac.Equal(s.mac(want[:0], key, value), stored[:macLen]) {
			return value, nil
		}
	}
	return nil, fmt.Errorf("%w: the record %q does not verify", ErrDamaged, key)
}
