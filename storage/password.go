package storage

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"
)

// PasswordHash is an argon2id hash in its usual text form.
type PasswordHash string

// passwords seals hashes, so that a stolen backup without the key file gives
// nothing to guess at.
type passwords struct{ aead cipher.AEAD }

// seal binds the hash to its user: moved to another record it does not open.
func (p passwords) seal(id UserID, h PasswordHash) []byte {
	nonce := make([]byte, p.aead.NonceSize())
	rand.Read(nonce)
	return p.aead.Seal(nonce, nonce, []byte(h), id.bytes())
}

// PasswordHash returns the user's password hash, empty for a user without one.
func (s *Store) PasswordHash(u User) (PasswordHash, error) {
	if len(u.Password) == 0 {
		return "", nil
	}
	n := s.secret.aead.NonceSize()
	if len(u.Password) < n {
		return "", fmt.Errorf("%w: the password of user %016x", ErrDamaged, u.ID)
	}
	h, err := s.secret.aead.Open(nil, u.Password[:n], u.Password[n:], u.ID.bytes())
	if err != nil {
		return "", fmt.Errorf("%w: the password of user %016x: %w", ErrDamaged, u.ID, err)
	}
	return PasswordHash(h), nil
}
