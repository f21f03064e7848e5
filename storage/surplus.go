package storage

import (
	"errors"
	"slices"

	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/surplus"
)

// KeepRevoked is the number of records of revoked tokens that the store keeps for
// each user: see [surplus.Keep].
const KeepRevoked = surplus.Keep

// revokedOf is like Page, but returns only what sorting by revocation needs: see
// [surplus.Options].
func (s *Store) revokedOf(owner UserID, after string) (list []surplus.Token, next string, err error) {
	if after == "" {
		after = string(record.Key('o', owner.Bytes(), []byte{0, 0xff}))
	}
	q := read.Owned{Owner: owner, Revoked: true, After: after}
	err = s.view(func(rd *read.Reader) error {
		var last []byte
		for k := range rd.OwnedKeys(q) {
			if len(list) == 10*MostRevoked {
				next = string(last)
				return nil
			}
			_, id := record.CutOwnedKey(k)
			b, ok, err := rd.Get(record.TokenKey(id))
			if err != nil {
				return err
			}
			if !ok {
				continue // a hint may be behind
			}
			t, err := record.ParseTokenHead(id, b)
			if err != nil {
				return err
			}
			if t.Revoked != 0 && t.Owner == q.Owner {
				list, last = append(list, surplus.Token{At: t.Revoked, ID: id}), append(last[:0], k...)
			}
		}
		return nil
	})
	return list, next, err
}

// dropRecords drops the records of revoked tokens. It stops when the store is closing
// or the disk is full.
func (s *Store) dropRecords(list []surplus.Token) error {
	for part := range slices.Chunk(list, MostRevoked) {
		err := s.change(Actor{}, func(t *tx) error {
			for _, r := range part {
				if err := t.dropRecord(r.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropRecord drops everything that is stored about a revoked token, except its
// end.
func (t *tx) dropRecord(id ID) error {
	v, err := t.Token(id)
	if errors.Is(err, ErrNoToken) || err == nil && v.Revoked == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	t.Delete(v.OwnedKey())
	t.Delete(record.UsageKey(id))
	if _, ok, err := t.Get(record.KnownKey(id)); err != nil {
		return err
	} else if ok {
		t.Delete(record.KnownKey(id))
	}
	t.Durable(func() { t.s.views.NoteToken(id) })
	return t.dropRevoked(v)
}

// WasRevoked reports whether a token that the store has no record of was revoked.
func (s *Store) WasRevoked(id ID) (bool, error) {
	end, err := look(s, func(rd *read.Reader) (record.TokenEnd, error) { return rd.TokenEnd(id) })
	return end.Revoked != 0, err
}
