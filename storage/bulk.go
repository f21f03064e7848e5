package storage

import (
	"slices"

	"gatehouse/storage/order"
)

// RevokeMatching revokes, of the tokens with these ids, those that the filter and
// match (unless it is nil) take when it is their turn, and returns how many. A token
// that was used since the ids were found may be left alone: the writer asks both
// again, just before it writes. So match must not wait for the store.
func (s *Store) RevokeMatching(by Actor, f TokenFilter, ids []ID, match func(Token) bool) (n int, err error) {
	v, err := s.views.Sieve(f)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(ids, mostRevoked) {
		revoked := 0
		err := s.takeAway(by, func(t *tx) (err error) {
			revoked, err = t.revokeMatching(v, part, match)
			return err
		})
		if err != nil {
			return n, err
		}
		n += revoked
	}
	return n, nil
}

func (t *tx) revokeMatching(v order.Sieve, ids []ID, match func(Token) bool) (n int, err error) {
	for _, id := range ids {
		e, ok, err := t.s.lookup(id)
		if err != nil {
			return n, err
		}
		if !ok || !v.Takes(id, e.Owner, e.Used) || v.Owner != 0 && t.s.table.Owners.At(e.Owner).ID != v.Owner {
			continue
		}
		if match != nil {
			if now, err := t.token(id); err != nil || !match(now) {
				if err != nil {
					return n, err
				}
				continue
			}
		}
		ok, err = t.revoke(id)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

// Record brings into the audit log something that changes nothing itself. It is
// on the disk when it returns.
func (s *Store) Record(by Actor, e Event) error {
	return s.takeAway(by, func(t *tx) error {
		t.event(e)
		return nil
	})
}
