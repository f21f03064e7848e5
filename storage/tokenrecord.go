package storage

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// A token's record is a head of fixed form, which is all that the loading at
// open reads, and the rest as JSON:
//
//	version 1 | generation 1 | flags 1 | owner 8 | created 8 | expires 8 | revoked 8 | JSON
const tokenHead = 35

func (t Token) record() ([]byte, error) {
	rest, err := json.Marshal(t)
	b := append(make([]byte, 0, tokenHead+len(rest)), 1, t.Generation, t.flags())
	for _, v := range []uint64{uint64(t.Owner), uint64(t.Created), uint64(t.Expires), uint64(t.Revoked)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, rest...), err
}

// The flags of a token's record, of which the table has a copy.
const (
	flagLimited = 1 << iota // it has an expiry, scopes or addresses to look at before the token may pass
	flagRotated             // the secret of the generation before may still be good
)

func (t Token) flags() (f byte) {
	if t.Limited() {
		f |= flagLimited
	}
	if t.Overlap != 0 {
		f |= flagRotated
	}
	return f
}

// parseTokenHead reads all but the rest.
func parseTokenHead(id ID, b []byte) (Token, error) {
	if len(b) < tokenHead || b[0] != 1 {
		return Token{}, fmt.Errorf("%w: token %s has an unknown form", ErrDamaged, id)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[3+8*i:]) }
	return Token{
		ID: id, Generation: b[1], head: b[2],
		Owner: UserID(at(0)), Created: int64(at(1)), Expires: int64(at(2)), Revoked: int64(at(3)),
	}, nil
}

func parseToken(id ID, b []byte) (Token, error) {
	t, err := parseTokenHead(id, b)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(b[tokenHead:], &t); err != nil {
		return t, fmt.Errorf("%w: token %s: %w", ErrDamaged, id, err)
	}
	return t, nil
}

func tokenKeyOf(id ID) []byte { return key('t', id[:]) }

func lastUseKeyOf(id ID) []byte { return key('l', id[:]) }

// ownedKey is the token's place among its owner's.
func (t Token) ownedKey() []byte {
	var place [11]byte
	if t.Revoked != 0 {
		place[0] = 1
	}
	binary.BigEndian.PutUint64(place[1:], uint64(t.Created))
	binary.BigEndian.PutUint16(place[9:], t.Order)
	return key('o', t.Owner.Bytes(), place[:], t.ID[:])
}

// ownedToken reads what ownedKey wrote.
func ownedToken(k []byte) (created int64, id ID) {
	return int64(binary.BigEndian.Uint64(k[10:])), ID(k[20:])
}
