package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"sync"
)

// macLen is the length to which the HMAC of a record is cut (RFC 2104,
// section 5, asks for at least half).
const macLen = sha256.Size / 2

// sealer puts an HMAC over key and value in front of a value.
type sealer struct{ macs sync.Pool }

// macer computes one HMAC after another without allocating.
type macer struct {
	hash hash.Hash
	len  [1]byte
	sum  [sha256.Size]byte
}

func newSealer(key [32]byte) *sealer {
	return &sealer{sync.Pool{New: func() any { return &macer{hash: hmac.New(sha256.New, key[:])} }}}
}

// mac is valid until the next call.
func (m *macer) mac(key, value []byte) []byte {
	m.len[0] = byte(len(key)) // so that key and value can't trade bytes
	m.hash.Reset()
	m.hash.Write(m.len[:])
	m.hash.Write(key)
	m.hash.Write(value)
	return m.hash.Sum(m.sum[:0])[:macLen]
}

// seal returns what is stored under the key for the value.
func (s *sealer) seal(key, value []byte) []byte {
	m := s.macs.Get().(*macer)
	defer s.macs.Put(m)
	return slices.Concat(m.mac(key, value), value)
}

// open returns the value of what was stored under the key. The value shares
// its memory with stored.
func (s *sealer) open(key, stored []byte) ([]byte, error) {
	if len(stored) >= macLen {
		m := s.macs.Get().(*macer)
		defer s.macs.Put(m)
		if value := stored[macLen:]; hmac.Equal(m.mac(key, value), stored[:macLen]) {
			return value, nil
		}
	}
	return nil, fmt.Errorf("%w: the record %q does not verify", ErrDamaged, key)
}
