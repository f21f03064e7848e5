package record

import (
	"encoding/binary"
	"strings"

	"gatehouse/storage/keys"
)

// The kinds of keys, each by its first byte: see the package comment.
const (
	// Counted are the kinds whose records the index counts, to tell whether it has
	// forgotten any. The log has all of these.
	Counted = "uitnove"
	// SealedKinds are the kinds whose values are sealed in the log and in backups.
	SealedKinds = "utlvre"
)

// Sealed reports whether the values of a kind are sealed in the log and in backups.
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

// UserKey is where a user is.
func UserKey(id UserID) []byte { return Key('u', id.Bytes()) }

// NameKey is where the id of the user with a uid is, which was folded by [Fold].
func NameKey(folded string) []byte { return Key('n', []byte(folded)) }

// IdentitiesKey begins the keys of all identities of a source.
func IdentitiesKey(source string) []byte { return Key('i', []byte(source), []byte{0}) }

// Key is where the id of the user with an identity is.
func (id Identity) Key() []byte { return append(IdentitiesKey(id.Source), id.Subject...) }

// TokenKey is where a token is.
func TokenKey(id keys.ID) []byte { return Key('t', id[:]) }

// UsageKey is where the usage of a token is.
func UsageKey(id keys.ID) []byte { return Key('l', id[:]) }

// TokenEndKey is where the end of a token is that has no record.
func TokenEndKey(id keys.ID) []byte { return Key('e', id[:]) }

// UserEndKey is where the end of a user is who has no record.
func UserEndKey(id UserID) []byte { return Key('e', id.Bytes()) }

// OwnedKey is the token's place among its owner's: the revoked ones last, the oldest
// first.
func (t Token) OwnedKey() []byte {
	var place [11]byte
	if t.Revoked != 0 {
		place[0] = 1
	}
	binary.BigEndian.PutUint64(place[1:], uint64(t.Created))
	binary.BigEndian.PutUint16(place[9:], t.Order)
	return Key('o', t.Owner.Bytes(), place[:], t.ID[:])
}

// OwnedBy begins the keys of all tokens of a user.
func OwnedBy(owner UserID) []byte { return Key('o', owner.Bytes()) }

// HeldBy begins the keys of the tokens of a user that are not revoked.
func HeldBy(owner UserID) []byte { return append(OwnedBy(owner), 0) }

// CutOwnedKey reads what [Token.OwnedKey] wrote. Created is in ms.
func CutOwnedKey(k []byte) (created int64, id keys.ID) {
	return int64(binary.BigEndian.Uint64(k[10:])), keys.ID(k[20:])
}

// FilesOf begins the keys of all recent files of a user.
func FilesOf(owner UserID) []byte { return Key('r', owner.Bytes()) }

// FileKey is where the recent file in a slot of a user is.
func FileKey(owner UserID, slot byte) []byte { return append(FilesOf(owner), slot) }
