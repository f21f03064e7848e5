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
	id, _, ok := s.keys.identify(text)
	return id, ok
}

// Authenticate returns whose token a text is, and counts the use. It returns
// ErrRefused for whatever is no live token of this installation, may not be
// used from that address, or belongs to a user who is not active; the reason
// is nobody's business. Another error says that the record could not be read.
func (s *Store) Authenticate(text string, from netip.Addr) (Bearer, error) {
	id, generation, ok := s.keys.identify(text)
	if !ok {
		return Bearer{}, ErrRefused
	}
	e, ok, err := s.lookup(id)
	if err != nil {
		return Bearer{}, err
	}
	if !ok || e.generation != generation {
		return Bearer{}, ErrRefused
	}
	o := s.owners.at(e.owner)
	if o.state != UserActive {
		return Bearer{}, ErrRefused
	}
	b := Bearer{ID: id, Owner: o.id}
	now := s.now()
	if e.flags&flagLimited != 0 {
		err := s.view(func(txn *badger.Txn) (err error) {
			b.Token, err = s.token(txn, id)
			return err
		})
		if err != nil {
			return Bearer{}, err
		}
		if b.Token.Expired(now) || !b.Token.allowsAddress(from) {
			return Bearer{}, ErrRefused
		}
	}
	s.table.touch(id, now, from)
	return b, nil
}
