package storage

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"log/slog"
)

// The parts of a token, in bytes:
//
//	id 14 | generation 1 | keyed part 109 | CRC-32C 4
//
// The keyed part is the output of AES-256, as a pseudo-random function under
// the key that the id's first byte names, over the blocks
//
//	random 13 | generation 1 | number 1 (0 to 6) | 0
//
// so that nobody without the key can foretell one byte of it. The CRC is no
// protection; it tells a typing error, or text that merely looks like a token,
// without any key.
const (
	idLen     = 14
	keyedLen  = 109
	bodyLen   = idLen + 1 + keyedLen
	tokenLen  = bodyLen + crc32.Size
	secretLen = 2 * tokenLen // hexadecimal digits
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID is the public name of a token: a key number and 13 random bytes.
type ID [idLen]byte

// String writes the ID as 28 hexadecimal characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// kid is the number of the key that the token is derived with.
func (id ID) kid() byte { return id[0] }

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*idLen || !decodeLowerHex(id[:], s) {
		return ID{}, errors.New("a token id is 28 lowercase hexadecimal characters")
	}
	return id, nil
}

func newID(kid byte) ID {
	var id ID
	rand.Read(id[1:])
	id[0] = kid
	return id
}

// Secret is a credential in the form in which its user sends it. It shows
// itself only to Reveal.
type Secret string

// Reveal returns the credential.
func (s Secret) Reveal() string { return string(s) }

// String hides the credential from fmt.
func (Secret) String() string { return "[secret]" }

// GoString hides the credential from %#v.
func (Secret) GoString() string { return "[secret]" }

// LogValue hides the credential from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the credential from encoding/json.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Parts is a token taken apart: authentic when the keyring made it so, which
// says nothing of its being live.
type parts struct {
	id         ID
	generation byte
	keyed      [keyedLen]byte
}

// parseSecret takes a token apart and checks its form and its CRC: 256
// lowercase hexadecimal characters, and nothing around them.
func parseSecret(s string) (parts, bool) {
	var b [tokenLen]byte
	if len(s) != secretLen || !decodeLowerHex(b[:], s) {
		return parts{}, false
	}
	if binary.BigEndian.Uint32(b[bodyLen:]) != crc32.Checksum(b[:bodyLen], castagnoli) {
		return parts{}, false
	}
	p := parts{id: ID(b[:idLen]), generation: b[idLen]}
	copy(p.keyed[:], b[idLen+1:bodyLen])
	return p, true
}

// decodeLowerHex is hex.Decode that refuses upper case: one token has one
// spelling. It allocates nothing.
func decodeLowerHex(dst []byte, s string) bool {
	for i := range dst {
		hi, lo := nibbles[s[2*i]], nibbles[s[2*i+1]]
		if hi|lo > 0x0f {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

// nibbles has 0xff for every byte that is not a lowercase hexadecimal digit.
var nibbles = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()

// tokenKey derives and checks the tokens of one key number.
type tokenKey struct{ block cipher.Block }

func newTokenKey(k [32]byte) tokenKey {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	return tokenKey{block}
}

// keyed computes the keyed part of a token.
func (k tokenKey) keyed(id ID, generation byte) (out [keyedLen]byte) {
	const blocks = (keyedLen + aes.BlockSize - 1) / aes.BlockSize
	var in [aes.BlockSize]byte
	var buf [blocks * aes.BlockSize]byte
	copy(in[:], id[1:])
	in[13] = generation
	for n := range blocks {
		in[14] = byte(n)
		k.block.Encrypt(buf[n*aes.BlockSize:], in[:])
	}
	copy(out[:], buf[:])
	return out
}

// secret derives the token for an id and generation.
func (k tokenKey) secret(id ID, generation byte) Secret {
	keyed := k.keyed(id, generation)
	b := make([]byte, 0, tokenLen)
	b = append(b, id[:]...)
	b = append(b, generation)
	b = append(b, keyed[:]...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return Secret(hex.EncodeToString(b))
}

// authentic reports, in constant time, whether the key made the token.
func (k tokenKey) authentic(p *parts) bool {
	want := k.keyed(p.id, p.generation)
	return subtle.ConstantTimeCompare(want[:], p.keyed[:]) == 1
}
