package keys

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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
// so that nobody without the key can predict one byte of it. The CRC does not
// protect anything. It detects typing errors, and text that merely looks like a
// token, without any key.
const (
	IDSize    = 14 // bytes of an ID
	keyedLen  = 109
	bodyLen   = IDSize + 1 + keyedLen
	tokenLen  = bodyLen + crc32.Size
	secretLen = 2 * tokenLen // hexadecimal digits
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID is the public name of a token: a key number and 13 random bytes.
type ID [IDSize]byte

// String writes the ID as 28 hexadecimal characters.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID parses the output of String.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) == 2*IDSize {
		hex.Decode(id[:], []byte(s))
	}
	if id.String() != s {
		return ID{}, errors.New("a token id is 28 lowercase hexadecimal characters")
	}
	return id, nil
}

// NewID returns a new random id for a token of the key with that number.
func NewID(number byte) ID {
	var id ID
	rand.Read(id[1:])
	id[0] = number
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
// pooled: AES and the CRC are called through interfaces, so their arguments
// can't stay on the stack.
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
// spelling. It takes eight digits at a time, because a verification spends most
// of its time here. It allocates nothing, and checks only at the end whether all
// were digits. dst is a multiple of four bytes long.
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

// same compares the keyed part with the right one, in a time that does not reveal
// where they differ. It is subtle.ConstantTimeCompare, many bytes at a time.
func (b *scratch) same(want []byte) bool {
	var differences [(keyedLen + 7) / 8 * 8]byte
	subtle.XORBytes(differences[:], want, b.token[IDSize+1:bodyLen])
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
	b.block[IDSize-1] = generation
	for n := 0; n*aes.BlockSize < keyedLen; n++ {
		b.block[IDSize] = byte(n)
		k.block.Encrypt(b.keyed[n*aes.BlockSize:], b.block[:])
	}
	return b.keyed[:keyedLen]
}

// Tokens derives tokens and recognizes them. It may be used by many goroutines.
type Tokens struct {
	of      atomic.Pointer[tokenKeys]
	scratch sync.Pool
}

// tokenKeys are the token keys of one keyring. They do not change.
type tokenKeys struct {
	keys    [256]*tokenKey // by number; nil: none, or a dropped one
	ends    [256]int64     // ms; 0: never
	current byte
	list    []TokenKey
}

// TokenKey describes a token key, without the key.
type TokenKey struct {
	Number  byte
	Current bool  // new tokens use it
	Made    int64 // when a rotation added it, in ms; 0: it is the first
	Ends    int64 // when all its tokens end, in ms; 0: they do not
}

// TokenKeys returns the token keys, ready for use.
func (r Ring) TokenKeys() *Tokens {
	t := &Tokens{scratch: sync.Pool{New: func() any { return new(scratch) }}}
	t.Use(r)
	return t
}

// Use replaces the token keys by those of another keyring.
func (t *Tokens) Use(r Ring) {
	of := &tokenKeys{current: r.Current}
	for number, k := range r.Tokens {
		of.keys[number] = newTokenKey(k)
		of.list = append(of.list, TokenKey{number, number == r.Current, r.Made[number], r.Ends[number]})
	}
	slices.SortFunc(of.list, func(a, b TokenKey) int { return cmp.Compare(b.Made, a.Made) })
	for number, end := range r.Ends {
		of.ends[number] = end
	}
	t.of.Store(of)
}

// List returns the token keys, the newest first. The caller must not change it.
func (t *Tokens) List() []TokenKey { return t.of.Load().list }

// NewID returns the id of a new token, of the current key.
func (t *Tokens) NewID() ID { return NewID(t.of.Load().current) }

// Has reports whether there is a key with that number, the first byte of an ID. Tokens of
// a dropped key are dead.
func (t *Tokens) Has(number byte) bool { return t.of.Load().keys[number] != nil }

// Ends returns when all tokens of a key end, in ms; 0: they do not.
func (t *Tokens) Ends(number byte) int64 { return t.of.Load().ends[number] }

// Secret derives the token for an id and generation. It is empty for a dropped key.
func (t *Tokens) Secret(id ID, generation byte) Secret {
	k := t.of.Load().keys[id[0]]
	if k == nil {
		return ""
	}
	var b scratch
	out := append(b.token[:0], id[:]...)
	out = append(out, generation)
	out = append(out, k.derive(&b, id, generation)...)
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
	return Secret(hex.EncodeToString(out))
}

// Identify tells which token a text is, if one of the keys made it. It checks
// form, CRC and, in constant time, the keyed part, in this order. It does not know
// whether the token is still valid.
func (t *Tokens) Identify(text string) (id ID, generation byte, ok bool) {
	b := t.scratch.Get().(*scratch)
	defer t.scratch.Put(b)
	if !b.decode(text) {
		return id, 0, false
	}
	id, generation = ID(b.token[:IDSize]), b.token[IDSize]
	k := t.of.Load().keys[id[0]]
	return id, generation, k != nil && b.same(k.derive(b, id, generation))
}
