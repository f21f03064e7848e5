package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"gatehouse/storage/disk"
)

// A Ring is the keys of an installation, the keyring. On disk it is a file that is
// sealed with AES-256-GCM under the key file: a stolen backup without the key file
// yields neither tokens nor password hashes.
//
// Records and passwords are sealed with keys derived from Root, not from a
// token key, so that retiring a token key kills its tokens and nothing else.
type Ring struct {
	Current byte              `json:"current"` // the token key for new tokens
	Tokens  map[byte][32]byte `json:"tokens"`
	Root    [32]byte          `json:"root"`

	// Of two keyrings of an installation, the one with more rotations is the newer.
	Rotations uint64         `json:"rotations,omitempty"`
	Made      map[byte]int64 `json:"made,omitempty"` // when a rotation added a token key, in ms; none for the first
	Ends      map[byte]int64 `json:"ends,omitempty"` // when all tokens of a key end, in ms; none: they do not
}

// sealedRing is the content of the file. The checksum distinguishes a damaged
// file from a wrong key.
type sealedRing struct {
	Version int    `json:"version"`
	Nonce   []byte `json:"nonce"`
	Sealed  []byte `json:"sealed"`
	CRC     uint32 `json:"crc32c"` // of Nonce and Sealed
}

// ringContext binds the sealed bytes to their use. Version 2 is a keyring in which token
// keys end: an earlier program, which would let their tokens work on, must not open it.
func ringContext(version int) []byte { return fmt.Appendf(nil, "gatehouse keyring %d", version) }

// newRing makes the keys of a new installation.
func newRing() Ring {
	r := Ring{Current: 1, Tokens: map[byte][32]byte{}}
	var first [32]byte
	rand.Read(first[:])
	r.Tokens[1] = first
	rand.Read(r.Root[:])
	return r
}

// Derive makes a key for one purpose from the root key (RFC 5869).
func (r Ring) Derive(purpose string) (key [32]byte) {
	b, err := hkdf.Key(sha256.New, r.Root[:], nil, "gatehouse "+purpose, len(key))
	if err != nil {
		panic(err) // happens only for a length beyond 255 hashes
	}
	copy(key[:], b)
	return key
}

func newGCM(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the type guarantees the length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // never for AES
	}
	return aead
}

// Seal returns the content of a keyring's file that the key opens.
func (f File) Seal(r Ring) ([]byte, error) {
	plain, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	s := sealedRing{Version: 1, Nonce: make([]byte, 12)}
	if len(r.Ends) > 0 {
		s.Version = 2
	}
	rand.Read(s.Nonce)
	s.Sealed = newGCM(f.key).Seal(nil, s.Nonce, plain, ringContext(s.Version))
	s.CRC = s.checksum()
	return json.Marshal(s)
}

func (s sealedRing) checksum() uint32 {
	return crc32.Update(crc32.Checksum(s.Nonce, castagnoli), castagnoli, s.Sealed)
}

// Open opens a sealed keyring. Errors contain the name. It returns [ErrWrong] when the
// keyring was sealed with another key, and [disk.ErrDamaged]. A flipped bit in the rest
// of the file is harmless as long as the sealed part opens, so that is tried first.
func (f File) Open(name string, sealed []byte) (r Ring, err error) {
	var s sealedRing
	parsed := json.Unmarshal(sealed, &s) == nil && len(s.Nonce) == 12
	var plain []byte
	if parsed {
		for _, version := range []int{1, 2} {
			if plain, err = newGCM(f.key).Open(nil, s.Nonce, s.Sealed, ringContext(version)); err == nil {
				break
			}
		}
	}
	switch {
	case !parsed, err != nil && s.CRC != s.checksum():
		return r, fmt.Errorf("%w: %s is damaged: put back an undamaged copy, or %s", disk.ErrDamaged, name, disk.RestoreAdvice)
	case err != nil && s.Version > 2:
		return r, fmt.Errorf("%s has version %d, and this gatehouse reads versions 1 and 2: use the program that made it", name, s.Version)
	case err != nil:
		return r, fmt.Errorf("%w: %s is not the key that this store was made with: put back the right one", ErrWrong, f.name)
	}
	if err := json.Unmarshal(plain, &r); err != nil {
		return Ring{}, fmt.Errorf("read the keyring: %w", err)
	}
	return r, nil
}

// Missing says what Load does about a keyring or a key that does not exist.
type Missing bool

const (
	Refuse Missing = false // with [disk.ErrDamaged] or [ErrMissing]: a new key in its place would make the store unreadable for good
	Make   Missing = true  // for a fresh installation
)

// Load reads the keyring from ring and the key that opens it from key. It makes no key for a
// keyring that exists.
func Load(ring, key string, missing Missing) (Ring, error) {
	if disk.Exists(ring) {
		missing = Refuse
	}
	f, err := ReadFile(key)
	if errors.Is(err, fs.ErrNotExist) {
		if missing == Refuse {
			return Ring{}, fmt.Errorf("%w: %s does not exist, and the store in %s can't be read without it: put it back", ErrMissing, key, filepath.Dir(ring))
		}
		f, err = makeFile(key)
	}
	if err != nil {
		return Ring{}, err
	}
	return f.Load(ring, missing)
}

// Load is [Load] with a key that has been read.
func (f File) Load(ring string, missing Missing) (Ring, error) {
	b, err := os.ReadFile(ring)
	if errors.Is(err, fs.ErrNotExist) {
		if missing == Refuse {
			return Ring{}, fmt.Errorf("%w: %s is missing, and the store can't be read without it: put it back, or %s", disk.ErrDamaged, ring, disk.RestoreAdvice)
		}
		r := newRing()
		if b, err = f.Seal(r); err != nil {
			return Ring{}, err
		}
		return r, disk.WriteFile(ring, b)
	}
	if err != nil {
		return Ring{}, err
	}
	return f.Open(ring, b)
}
