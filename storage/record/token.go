package record

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
)

// Token is an API access token without its secret, which the keys derive.
type Token struct {
	ID         keys.ID   `json:"-"`
	Owner      UserID    `json:"-"`
	Generation byte      `json:"-"` // a rotation raises it
	Created    int64     `json:"-"` // ms
	Expires    int64     `json:"-"` // ms; 0: never
	Revoked    int64     `json:"-"` // ms; 0: not
	OwnerState UserState `json:"-"` // when it was read
	Usage      Usage     `json:"-"` // as of when it was read

	// The record has these two as they were when it was written. Listings show those of
	// the token's usage.
	LastUsed int64  `json:"lastUsed"`       // ms; Created until the first use
	From     string `json:"from,omitempty"` // the address of the last use

	Order     uint16         `json:"order,omitempty"`   // among tokens created in the same millisecond
	Overlap   int64          `json:"overlap,omitempty"` // ms; the secret of the previous generation is valid until then; 0: it is invalid
	Name      string         `json:"name,omitempty"`
	Scopes    []string       `json:"scopes,omitempty"`    // none: no limit
	Addresses []netip.Prefix `json:"addresses,omitempty"` // none: from anywhere
	By        string         `json:"by,omitempty"`        // who created it

	KeyEnds int64 `json:"-"` // ms, when it was read: all tokens of its key end then; 0: never
}

// MaxOverlap is the longest time for which two secrets of a token may both be
// valid.
const MaxOverlap = 30 * 24 * time.Hour

// Limited reports whether the token itself may do less than its user.
func (t Token) Limited() bool {
	return t.Expires != 0 || len(t.Scopes) > 0 || len(t.Addresses) > 0
}

// Dead reports whether a token will never work again.
func (t Token) Dead() bool { return t.Revoked != 0 || t.OwnerState == UserRemoved }

// Ends returns when the token ends, by itself or with its key, in ms; 0: never.
func (t *Token) Ends() int64 { return Earlier(t.Expires, t.KeyEnds) }

// Earlier returns the earlier of two ends in ms, of which 0 is never.
func Earlier(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// Expired reports whether the token is past its end; ms is now.
func (t *Token) Expired(ms int64) bool { return t.Ends() != 0 && ms >= t.Ends() }

// Allows reports whether the token has the scope, or has no limit on scopes.
func (t Token) Allows(scope string) bool {
	return len(t.Scopes) == 0 || slices.Contains(t.Scopes, scope)
}

// AllowsAddress reports whether the token may be used from an address.
func (t Token) AllowsAddress(from netip.Addr) bool {
	return len(t.Addresses) == 0 || slices.ContainsFunc(t.Addresses, func(p netip.Prefix) bool { return p.Contains(from) })
}

// Accepts reports whether the token's secret of a generation is valid; ms is now. An
// overlap that would last longer than MaxOverlap was set by a clock that was ahead.
func (t Token) Accepts(generation byte, ms int64) bool {
	return generation == t.Generation ||
		generation+1 == t.Generation && ms < t.Overlap && t.Overlap-ms <= MaxOverlap.Milliseconds()
}

// The flags of a token are what a verification must know about its record.
const (
	// FlagLimited: the token has an expiry, scopes or addresses.
	FlagLimited = 1 << iota
	// FlagRotated: the secret of the previous generation may still be valid.
	FlagRotated
)

// Flags returns what a verification must know about the token's record.
func (t Token) Flags() (f byte) {
	if t.Limited() {
		f |= FlagLimited
	}
	if t.Overlap != 0 {
		f |= FlagRotated
	}
	return f
}

// A token's record is a head of fixed form, which is all that a start reads, and the
// rest as JSON:
//
//	version 1 | generation 1 | flags 1 | owner 8 | created 8 | expires 8 | revoked 8 | JSON
const tokenHead = 35

// Value is the record's bytes.
func (t Token) Value() ([]byte, error) {
	rest, err := json.Marshal(t)
	b := append(make([]byte, 0, tokenHead+len(rest)), 1, t.Generation, t.Flags())
	for _, v := range []uint64{uint64(t.Owner), uint64(t.Created), uint64(t.Expires), uint64(t.Revoked)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return append(b, rest...), err
}

// TokenHead is the head of a token's record.
type TokenHead struct {
	ID                        keys.ID
	Generation, Flags         byte
	Owner                     UserID
	Created, Expires, Revoked int64 // as in Token
}

// ParseTokenHead decodes only the head of a token's record.
func ParseTokenHead(id keys.ID, b []byte) (TokenHead, error) {
	if len(b) < tokenHead || b[0] != 1 {
		return TokenHead{}, fmt.Errorf("%w: token %s has an unknown form", disk.ErrDamaged, id)
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[3+8*i:]) }
	return TokenHead{
		ID: id, Generation: b[1], Flags: b[2],
		Owner: UserID(at(0)), Created: int64(at(1)), Expires: int64(at(2)), Revoked: int64(at(3)),
	}, nil
}

// parseTokenTimes decodes only what the head has, of which a Token has the most.
func parseTokenTimes(id keys.ID, b []byte) (Token, error) {
	h, err := ParseTokenHead(id, b)
	return Token{ID: id, Owner: h.Owner, Generation: h.Generation, Created: h.Created, Expires: h.Expires, Revoked: h.Revoked}, err
}

// ParseToken decodes the output of [Token.Value].
func ParseToken(id keys.ID, b []byte) (Token, error) {
	t, err := parseTokenTimes(id, b)
	if err == nil && !t.parseRest(b[tokenHead:]) {
		return parseAnyToken(id, b)
	}
	return t, err
}

// parseAnyToken is ParseToken for any JSON.
func parseAnyToken(id keys.ID, b []byte) (Token, error) {
	t, err := parseTokenTimes(id, b)
	if err != nil {
		return Token{}, err
	}
	if err := json.Unmarshal(b[tokenHead:], &t); err != nil {
		return t, fmt.Errorf("%w: token %s: %w", disk.ErrDamaged, id, err)
	}
	return t, nil
}
