package record

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"gatehouse/storage/disk"
)

// UserID is the random internal name of a user. No id is given twice, so a new
// person with an old address inherits nothing.
type UserID uint64

// Opaque returns the id in the form for applications: 16 hexadecimal characters
// that reveal nothing about the user.
func (id UserID) Opaque() string { return hex.EncodeToString(id.Bytes()) }

// Bytes returns the id in the form for keys: 8 bytes.
func (id UserID) Bytes() []byte { return binary.BigEndian.AppendUint64(nil, uint64(id)) }

// DecodeUserID decodes the output of Bytes.
func DecodeUserID(b []byte) UserID { return UserID(binary.BigEndian.Uint64(b)) }

// UserState says whether a user's tokens and sessions are valid.
type UserState byte

// The states of a user. The record of a removed user stays, because it
// determines the state of the tokens.
const (
	UserActive    UserState = iota
	UserDisabled            // by an administrator
	UserSuspended           // by a directory or a provider
	UserRemoved
)

// Owner is the head of a user's record: what each request must know about the
// user.
type Owner struct {
	ID    UserID
	Epoch uint32 // sessions of another epoch are over
	State UserState
	UID   string
}

// A user's record is a head of fixed form, which is all that a start reads, and the
// rest as JSON:
//
//	version 1 | state 1 | epoch 4 | length of the uid 1 | uid | JSON
const ownerHead = 7

// AppendHead appends the head of a user's record.
func (o Owner) AppendHead(b []byte) []byte {
	b = append(b, 1, byte(o.State))
	b = binary.BigEndian.AppendUint32(b, o.Epoch)
	return append(append(b, byte(len(o.UID))), o.UID...)
}

// ParseOwner decodes the head of a user's record, and returns the rest.
func ParseOwner(id UserID, b []byte) (o Owner, rest []byte, err error) {
	if len(b) < ownerHead || b[0] != 1 || len(b) < ownerHead+int(b[6]) {
		return Owner{}, nil, fmt.Errorf("%w: user %016x has an unknown form", disk.ErrDamaged, id)
	}
	end := ownerHead + int(b[6])
	o = Owner{ID: id, State: UserState(b[1]), Epoch: binary.BigEndian.Uint32(b[2:]), UID: string(b[ownerHead:end])}
	return o, b[end:], nil
}
