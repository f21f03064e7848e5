package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"sync"

	"gatehouse/storage/disk"
)

// SealSize is how many bytes a seal adds to a value: the length of the truncated HMAC
// (RFC 2104, section 5, asks for at least half).
const SealSize = sha256.Size / 2

// Seals puts an HMAC over key and value in front of a value, so that a flipped bit or an
// edited record is an error. A seal proves that a record is genuine, not that it is
// current. Seals may be used by many goroutines.
type Seals struct{ macs sync.Pool }

// macer computes one HMAC after another without allocating.
type macer struct {
	hash hash.Hash
	len  [1]byte
	sum  [sha256.Size]byte
}

// Seals returns the seals of records.
func (r Ring) Seals() *Seals {
	key := r.Derive("records")
	return &Seals{sync.Pool{New: func() any { return &macer{hash: hmac.New(sha256.New, key[:])} }}}
}

// mac returns the HMAC of key and value. It is valid until the next call.
func (m *macer) mac(key, value []byte) []byte {
	m.len[0] = byte(len(key)) // so that key and value can't trade bytes
	m.hash.Reset()
	m.hash.Write(m.len[:])
	m.hash.Write(key)
	m.hash.Write(value)
	return m.hash.Sum(m.sum[:0])[:SealSize]
}

// Seal returns the sealed value to store under the key.
func (s *Seals) Seal(key, value []byte) []byte {
	m := s.macs.Get().(*macer)
	defer s.macs.Put(m)
	return slices.Concat(m.mac(key, value), value)
}

// Open returns the value from the bytes stored under the key, or [disk.ErrDamaged].
// The value shares its memory with stored.
func (s *Seals) Open(key, stored []byte) ([]byte, error) {
	if len(stored) >= SealSize {
		m := s.macs.Get().(*macer)
		defer s.macs.Put(m)
		if value := stored[SealSize:]; hmac.Equal(m.mac(key, value), stored[:SealSize]) {
			return value, nil
		}
	}
	return nil, fmt.Errorf("%w: the record %q does not verify", disk.ErrDamaged, key)
}

// Sum returns the first bytes of the HMAC over key and value.
func (s *Seals) Sum(key, value []byte) uint64 {
	m := s.macs.Get().(*macer)
	defer s.macs.Put(m)
	return binary.BigEndian.Uint64(m.mac(key, value))
}
