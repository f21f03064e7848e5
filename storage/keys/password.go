package keys

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"gatehouse/storage/disk"
)

// PasswordHash is an argon2id hash in its usual text form.
type PasswordHash string

// Passwords seals password hashes, so that a stolen backup without the key file gives
// nothing to guess at.
type Passwords struct{ aead cipher.AEAD }

// Passwords returns the seals of password hashes.
func (r Ring) Passwords() Passwords { return Passwords{newGCM(r.Derive("passwords"))} }

// Seal seals a hash and binds it to its user: it does not open in another
// user's record.
func (p Passwords) Seal(user uint64, h PasswordHash) []byte {
	nonce := make([]byte, p.aead.NonceSize())
	rand.Read(nonce)
	return p.aead.Seal(nonce, nonce, []byte(h), binary.BigEndian.AppendUint64(nil, user))
}

// Open returns the hash of a user, or [disk.ErrDamaged]. For an empty sealed value it
// returns the empty hash of a user without a password.
func (p Passwords) Open(user uint64, sealed []byte) (PasswordHash, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	n := p.aead.NonceSize()
	if len(sealed) < n {
		return "", fmt.Errorf("%w: the password of user %016x", disk.ErrDamaged, user)
	}
	h, err := p.aead.Open(nil, sealed[:n], sealed[n:], binary.BigEndian.AppendUint64(nil, user))
	if err != nil {
		return "", fmt.Errorf("%w: the password of user %016x: %w", disk.ErrDamaged, user, err)
	}
	return PasswordHash(h), nil
}
