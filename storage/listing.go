package storage

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"iter"
	"runtime"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// TokenFilter selects tokens for a listing.
type TokenFilter struct {
	Owner     UserID // 0: everybody's
	IdleSince int64  // ms: not used after it; 0: no matter
	NeverUsed bool
	AfterUsed int64 // with AfterID: only what comes after this place in the listing
	AfterID   ID
}

// place is where a token stands in a listing.
type listed struct {
	used int64 // ms
	id   ID
}

func (a listed) compare(b listed) int {
	return cmp.Or(cmp.Compare(a.used, b.used), bytes.Compare(a.id[:], b.id[:]))
}

// Tokens lists tokens, the revoked among them, the oldest last use first.
//
// It first notes the order, in 24 bytes a token, and then reads as the caller
// takes; a token used meanwhile keeps its place and shows its new last use.
func (s *Store) Tokens(f TokenFilter) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		err := s.view(func(txn *badger.Txn) error {
			order, err := s.order(txn, f)
			if err != nil {
				return err
			}
			for _, at := range order {
				t, err := s.token(txn, at.id)
				if err != nil {
					return err
				}
				if !yield(t, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Token{}, err)
		}
	}
}

// order finds the tokens that the filter takes, and sorts them.
func (s *Store) order(txn *badger.Txn, f TokenFilter) ([]listed, error) {
	var order []listed
	after := listed{f.AfterUsed, f.AfterID}
	take := func(t Token) {
		at := listed{t.LastUsed, t.ID}
		switch {
		case f.NeverUsed && t.LastUsed != t.Created:
		case f.IdleSince != 0 && t.LastUsed > f.IdleSince:
		case after != listed{} && at.compare(after) <= 0:
		default:
			order = append(order, at)
		}
	}
	var err error
	if f.Owner != 0 {
		err = s.eachOwned(txn, f.Owner, take)
	} else {
		err = s.eachToken(txn, take)
	}
	slices.SortFunc(order, listed.compare)
	return order, err
}

func (s *Store) eachOwned(txn *badger.Txn, owner UserID, fn func(Token)) error {
	for item := range scan(txn, key('o', owner.bytes()), nil) {
		_, id := ownedToken(item.Key())
		t, err := s.token(txn, id)
		if err != nil {
			return err
		}
		if t.Owner == owner {
			fn(t)
		}
	}
	return nil
}

// eachToken walks all tokens and what is known of their last uses: two walks
// side by side over keys in the same order.
func (s *Store) eachToken(txn *badger.Txn, fn func(Token)) error {
	uses, stop := iter.Pull(scan(txn, []byte{'l'}, nil))
	defer stop()
	use, more := uses()
	n := 0
	return s.each(txn, []byte{'t'}, func(k, v []byte) error {
		t, err := parseToken(ID(k[1:]), v)
		if err != nil {
			return err
		}
		for more && bytes.Compare(use.Key()[1:], k[1:]) < 0 {
			use, more = uses()
		}
		if more && bytes.Equal(use.Key()[1:], k[1:]) {
			stored, err := use.ValueCopy(nil)
			if err != nil {
				return err
			}
			b, err := s.seals.open(use.Key(), stored)
			if err != nil {
				return err
			}
			t.raise(parseLastUse(b))
		}
		if e, ok, _ := s.table.get(t.ID); ok {
			from, _ := s.table.address(t.ID)
			t.raise(e.used, from)
		}
		if n++; n%1000 == 0 {
			runtime.Gosched() // a long walk is no reason for a request to wait
		}
		fn(t)
		return nil
	})
}

// FindToken returns the id of the one token whose id begins with the prefix,
// of 8 characters or more. It returns ErrNoToken, ErrAmbiguous, or an
// *InvalidError.
func (s *Store) FindToken(prefix string) (found ID, err error) {
	prefix = strings.ToLower(prefix)
	if len(prefix) < 8 || len(prefix) > 2*idLen || strings.Trim(prefix, "0123456789abcdef") != "" {
		return ID{}, invalidf("a token is named by its id, 28 hexadecimal characters, or by the first 8 or more of them")
	}
	whole, err := hex.DecodeString(prefix[:len(prefix)&^1])
	if err != nil {
		return ID{}, err
	}
	n := 0
	err = s.view(func(txn *badger.Txn) error {
		for item := range scan(txn, key('t', whole), nil) {
			if id := ID(item.Key()[1:]); strings.HasPrefix(id.String(), prefix) {
				found = id
				n++
			}
			if n > 1 {
				return ErrAmbiguous
			}
		}
		if n == 0 {
			return ErrNoToken
		}
		return nil
	})
	return found, err
}

// TokenCount counts the tokens that are not revoked, but for those of removed
// users whose removal came since the store was opened.
func (s *Store) TokenCount() int { return s.table.len() }
