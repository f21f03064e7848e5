// Package verify finds the user that a token speaks for, given the token's
// text.
//
//	form, CRC, keyed part   a forged text costs no look-up
//	table                   the live token, its generation, its owner
//	key                     the end of all its tokens
//	record                  read only if the token has scopes, addresses, an expiry or a rotation
//
// A bounded cache keeps the records that it reads, until [Verifier.Forget] says that one
// has changed. The package never counts a use, and writes nothing itself: it calls
// functions of its [Options] when a rotation ends, and when an ended secret is used.
package verify

import (
	"errors"
	"net/netip"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// ErrRefused never gives a reason.
var ErrRefused = errors.New("the token does not authenticate")

// Bearer is the user that a token speaks for. Token is set only when the token
// is limited: an unlimited one can be verified without its record.
type Bearer struct {
	ID         keys.ID
	Name       string // the ID as String writes it: a substring of the token's text
	Owner      record.UserID
	UID        string // the owner's
	Generation byte
	Ends       bool          // all tokens of its key end at some time
	Token      *record.Token // read-only: other callers share it
}

// Limited reports whether the token may do less than its user, or ends with its key: it
// must not be able to fetch one that works longer.
func (b *Bearer) Limited() bool { return b.Ends || b.Token != nil && b.Token.Limited() }

// Options say what a verifier reads, and which functions it calls.
type Options struct {
	Keys   *keys.Tokens
	Owners *table.Owners
	// Find finds a token in the table. It calls a function before it waits for the disk.
	Find func(id keys.ID, wait func()) (table.Entry, bool, error)
	Read func(keys.ID) (record.Token, error) // from the index
	Now  func() int64                        // ms

	// Retire durably ends the old secret after a rotation to a generation.
	Retire func(id keys.ID, generation byte) error
	// EndedUse is called when a secret is used that a rotation has ended.
	EndedUse func(id keys.ID, uid string, from netip.Addr)
}

// Verifier verifies tokens. Its methods may be called from many goroutines.
type Verifier struct {
	o     Options
	cache cache
	ended endedUses
}

// New returns a verifier.
func New(o Options) *Verifier { return &Verifier{o: o} }

// Forget drops the cached record of a token. Call it once a change of the record is on
// the disk.
func (v *Verifier) Forget(id keys.ID) { v.cache.drop(id) }

// Verify checks the form, the CRC, the keyed part, the table, the owner, the generation and
// the key's end, in this order. It reads the record only if the token is limited or rotated:
// a limited one must allow the address, and the first use of a new secret ends the old one.
// Verify also returns the token's entry in the table. It calls wait before anything that may
// wait for the disk.
func (v *Verifier) Verify(text string, from netip.Addr, wait func()) (Bearer, table.Entry, error) {
	return v.check(text, from, true, wait)
}

// Inspect is like Verify, but is no use of the token: it takes any address, and ends no
// secret.
func (v *Verifier) Inspect(text string) (Bearer, error) {
	b, _, err := v.check(text, netip.Addr{}, false, func() {})
	return b, err
}

func (v *Verifier) check(text string, from netip.Addr, use bool, wait func()) (Bearer, table.Entry, error) {
	id, generation, ok := v.o.Keys.Identify(text)
	if !ok {
		return Bearer{}, table.Entry{}, ErrRefused
	}
	e, ok, err := v.o.Find(id, wait)
	if err != nil {
		return Bearer{}, table.Entry{}, err
	}
	o := record.Owner{State: record.UserRemoved}
	if ok {
		o = v.o.Owners.At(e.Owner)
	}
	if o.State != record.UserActive {
		return Bearer{}, table.Entry{}, ErrRefused
	}
	if e.Generation != generation && e.Flags&record.FlagRotated == 0 {
		v.reportEnded(id, o.UID, from)
		return Bearer{}, table.Entry{}, ErrRefused
	}
	end := v.o.Keys.Ends(id[0])
	if end != 0 && v.o.Now() >= end {
		return Bearer{}, table.Entry{}, ErrRefused
	}
	b := Bearer{ID: id, Ends: end != 0, Name: text[:2*keys.IDSize], Owner: o.ID, UID: o.UID, Generation: generation}
	if e.Flags == 0 {
		return b, e, nil
	}
	if b.Token, err = v.limited(id, wait); err != nil {
		return Bearer{}, table.Entry{}, err
	}
	if b.Token.Expired(v.o.Now()) || use && !b.Token.AllowsAddress(from) {
		return Bearer{}, table.Entry{}, ErrRefused
	}
	if e.Flags&record.FlagRotated != 0 {
		err = v.rotated(b, from, use, wait)
	}
	return b, e, err
}

// limited returns the record of a limited token. Only the fields that limit the
// token are up to date.
func (v *Verifier) limited(id keys.ID, wait func()) (*record.Token, error) {
	t, version := v.cache.get(id)
	if t != nil {
		return t, nil
	}
	wait()
	read, err := v.o.Read(id)
	if err != nil {
		return nil, err
	}
	v.cache.put(&read, version)
	return &read, nil
}
