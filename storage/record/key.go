package record

import (
	"encoding/binary"
	"strings"

	"gatehouse/storage/keys"
)

// The kinds of keys, each by its first byte: see the package comment.
const (
	// Counted are the kinds of records that the index counts, to find out if any
	// are lost. The journal has all of these.
	Counted = "uitnoexk"
	// SealedKinds are the kinds with values that are sealed in the journal and in
	// backups.
	SealedKinds = "utlrexk"
)

// Sealed reports whether the values of a kind are sealed in the journal and in backups.
func Sealed(kind byte) bool { return strings.IndexByte(SealedKinds, kind) >= 0 }

// Key builds a key.
func Key(kind byte, parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(make([]byte, 0, n), kind)
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

// UserKey returns the key of a user.
func UserKey(id UserID) []byte { return Key('u', id.Bytes()) }

// NameKey returns the key of the user id for a uid that was folded by [Fold].
func NameKey(folded string) []byte { return Key('n', []byte(folded)) }

// IdentitiesKey returns the prefix of the keys of all identities of a source.
func IdentitiesKey(source string) []byte { return Key('i', []byte(source), []byte{0}) }

// Key returns the key of the user id for an identity.
func (id Identity) Key() []byte { return append(IdentitiesKey(id.Source), id.Subject...) }

// TokenKey returns the key of a token.
func TokenKey(id keys.ID) []byte { return Key('t', id[:]) }

// UsageKey returns the key of a token's usage.
func UsageKey(id keys.ID) []byte { return Key('l', id[:]) }

// TokenEndKey returns the key of the end of a token that has no record.
func TokenEndKey(id keys.ID) []byte { return Key('e', id[:]) }

// UserEndKey returns the key of the end of a user who has no record.
func UserEndKey(id UserID) []byte { return Key('e', id.Bytes()) }

// OwnedKey returns the key of the hint from the owner to the token. It sorts revoked
// tokens last, and the oldest first.
func (t Token) OwnedKey() []byte {
	var place [11]byte
	if t.Revoked != 0 {
		place[0] = 1
	}
	binary.BigEndian.PutUint64(place[1:], uint64(t.Created))
	binary.BigEndian.PutUint16(place[9:], t.Order)
	return Key('o', t.Owner.Bytes(), place[:], t.ID[:])
}

// OwnedBy returns the prefix of the keys of all tokens of a user.
func OwnedBy(owner UserID) []byte { return Key('o', owner.Bytes()) }

// HeldBy returns the prefix of the keys of a user's tokens that are not
// revoked.
func HeldBy(owner UserID) []byte { return append(OwnedBy(owner), 0) }

// CutOwnedKey decodes the output of [Token.OwnedKey]. Created is in ms.
func CutOwnedKey(k []byte) (created int64, id keys.ID) {
	return int64(binary.BigEndian.Uint64(k[10:])), keys.ID(k[20:])
}

// FilesOf returns the prefix of the keys of all recent files of a user.
func FilesOf(owner UserID) []byte { return Key('r', owner.Bytes()) }

// FileKey returns the key of the recent file in a user's slot.
func FileKey(owner UserID, slot byte) []byte { return append(FilesOf(owner), slot) }
