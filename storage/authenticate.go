package storage

import (
	"net/netip"

	"github.com/dgraph-io/badger/v4"
)

// Bearer is who a token speaks for. Token is whole only when the token is
// limited: what an unlimited one may do needs no look at its record.
type Bearer struct {
	ID    ID
	Owner UserID
	Token Token
}

// Identify tells which token of this installation a text is, live or not. It
// reads nothing.
func (s *Store) Identify(text string) (ID, bool) {
	p, ok := s.parse(text)
	return p.id, ok
}

// parse checks form, CRC and keyed part, in this order.
func (s *Store) parse(text string) (parts, bool) {
	p, ok := parseSecret(text)
	if !ok {
		return p, false
	}
	k, ok := s.keys[p.id.kid()]
	return p, ok && k.authentic(&p)
}

// Authenticate returns whose token a text is, and counts the use. It returns
// ErrRefused for whatever is no live token of this installation, may not be
// used from that address, or belongs to a user who is not active; the reason
// is nobody's business. Another error says that the record could not be read.
func (s *Store) Authenticate(text string, from netip.Addr) (Bearer, error) {
	p, ok := s.parse(text)
	if !ok {
		return Bearer{}, ErrRefused
	}
	e, ok, err := s.lookup(p.id)
	if err != nil {
		return Bearer{}, err
	}
	if !ok || e.generation != p.generation {
		return Bearer{}, ErrRefused
	}
	o := s.owners.at(e.owner)
	if o.state != UserActive {
		return Bearer{}, ErrRefused
	}
	b := Bearer{ID: p.id, Owner: o.id}
	now := s.now()
	if e.flags&flagLimited != 0 {
		err := s.view(func(txn *badger.Txn) (err error) {
			b.Token, err = s.token(txn, p.id)
			return err
		})
		if err != nil {
			return Bearer{}, err
		}
		if b.Token.Expired(now) || !b.Token.allowsAddress(from) {
			return Bearer{}, ErrRefused
		}
	}
	s.table.touch(p.id, now, from)
	return b, nil
}
