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
	"sync"
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
	if len(s) == 2*idLen {
		hex.Decode(id[:], []byte(s))
	}
	if id.String() != s {
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

// scratch is the memory in which a token is taken apart or put together. It is
// pooled: AES and the CRC are called by interface, so what they are given can't
// stay on the stack.
type scratch struct {
	token [tokenLen]byte
	block [aes.BlockSize]byte
	keyed [(keyedLen + aes.BlockSize - 1) / aes.BlockSize * aes.BlockSize]byte
}

// decode checks a token's form and its CRC: 256 lowercase hexadecimal
// characters, and nothing around them.
func (b *scratch) decode(s string) bool {
	return len(s) == secretLen && decodeLowerHex(b.token[:], s) &&
		binary.BigEndian.Uint32(b.token[bodyLen:]) == crc32.Checksum(b.token[:bodyLen], castagnoli)
}

// decodeLowerHex is hex.Decode that refuses upper case: one token has one
// spelling. It takes eight digits at a time, for it is what a verification does
// most of, allocates nothing, and looks only at the end whether all were digits.
// dst is a multiple of four bytes long.
func decodeLowerHex(dst []byte, s string) bool {
	wrong := uint64(0)
	for ; len(dst) >= 4 && len(s) >= 8; dst, s = dst[4:], s[8:] {
		// Each step works on eight digits, and none carries into the next byte.
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		letters := x >> 6 & ones // 1 where there can only be a letter
		n := x&(ones*0x0f) + letters*9
		tens := (n + ones*(0x80-10)) >> 7 & ones // 1 where n is 10 or more
		wrong |= n&(ones*0xf0) | (tens ^ letters) | (n + ones*'0' + letters*('a'-'0'-10) ^ x)
		n = (n<<4 | n>>8) & 0x00ff00ff00ff00ff
		n = (n | n>>8) & 0x0000ffff0000ffff
		binary.LittleEndian.PutUint32(dst, uint32(n|n>>16))
	}
	return wrong == 0 && len(dst) == 0 && len(s) == 0
}

// ones has 1 in each byte.
const ones = 0x0101010101010101

// same compares the keyed part with what it should be, in a time that does not
// tell where they differ. It is subtle.ConstantTimeCompare, many bytes at a time.
func (b *scratch) same(want []byte) bool {
	var differences [(keyedLen + 7) / 8 * 8]byte
	subtle.XORBytes(differences[:], want, b.token[idLen+1:bodyLen])
	all := uint64(0)
	for i := 0; i < len(differences); i += 8 {
		all |= binary.LittleEndian.Uint64(differences[i:])
	}
	return all == 0
}

// tokenKey derives and checks the tokens of one key number.
type tokenKey struct{ block cipher.Block }

func newTokenKey(k [32]byte) *tokenKey {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	return &tokenKey{block}
}

// derive computes the keyed part of a token.
func (k tokenKey) derive(b *scratch, id ID, generation byte) []byte {
	clear(b.block[:])
	copy(b.block[:], id[1:])
	b.block[idLen-1] = generation
	for n := 0; n*aes.BlockSize < keyedLen; n++ {
		b.block[idLen] = byte(n)
		k.block.Encrypt(b.keyed[n*aes.BlockSize:], b.block[:])
	}
	return b.keyed[:keyedLen]
}

// secret derives the token for an id and generation.
func (k tokenKey) secret(id ID, generation byte) Secret {
	var b scratch
	t := append(b.token[:0], id[:]...)
	t = append(t, generation)
	t = append(t, k.derive(&b, id, generation)...)
	t = binary.BigEndian.AppendUint32(t, crc32.Checksum(t, castagnoli))
	return Secret(hex.EncodeToString(t))
}

// keySet has the token keys by their numbers.
type keySet struct {
	keys    [256]*tokenKey
	scratch sync.Pool
}

func newKeySet(tokens map[byte][32]byte) *keySet {
	s := &keySet{scratch: sync.Pool{New: func() any { return new(scratch) }}}
	for kid, k := range tokens {
		s.keys[kid] = newTokenKey(k)
	}
	return s
}

// identify tells which token a text is, if one of the keys made it. It checks
// form, CRC and, in constant time, the keyed part, in this order.
func (s *keySet) identify(text string) (id ID, generation byte, ok bool) {
	b := s.scratch.Get().(*scratch)
	defer s.scratch.Put(b)
	if !b.decode(text) {
		return id, 0, false
	}
	id, generation = ID(b.token[:idLen]), b.token[idLen]
	k := s.keys[id.kid()]
	return id, generation, k != nil && b.same(k.derive(b, id, generation))
}
