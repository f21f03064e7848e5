// Package verify decides whose token a text is.
//
//	form, CRC, keyed part   a forged text costs no look-up
//	table                   whether the token lives, its generation, its owner
//	record                  only of a token that has scopes, addresses, an end or a rotation
//
// The records that it reads are kept in a bounded cache, until [Verifier.Forget] says that
// one has changed. The package never counts a use, and writes nothing itself: that a
// rotation ends, and that an ended secret was used, is told to functions it is given.
package verify

import (
	"errors"
	"net/netip"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// ErrRefused never says why.
var ErrRefused = errors.New("the token does not authenticate")

// Bearer is who a token speaks for. Token is there only when the token is
// limited: what an unlimited one may do needs no look at its record.
type Bearer struct {
	ID         keys.ID
	Name       string // the ID as String writes it; it is a part of the token's text
	Owner      record.UserID
	UID        string // the owner's
	Generation byte
	Token      *record.Token // not to be changed: others have it, too
}

// Limited reports whether the token may do less than its user.
func (b *Bearer) Limited() bool { return b.Token != nil && b.Token.Limited() }

// Options are what a verifier reads, and whom it tells.
type Options struct {
	Keys   *keys.Tokens
	Owners *table.Owners
	Find   func(keys.ID) (table.Entry, bool, error) // in the table
	Read   func(keys.ID) (record.Token, error)      // from the index
	Now    func() int64                             // ms

	// Retire ends, on the disk, the secret of before a rotation to a generation.
	Retire func(id keys.ID, generation byte) error
	// Stale is told of the use of a secret that a rotation had ended.
	Stale func(id keys.ID, uid string, from netip.Addr)
}

// Verifier decides whose token a text is. Its methods may be called from many
// goroutines.
type Verifier struct {
	o      Options
	limits limits
	stale  stale
}

// New returns a verifier.
func New(o Options) *Verifier { return &Verifier{o: o} }

// Forget drops what is kept of a token, once it is on the disk that its record changed.
func (v *Verifier) Forget(id keys.ID) { v.limits.drop(id) }

// Inspect checks form, CRC, keyed part, table and owner, in this order, and the record
// only of a token that is limited or rotated. It also returns the token's entry in the
// table. For a use the address must be allowed too, and the first use of a new secret ends
// the one before it.
func (v *Verifier) Inspect(text string, from netip.Addr, use bool) (Bearer, table.Entry, error) {
	id, generation, ok := v.o.Keys.Identify(text)
	if !ok {
		return Bearer{}, table.Entry{}, ErrRefused
	}
	e, ok, err := v.o.Find(id)
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
		v.noteStale(id, o.UID, from)
		return Bearer{}, table.Entry{}, ErrRefused
	}
	b := Bearer{ID: id, Name: text[:2*keys.IDSize], Owner: o.ID, UID: o.UID, Generation: generation}
	if e.Flags == 0 {
		return b, e, nil
	}
	if b.Token, err = v.limited(id); err != nil {
		return Bearer{}, table.Entry{}, err
	}
	if b.Token.Expired(v.o.Now()) || use && !b.Token.AllowsAddress(from) {
		return Bearer{}, table.Entry{}, ErrRefused
	}
	if e.Flags&record.FlagRotated != 0 {
		err = v.rotated(b, from, use)
	}
	return b, e, err
}

// limited returns the record of a limited token, of which only what limits it
// is up to date.
func (v *Verifier) limited(id keys.ID) (*record.Token, error) {
	t, turn := v.limits.get(id)
	if t != nil {
		return t, nil
	}
	read, err := v.o.Read(id)
	if err != nil {
		return nil, err
	}
	v.limits.keep(&read, turn)
	return &read, nil
}
